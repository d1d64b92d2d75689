# shellcheck shell=bash
# Times whole processes and prints what came of it. Sourced after say.sh.

# Numbers are written and read with a point.
export LC_ALL=C
MEASURES="$(mktemp -d)"
MISSED=0

# timed NAME COMMAND...: adds the milliseconds the command took to NAME; ends everything where it fails.
timed() {
    local name="$1" began ended
    shift
    began=$EPOCHREALTIME
    "$@" >"$MEASURES/out" 2>"$MEASURES/err" || die "$name: \`$*\` failed: $(tail -n 5 "$MEASURES/err")"
    ended=$EPOCHREALTIME
    awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$MEASURES/$name"
}

# median NAME: of what was timed, in milliseconds.
median() {
    sort -n "$MEASURES/$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# spread NAME: least to most.
spread() {
    sort -n "$MEASURES/$1" | awk 'NR == 1 { a = $1 } { b = $1 } END { printf "%.0f–%.0f", a, b }'
}

compared_head() {
    printf '%-26s %22s %22s %8s  %s\n' "" "$1" "$2" ratio promised
}

# compared LABEL OURS PEER [LEAST]: a row with both medians and how many times faster ours is; a promise that is missed
# is remembered.
compared() {
    local label="$1" ours="$2" peer="$3" least="${4:-}" ratio kept=''
    ratio="$(awk -v a="$(median "$peer")" -v b="$(median "$ours")" 'BEGIN { printf "%.2f", a / b }')"
    [[ -z "$least" ]] || kept="$(promise "$ratio" '>=' "$least")×"
    printf '%-26s %22s %22s %7s×  %s\n' "$label" "$(median "$ours") ms ($(spread "$ours"))" \
        "$(median "$peer") ms ($(spread "$peer"))" "$ratio" "$kept"
    [[ "$kept" != MISSED* ]] || MISSED=1
}

# figure LABEL VALUE UNIT OPERATOR LIMIT: a row of our own with its promise.
figure() {
    local kept
    kept="$(promise "$2" "$4" "$5")"
    printf '%-26s %22s %22s %8s  %s\n' "$1" "$2 $3" "" "" "$kept $3"
    [[ "$kept" != MISSED* ]] || MISSED=1
}

# promise VALUE OPERATOR LIMIT: what was promised, with MISSED before it where it is.
promise() {
    if awk -v v="$1" -v op="$2" -v l="$3" 'BEGIN { exit !(op == ">=" ? v + 0 >= l + 0 : op == "<" ? v + 0 < l + 0 : op == "<=" ? v + 0 <= l + 0 : v + 0 == l + 0) }'; then
        printf '%s %s' "$2" "$3"
    else
        printf 'MISSED %s %s' "$2" "$3"
    fi
}

# conclude: ends the script with 1 where a promise was missed.
conclude() {
    rm -rf "$MEASURES"
    ((MISSED == 0)) || die "a promise was missed"
}
