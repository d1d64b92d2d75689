#!/bin/sh
# Runs nginx, and reloads it when a container behind it has come back under another address: nginx looks names up
# once, when it starts. HUP reloads, TERM and QUIT end it after the requests in flight.
set -eu

names="memoryark-backend memoryark-frontend line-service"

addresses() {
    getent ahostsv4 "$1" | cut -d ' ' -f 1 | sort -u
}

nginx -e stderr -g 'daemon off;' &
nginx=$!
trap 'kill -HUP "$nginx"' HUP
trap 'kill -QUIT "$nginx"' TERM QUIT INT

# Whether an address nginx took at its last start or reload is no longer among those of its name. A name that does
# not resolve now says nothing: its container is being replaced.
moved() {
    for name in $names; do
        now="$(addresses "$name" || true)"
        [ -n "$now" ] || continue
        used=
        eval "used=\$used_$(echo "$name" | tr - _)"
        for address in $used; do
            echo "$now" | grep -qxF "$address" || return 0
        done
    done
    return 1
}
take() {
    for name in $names; do
        now="$(addresses "$name" || true)"
        [ -z "$now" ] || eval "used_$(echo "$name" | tr - _)=\$now"
    done
}

for name in $names; do
    eval "used_$(echo "$name" | tr - _)="
done
take
(
    while sleep 2; do
        moved || continue
        # Twice in a row: what is being moved settles first.
        sleep 1
        if moved; then
            echo "an upstream has another address: reloading nginx" >&2
            take
            kill -HUP "$nginx"
        fi
    done
) &

# A signal ends the wait early; nginx itself decides when it is over.
while :; do
    code=0
    wait "$nginx" || code=$?
    kill -0 "$nginx" 2>/dev/null || exit "$code"
done
