# shellcheck shell=bash
# Messages, and the two folders the demo keeps outside the repository. Sourced; expects `set -euo pipefail`.

# What the scripts remember: pids of what they started, logs, generated settings.
DEMO_STATE="${ARKWRIGHT_DEMO_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/arkwright-demo}"
# What may be deleted at any time and is made again: the base image's tarball.
# shellcheck disable=SC2034
DEMO_CACHE="${ARKWRIGHT_DEMO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/arkwright}"

if [[ -t 2 && -z "${NO_COLOR:-}" ]]; then
    _dim=$'\e[2m' _red=$'\e[31m' _yellow=$'\e[33m' _off=$'\e[0m'
else
    _dim='' _red='' _yellow='' _off=''
fi

say() { printf '%s·%s %s\n' "$_dim" "$_off" "$*" >&2; }
warn() { printf '%swarning:%s %s\n' "$_yellow" "$_off" "$*" >&2; }
die() {
    printf '%serror:%s %s\n' "$_red" "$_off" "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# The moment process PID started, in clock ticks since boot: with the pid it names one process for good.
started_at() {
    local stat
    stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
    # The second field may hold spaces and brackets; everything after its last bracket is plain.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    # One that ended and was not waited for does nothing any more.
    [[ "$1" != Z ]] || return 1
    printf '%s\n' "${20}"
}

# remember_process NAME PID: lets stop_remembered end exactly this process later.
remember_process() {
    mkdir -p "$DEMO_STATE"
    printf '%s %s\n' "$2" "$(started_at "$2")" >"$DEMO_STATE/$1.process"
}

# The pid behind NAME while that very process still lives; fails otherwise.
remembered_pid() {
    local pid start
    [[ -r "$DEMO_STATE/$1.process" ]] || return 1
    read -r pid start <"$DEMO_STATE/$1.process" || return 1
    [[ "$(started_at "$pid" 2>/dev/null)" == "$start" ]] || return 1
    printf '%s\n' "$pid"
}

# All processes below PID, deepest last.
descendants() {
    local child
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null || true); do
        printf '%s\n' "$child"
        descendants "$child"
    done
}

# stop_remembered NAME SECONDS: asks the process started as NAME to end, then makes it and what it left behind end.
stop_remembered() {
    local name="$1" patience="$2" pid child waited=0
    local -a family=() born=()
    if ! pid="$(remembered_pid "$name")"; then
        rm -f "$DEMO_STATE/$name.process"
        return 0
    fi
    for child in $(descendants "$pid"); do
        family+=("$child")
        born+=("$(started_at "$child" 2>/dev/null || true)")
    done
    kill -TERM "$pid" 2>/dev/null || true
    while remembered_pid "$name" >/dev/null && ((waited < patience * 10)); do
        sleep 0.1
        waited=$((waited + 1))
    done
    if remembered_pid "$name" >/dev/null; then
        warn "$name (pid $pid) did not end within ${patience}s and is killed"
        kill -KILL "$pid" 2>/dev/null || true
    fi
    local i
    for i in "${!family[@]}"; do
        if [[ -n "${born[$i]}" && "$(started_at "${family[$i]}" 2>/dev/null)" == "${born[$i]}" ]]; then
            kill -TERM "${family[$i]}" 2>/dev/null || true
        fi
    done
    rm -f "$DEMO_STATE/$name.process"
}
