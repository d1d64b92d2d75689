# shellcheck shell=bash
# First backup, unchanged backup, verification and restore of one folder, by us and the peers in turns. Sourced by bench.

# spent NAME COMMAND...: adds wall, CPU (seconds) and peak memory (MiB, of the largest process) to NAME; ends everything
# where it fails.
spent() {
    local name="$1"
    shift
    # What the one before left in memory is written first, and charged to nobody.
    sync
    command time -f '%e %U %S %M' -o "$MEASURES/spent" bash -euo pipefail -c '"$@"' _ "$@" \
        >"$MEASURES/out" 2>"$MEASURES/err" ||
        die "$name: \`$*\` failed: $(tail -n 5 "$MEASURES/err")"
    tail -n 1 "$MEASURES/spent" |
        awk '{ printf "%.2f %.2f %.1f\n", $1, $2 + $3, $4 / 1024 }' >>"$MEASURES/$name"
}

# of NAME COLUMN: the median; of memory (column 3) the most.
of() {
    sort -n -k"$2,$2" "$MEASURES/$1" | awk -v at="$2" '{ v[NR] = $at }
        END { print at == 3 ? v[NR] : NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# project NAME SOURCES: a project of ours whose one set has these sources (YAML, in flow).
project() {
    local folder="$BENCH/$1" keys
    rm -rf "$folder"
    mkdir -p "$folder"
    cat >"$folder/compose.yaml" <<'COMPOSE'
name: bench-backup
services:
  app: { image: "localhost/memoryark/debian:bookworm" }
COMPOSE
    {
        printf 'state: ./state\nbackups:\n  recipients: []\n  stores: { disk: { path: ./store } }\n'
        printf '  sets: { all: { sources: [%s] } }\n' "$2"
    } >"$folder/arkwright.yaml"
    mkdir "$folder/store"
    keys="$(ours "$1" --json key new --recovery "$folder/recovery.key")"
    sed -i "s|recipients: .*|recipients: $(jq -c '[.recipients.recovery, .recipients.drill]' <<<"$keys")|" \
        "$folder/arkwright.yaml"
    RECIPIENT="$(jq -r .recipients.recovery <<<"$keys")"
}

# ours PROJECT ARGUMENTS...: no engine is asked.
ours() {
    local folder="$BENCH/$1"
    shift
    "$ARKWRIGHT" --host unix:///nowhere.sock -f "$folder/compose.yaml" "$@"
}

# Where each tool keeps its store; made anew.
fresh() {
    rm -rf "$BENCH/restic" "$BENCH/borg" "$BENCH/tar" "$BENCH/ours/store" "$BENCH/ours/state/bench-backup/catalogue.db"*
    mkdir -p "$BENCH/tar" "$BENCH/ours/store"
    restic init >/dev/null
    borg init -e repokey-blake2 >/dev/null 2>&1
}

mix_ours() { ours ours -q backup "$@"; }
first_restic() { restic backup --quiet "$1"; }
first_borg() { borg create "::$RANDOM-$RANDOM" "$1"; }
# The pipeline syncs nothing by itself, and what is not on the disk is no backup.
first_tar() {
    tar -C "$1" -cf - . | zstd -q -3 -T2 | age -r "$RECIPIENT" >"$BENCH/tar/all"
    sync -d "$BENCH/tar/all"
}
restore_ours() { mix_ours restore all --data --to "$1"; }
restore_restic() { restic restore latest --quiet --target "$1"; }
restore_borg() { cd "$1" && borg extract "::$(borg list --short | tail -n 1)"; }
restore_tar() {
    age -d -i "$BENCH/ours/recovery.key" "$BENCH/tar/all" | zstd -q -d | tar -C "$1" -xf -
}

bench_backup_mix() {
    local rounds="$1" round tool restored
    for ((round = 1; round <= rounds; round++)); do
        say "1.3 GB, round $round of $rounds"
        fresh
        spent first-ours mix_ours run
        spent again-ours mix_ours run
        spent verify-ours mix_ours verify
        spent first-restic first_restic "$MIX"
        spent again-restic first_restic "$MIX"
        spent verify-restic restic check --read-data --quiet
        spent first-borg first_borg "$MIX"
        spent again-borg first_borg "$MIX"
        spent verify-borg borg check --verify-data
        spent first-tar first_tar "$MIX"
        for tool in ours restic borg tar; do
            rm -rf "$BENCH/out"
            mkdir "$BENCH/out"
            spent "restore-$tool" "restore_$tool" "$BENCH/out"
            restored="$(find "$BENCH/out" -type d -name uploads -print -quit)"
            diff -rq --no-dereference "$MIX/uploads" "$restored" >"$MEASURES/diff" ||
                die "what $tool restored differs: $(head -n 3 "$MEASURES/diff")"
        done
    done
    rm -rf "$BENCH/out"
}

bench_backup_many() {
    local rounds="$1" round
    say "100,000 files"
    [[ -e "$BENCH/many/made" ]] || {
        scripts/generate-archive "$BENCH/many/data" 0 100000 0
        touch "$BENCH/many/made"
    }
    export RESTIC_REPOSITORY="$BENCH/restic-many" BORG_REPO="$BENCH/borg-many"
    rm -rf "$BENCH/many-ours" "$BENCH/restic-many" "$BENCH/borg-many"
    restic init >/dev/null
    borg init -e repokey-blake2 >/dev/null 2>&1
    project many-ours "{ path: $BENCH/many/data }"
    # A file changed a moment ago is read again; after this none was.
    sleep 3
    spent many-first-ours ours many-ours -q backup run
    spent many-first-restic first_restic "$BENCH/many/data"
    spent many-first-borg first_borg "$BENCH/many/data"
    for ((round = 1; round <= rounds; round++)); do
        spent many-ours ours many-ours -q backup run
        spent many-restic first_restic "$BENCH/many/data"
        spent many-borg first_borg "$BENCH/many/data"
    done
    rm -rf "$BENCH/restic-many" "$BENCH/borg-many" "$BENCH/many-ours"
}

# bench_backup_large GIGABYTES: memory and scratch disk of a first backup of so many photos.
bench_backup_large() {
    local gigabytes="$1" data="$BENCH/large-$1" most=0 now pid
    say "$gigabytes GB"
    [[ -e "$data/made" ]] || {
        scripts/generate-archive "$data/data" $((gigabytes * 1000)) 1000 0
        touch "$data/made"
    }
    project large-ours "{ path: $data/data }"
    spent "large-$gigabytes" ours large-ours -q backup run &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        now="$(du -s --block-size=1K "$BENCH/large-ours/state/bench-backup/scratch" 2>/dev/null | awk '{ print $1 }')"
        ((${now:-0} <= most)) || most="$now"
        sleep 0.1
    done
    wait "$pid" || exit 1
    awk -v kib="$most" 'BEGIN { printf "%.1f\n", kib / 1024 }' >"$MEASURES/scratch-$gigabytes"
    rm -rf "$BENCH/large-ours"
}

# beside LABEL WHAT MOST: our median, CPU seconds in brackets, beside each peer's. Where MOST is not empty, our time is
# promised to be at most so many times the fastest peer's.
beside() {
    local label="$1" what="$2" most="$3" peer ratio kept='' fastest='' line
    line="$(printf '%-18s %18s' "$label" "$(of "$what-ours" 1) s ($(of "$what-ours" 2))")"
    for peer in restic borg tar; do
        if [[ ! -e "$MEASURES/$what-$peer" ]]; then
            line+="$(printf ' %18s' –)"
            continue
        fi
        line+="$(printf ' %18s' "$(of "$what-$peer" 1) s ($(of "$what-$peer" 2))")"
        fastest="$(printf '%s\n%s\n' "${fastest:-inf}" "$(of "$what-$peer" 1)" | sort -g | head -n 1)"
    done
    ratio="$(awk -v a="$(of "$what-ours" 1)" -v b="$fastest" 'BEGIN { printf "%.2f", a / b }')"
    [[ -z "$most" ]] || kept="$(promise "$ratio" '<=' "$most")"
    printf '%s %7s×  %s\n' "$line" "$ratio" "$kept"
    [[ "$kept" != MISSED* ]] || MISSED=1
}

bench_backup() {
    local rounds="${1:-3}" large="${2:-10}" bytes
    [[ "$rounds" =~ ^[1-9][0-9]?$ && "$large" =~ ^[1-9][0-9]?$ ]] || die "usage: scripts/bench backup [ROUNDS] [GIGABYTES]"
    ensure_packages "the bench: the peers, and what makes the data and measures" \
        restic borgbackup age zstd tar sqlite3 openssl jq time
    if [[ -z "${ARKWRIGHT:-}" ]]; then
        ensure_rust
        build_arkwright
        ARKWRIGHT="$PWD/target/release/arkwright"
    fi
    BENCH="$DEMO_STATE/bench-backup" MIX="$DEMO_STATE/bench-backup/mix/data"
    mkdir -p "$BENCH"
    export ARKWRIGHT BENCH NO_COLOR=1 XDG_CACHE_HOME="$BENCH/cache" \
        RESTIC_REPOSITORY="$BENCH/restic" RESTIC_PASSWORD=bench \
        BORG_REPO="$BENCH/borg" BORG_PASSPHRASE=bench BORG_BASE_DIR="$BENCH/borg-base"
    [[ -e "$BENCH/mix/made" ]] || {
        say "making 1.3 GB: 1.1 GB of photos, 20,000 small files, a database of 153 MB"
        scripts/generate-archive "$MIX" 1100 20000 153
        touch "$BENCH/mix/made"
    }
    rm -rf "$BENCH/cache" "$BENCH/borg-base"
    export -f ours mix_ours first_restic first_borg first_tar restore_ours restore_restic restore_borg restore_tar
    project ours "{ sqlite: $MIX/database/memoryark.db }, { path: $MIX/uploads }, { path: $MIX/small }"
    export RECIPIENT
    bytes="$(du -sb "$MIX" | awk '{ print $1 }')"
    bench_backup_mix "$rounds"
    bench_backup_many "$rounds"
    bench_backup_large 1
    bench_backup_large "$large"

    printf '\nbackup: medians of %s rounds, CPU seconds in brackets, %s cores; tar is tar | zstd -3 -T2 | age, and sync\n\n' \
        "$rounds" "$(nproc)"
    printf '%-18s %18s %18s %18s %18s %8s  %s\n' "" arkwright "$(restic version | cut -d' ' -f1,2)" \
        "$(borg --version)" tar "÷ fastest" promised
    beside "first, 1.3 GB" first 1
    beside "unchanged, 20,000" again ''
    beside "verify all" verify 1
    beside "restore" restore 1
    beside "first, 100,000" many-first ''
    beside "unchanged, 100,000" many 0.333
    echo
    figure "first, CPU a GB" "$(awk -v s="$(of first-ours 2)" -v b="$bytes" 'BEGIN { printf "%.2f", s / b * 1e9 }')" s '<=' 3.0
    figure "first, peak memory" "$(of first-ours 3)" MiB '<=' 96
    figure "1 GB, peak memory" "$(of large-1 3)" MiB '<=' 96
    figure "$large GB, peak memory" "$(of "large-$large" 3)" MiB '<=' \
        "$(awk -v one="$(of large-1 3)" 'BEGIN { m = one * 1.1; printf "%.1f", m < 96 ? m : 96 }')"
    figure "$large GB, scratch disk" "$(cat "$MEASURES/scratch-$large")" MiB '<=' 128
    conclude
}
