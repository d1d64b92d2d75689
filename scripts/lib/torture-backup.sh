# shellcheck shell=bash
# Kills backups and prunes at random moments, fills the disk under them, turns bits round in what they stored. Sourced by
# torture.

# How many snapshots a prune leaves.
KEPT=4
# The store of the full disk, in MiB.
SMALL_STORE=48
TURNS=${TURNS:-10000}
BROKEN=0

broke() {
    warn "$*"
    BROKEN=$((BROKEN + 1))
    ((BROKEN < 20)) || die "so much is broken that more of the same would only take time; see $TORTURE"
}

# ours PROJECT ARGUMENTS...: no engine is asked.
ours() {
    local folder="$TORTURE/$1"
    shift
    "$ARKWRIGHT" --host unix:///nowhere.sock -f "$folder/compose.yaml" "$@"
}

# project NAME STORE: one set of photos, small files and a database, in a store of that path.
project() {
    local folder="$TORTURE/$1" keys
    mkdir -p "$folder" "$2"
    printf 'name: torture\nservices:\n  app: { image: "localhost/memoryark/debian:bookworm" }\n' >"$folder/compose.yaml"
    {
        printf 'state: ./state\nbackups:\n  recipients: []\n  stores: { disk: { path: %s } }\n  prune: { wait: 1s }\n' "$2"
        printf '  sets: { all: { keep: { last: %s }, sources: [{ sqlite: ./data/database/memoryark.db }, ' "$KEPT"
        printf '{ path: ./data/uploads }, { path: ./data/small }] } }\n'
    } >"$folder/arkwright.yaml"
    keys="$(ours "$1" --json key new --recovery "$folder/recovery.key")"
    sed -i "s|recipients: .*|recipients: $(jq -c '[.recipients.recovery, .recipients.drill]' <<<"$keys")|" \
        "$folder/arkwright.yaml"
}

# whole PROJECT WHAT: everything in the store is as it was signed. A store without a snapshot yet is inconclusive (9).
whole() {
    local status=0
    ours "$1" -q backup verify >"$TORTURE/verify.log" 2>&1 || status=$?
    ((status == 0 || status == 9)) || broke "$2: verify ends with $status: $(tail -n 3 "$TORTURE/verify.log")"
}

# same PROJECT WHAT: what is restored from the newest snapshot is what was there; nothing that was read is ever changed.
same() {
    local out="$TORTURE/out" status=0
    rm -rf "$out"
    ours "$1" -q backup restore all --data --to "$out" >"$TORTURE/restore.log" 2>&1 || status=$?
    if ((status != 0)); then
        broke "$2: the newest snapshot is not restored (exit $status): $(tail -n 3 "$TORTURE/restore.log")"
        return 0
    fi
    diff -rq --no-dereference "$out/data/small" "$TORTURE/$1/data/small" >"$TORTURE/diff.log" ||
        broke "$2: a restored file differs: $(head -n 2 "$TORTURE/diff.log")"
    # Photos come all the time: what is there has to be right, and later ones may not be in it.
    if diff -rq --no-dereference "$out/data/uploads" "$TORTURE/$1/data/uploads" |
        grep -v "^Only in $TORTURE/$1/data/uploads" >"$TORTURE/diff.log"; then
        broke "$2: a restored photo differs: $(head -n 2 "$TORTURE/diff.log")"
    fi
    [[ "$(sqlite3 "$out/data/database/memoryark.db" 'pragma integrity_check')" == ok ]] ||
        broke "$2: the restored database is damaged"
}

# killed PROJECT MILLISECONDS ARGUMENTS...: ends the command there, as a power cut would; true where it was still at work.
killed() {
    local project="$1" after="$2" pid
    shift 2
    ours "$project" "$@" >"$TORTURE/killed.log" 2>&1 &
    pid=$!
    sleep "$(awk -v ms="$after" 'BEGIN { printf "%.3f", ms / 1000 }')"
    kill -KILL "$pid" 2>/dev/null || true
    ! wait "$pid" 2>/dev/null
}

# Writes to the database as long as the file "writing" is there, and no longer than ten minutes.
write_on() {
    local began=$SECONDS
    while [[ -e "$TORTURE/writing" ]] && ((SECONDS - began < 600)); do
        sqlite3 -cmd '.timeout 5000' "$1" \
            "insert into photos(taken, place, note) select datetime('now'), 'Room 1', hex(randomblob(200)) from photos limit 50" \
            >/dev/null 2>&1 || true
        sleep 0.05
    done
}

torture_kills() {
    local points="$1" n hits=0 took began
    project kills "$TORTURE/kills/store"
    scripts/generate-archive "$TORTURE/kills/data" 40 500 8
    began=$EPOCHREALTIME
    ours kills -q backup run >"$TORTURE/first.log" 2>&1 || die "a backup without a kill fails: $(tail -n 3 "$TORTURE/first.log")"
    took="$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%d", (b - a) * 1000 + 50 }')"
    touch "$TORTURE/writing"
    write_on "$TORTURE/kills/data/database/memoryark.db" &
    for ((n = 1; n <= points; n++)); do
        head -c 3000000 /dev/urandom >"$TORTURE/kills/data/uploads/new-$((n % 20)).JPG.part"
        mv -n "$TORTURE/kills/data/uploads/new-$((n % 20)).JPG.part" "$TORTURE/kills/data/uploads/new-$n.JPG"
        if ((n % 3 == 0)); then
            killed kills $((RANDOM % 60)) -q backup prune --yes && hits=$((hits + 1))
        else
            killed kills $((RANDOM % took)) -q backup run && hits=$((hits + 1))
        fi
        whole kills "kill $n"
        if ((n % 10 == 0)); then
            ours kills -q resume >"$TORTURE/resume.log" 2>&1 || true
            ours kills -q backup run >"$TORTURE/again.log" 2>&1 ||
                broke "kill $n: the next backup fails: $(tail -n 3 "$TORTURE/again.log")"
            same kills "kill $n"
            say "$n of $points kills, $hits of them in the middle"
            find "$TORTURE/kills/data/uploads" -maxdepth 1 -name 'new-*' -delete
        fi
    done
    rm -f "$TORTURE/writing"
    wait
    ours kills -q backup run >"$TORTURE/again.log" 2>&1 || broke "the last backup fails: $(tail -n 3 "$TORTURE/again.log")"
    sleep 2
    ours kills -q backup prune --yes >"$TORTURE/prune.log" 2>&1 || broke "the last prune fails: $(tail -n 3 "$TORTURE/prune.log")"
    whole kills "the end"
    same kills "the end"
    left="$(ours kills --json backup list | jq '[.[] | .snapshots? // [.] | .[] | select(.kind == "snapshot")] | length')"
    printf '%-34s %s (%s in the middle)\n' "kills" "$points" "$hits"
    printf '%-34s %s\n' "snapshots left, kept $KEPT" "$left"
}

torture_full() {
    local image="$TORTURE/small.img" at="$TORTURE/small" n free refused=0
    mkdir -p "$at"
    truncate -s "${SMALL_STORE}M" "$image"
    mkfs.ext4 -q -m 0 "$image"
    mount -o loop "$image" "$at"
    MOUNTED="$at"
    project full "$at/store"
    scripts/generate-archive "$TORTURE/full/data" 6 100 1
    ours full -q backup run >"$TORTURE/first.log" 2>&1 || die "a backup to a small disk fails: $(tail -n 3 "$TORTURE/first.log")"
    for ((n = 1; n <= 20; n++)); do
        head -c 3000000 /dev/urandom >"$TORTURE/full/data/uploads/new.JPG"
        free="$(df --output=avail -k "$at" | tail -n 1)"
        fallocate -l "$((free > n * 200 ? free - n * 200 : 0))K" "$at/filler" 2>/dev/null || true
        ours full -q backup run >"$TORTURE/full.log" 2>&1 || refused=$((refused + 1))
        whole full "$((n * 200)) KiB left"
        rm -f "$at/filler"
        ours full -q resume >"$TORTURE/resume.log" 2>&1 || true
        ours full -q backup run >"$TORTURE/again.log" 2>&1 || broke "with room again: $(tail -n 3 "$TORTURE/again.log")"
        same full "$((n * 200)) KiB left"
        ours full -q backup prune --yes >"$TORTURE/prune.log" 2>&1 || broke "a prune fails: $(tail -n 3 "$TORTURE/prune.log")"
        sleep 1
    done
    umount "$at"
    MOUNTED=''
    printf '%-34s %s (%s backups refused for it)\n' "full disks" 20 "$refused"
}

# turn FILE BYTE BIT: and again, back.
turn() {
    local byte
    byte="$(od -An -tu1 -j "$2" -N 1 "$1")"
    # shellcheck disable=SC2059
    printf "\\x$(printf '%02x' $((byte ^ (1 << $3))))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

torture_bits() {
    local turns="$1" n file size byte bit status missed=0 untrue=0
    local -a objects
    project bits "$TORTURE/bits/store"
    mkdir -p "$TORTURE/bits/data/uploads" "$TORTURE/bits/data/small" "$TORTURE/bits/data/database"
    scripts/generate-archive "$TORTURE/bits/data" 1 20 0
    truncate -s 100K "$TORTURE/bits/data/uploads/"*/*.JPG
    sqlite3 "$TORTURE/bits/data/database/memoryark.db" 'create table photos(id integer primary key, note text); insert into photos values (1, hex(randomblob(2000)))'
    for ((n = 1; n <= KEPT + 2; n++)); do
        echo "$n" >"$TORTURE/bits/data/small/$n.txt"
        ours bits -q backup run >"$TORTURE/first.log" 2>&1 || die "a backup fails: $(tail -n 3 "$TORTURE/first.log")"
    done
    ours bits -q backup prune --yes >"$TORTURE/prune.log" 2>&1 || die "a prune fails: $(tail -n 3 "$TORTURE/prune.log")"
    whole bits "before any bit was turned"
    # Segments stored, segments compressed, listings, headers, signatures, a tombstone. Where a snapshot is gone, its
    # segments wait to be deleted, and nobody vouches for those.
    sleep 2
    ours bits -q backup prune --yes >"$TORTURE/prune.log" 2>&1 || die "a prune fails: $(tail -n 3 "$TORTURE/prune.log")"
    # A copy of a database is the same to SQLite, and not byte for byte.
    ours bits -q backup restore all --data --to "$TORTURE/true" >"$TORTURE/restore.log" 2>&1 || die "a restore fails"
    mapfile -t objects < <(find "$TORTURE/bits/store/man" "$TORTURE/bits/store/seg" -type f)
    for ((n = 1; n <= turns; n++)); do
        file="${objects[RANDOM % ${#objects[@]}]}"
        size="$(stat -c %s "$file")"
        byte=$(((RANDOM * 32768 + RANDOM) % size))
        bit=$((RANDOM % 8))
        turn "$file" "$byte" "$bit"
        status=0
        ours bits -q backup verify >"$TORTURE/verify.log" 2>&1 || status=$?
        if ((status != 7)); then
            missed=$((missed + 1))
            broke "bit $bit of byte $byte of $file is turned, and verify ends with $status"
        fi
        if ((n % 5 == 0)); then
            rm -rf "$TORTURE/out"
            if ours bits -q backup restore all --data --to "$TORTURE/out" >"$TORTURE/restore.log" 2>&1 &&
                ! diff -rq "$TORTURE/out" "$TORTURE/true" >"$TORTURE/diff.log"; then
                untrue=$((untrue + 1))
                broke "bit $bit of byte $byte of $file is turned, and a wrong file is restored: $(head -n 1 "$TORTURE/diff.log")"
            fi
        fi
        turn "$file" "$byte" "$bit"
        ((n % 1000)) || say "$n of $turns bits"
    done
    whole bits "after every bit was turned back"
    printf '%-34s %s, %s missed, %s wrong files restored with success\n' "bits turned round" "$turns" "$missed" "$untrue"
}

torture_end() {
    rm -f "$TORTURE/writing"
    [[ -z "${MOUNTED:-}" ]] || umount "$MOUNTED" || warn "$MOUNTED is still mounted"
}

torture_backup() {
    local points="${1:-200}" turns="${2:-$TURNS}"
    [[ "$points" =~ ^[1-9][0-9]{0,3}$ && "$turns" =~ ^[1-9][0-9]{0,4}$ ]] || die "usage: scripts/torture backup [POINTS] [BITS]"
    ((EUID == 0)) || die "a full disk is made by mounting one: run this as root"
    ensure_packages "the torture: what makes the data and looks at it" jq sqlite3 openssl e2fsprogs age zstd
    if [[ -z "${ARKWRIGHT:-}" ]]; then
        ensure_rust
        build_arkwright
        ARKWRIGHT="$PWD/target/release/arkwright"
    fi
    TORTURE="$DEMO_STATE/torture-backup" MOUNTED=''
    rm -rf "$TORTURE"
    mkdir -p "$TORTURE"
    export NO_COLOR=1
    trap torture_end EXIT
    torture_kills "$points"
    torture_full
    torture_bits "$turns"
    ((BROKEN == 0)) || die "$BROKEN promises were missed; see $TORTURE"
    rm -rf "$TORTURE"
}
