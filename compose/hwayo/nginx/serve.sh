#!/bin/sh
# Runs nginx, and reloads it when a service it names has come back under other addresses only, as after a restart of the
# host: nginx looks names up once, when it starts. Usage: serve.sh NAME...
set -eu

# The addresses of one name, one a line; none while its containers are being replaced.
addresses() {
    getent ahostsv4 "$1" | cut -d ' ' -f 1 | sort -u
}
take() {
    for name in "$@"; do
        addresses "$name" >"/tmp/addresses-$name" || true
    done
}
# Whether nginx sends requests of some name to an address that is no longer its own.
moved() {
    for name in "$@"; do
        now="$(addresses "$name" || true)"
        [ -n "$now" ] || continue
        printf '%s\n' "$now" | grep -qvxFf - "/tmp/addresses-$name" && return 0
    done
    return 1
}

take "$@"
nginx -e stderr -g 'daemon off;' &
nginx=$!
trap 'kill -HUP "$nginx"' HUP
trap 'kill -QUIT "$nginx"' TERM QUIT INT
(
    while sleep 2; do
        moved "$@" || continue
        # Twice in a row: what is being moved settles first.
        sleep 1
        if moved "$@"; then
            echo "a service has another address: reloading nginx" >&2
            take "$@"
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
