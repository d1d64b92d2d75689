# shellcheck shell=bash
# Swaps, held swaps and rollbacks under clients that never send a request twice, on Docker and Podman; beside them what
# nginx and plain recreation do to the same clients. Sourced by bench.

# The clients of every row: keep-alive connections with POSTs, and WebSockets.
CLIENTS=64
SOCKETS=20
CLIENT_RATE=1500
DELAYS=(0 5 20)
. "$DEMO_LIB/bench-bad.sh"
# Of each, because they take seconds each.
DEPLOYS=4
HELD_SWAPS=4

# percentile NAME PERCENT: nearest rank of what was measured.
percentile() {
    sort -n "$MEASURES/$1" | awk -v p="$2" '{ v[NR] = $1 } END { r = int(NR * p / 100); if (r < NR * p / 100) r++; print v[r < 1 ? 1 : r] }'
}

# clients NAME URL DELAY: starts them; clients_done NAME ends them, and leaves what they counted in $MEASURES/NAME.json.
clients() {
    local name="$1" at="$2" delay="$3"
    local -a far=()
    ((delay == 0)) || far=(--delay "${delay}ms")
    rm -f "$RELEASE_FOLDER/load.stop"
    "$LOAD" --url "$at/api/photos/upload" --post --body "a photo" --header "Authorization: Bearer $RELEASE_TOKEN" \
        --connections "$CLIENTS" --rate "$CLIENT_RATE" "${far[@]}" --timeout 60s \
        --websockets "$SOCKETS" --ws-url "${at/http:/ws:}/api/ws" --json --stop-file "$RELEASE_FOLDER/load.stop" \
        >"$MEASURES/$name.json" 2>"$MEASURES/$name.err" &
    LOAD_PID=$!
    sleep 1
}
clients_done() {
    sleep 0.5
    touch "$RELEASE_FOLDER/load.stop"
    wait "$LOAD_PID" || true
    LOAD_PID=''
    jq -e .requests "$MEASURES/$1.json" >/dev/null || die "$1: the clients broke: $(tail -n 2 "$MEASURES/$1.err")"
}
counted() { jq "$2" "$MEASURES/$1.json"; }

# released NAME ORDER...: a release that has to succeed; how long its command took goes to NAME, the router's part of it to
# shift-ENGINE.
released() {
    local name="$1"
    shift
    timed "$name" ark_ --json "$@" --yes
    jq -s 'last.detail.shift_us // empty | . / 1000' "$MEASURES/out" >>"$MEASURES/shift-$RELEASE_ENGINE"
}

# lost_row LABEL NAME COMMANDS PROMISED SWAPS: what the clients of NAME lost; PROMISED is `all`, `requests` or `none`.
lost_row() {
    local label="$1" name="$2" commands="$3" promised="$4" swaps="$5" lost cut word=''
    lost="$(counted "$name" .lost)" cut="$(counted "$name" .websockets.cut)"
    case "$promised" in
    all) ((lost == 0 && cut == 0)) && word="0 lost, 0 cut" || word="MISSED 0 lost, 0 cut" ;;
    requests) ((lost == 0)) && word="0 lost" || word="MISSED 0 lost" ;;
    esac
    if [[ "$word" == MISSED* ]]; then
        MISSED=1
        warn "$label: $(counted "$name" '.lost_by_reason | tojson')"
    fi
    printf '%-34s %5s %9s %6s %5s %20s %10s  %s\n' "$label" "$swaps" "$(counted "$name" .requests)" "$lost" "$cut" \
        "$(median "$commands") ($(spread "$commands"))" "$(counted "$name" .latency_ms.max)" "$word" >>"$TABLE"
}

# The swap itself: traffic goes to and fro between two warm colours, so no WebSocket has to end.
bench_swaps() {
    local delay number
    released "first-$1" deploy "web=$RELEASE_IMAGE:1.1.0" --no-canary
    for delay in "${DELAYS[@]}"; do
        say "$1: $SWAPS swaps at $delay ms"
        clients "swap-$1-$delay" "$(url web '')" "$delay"
        for ((number = 0; number < SWAPS; number++)); do
            released "swap-$1-$delay" rollback web
            sleep 0.3
        done
        clients_done "swap-$1-$delay"
        lost_row "swap, $delay ms away" "swap-$1-$delay" "swap-$1-$delay" all "$SWAPS"
    done
    say "$1: $DEPLOYS deploys"
    clients "deploy-$1" "$(url web '')" 5
    for ((number = 0; number < DEPLOYS; number++)); do
        released "deploy-$1" deploy "web=$RELEASE_IMAGE:$(other_version web)" --no-canary
    done
    clients_done "deploy-$1"
    # Each removes the colour before the one that serves, and with it the WebSockets that are still there.
    lost_row "deploy, 5 ms away" "deploy-$1" "deploy-$1" requests "$DEPLOYS"
    say "$1: $HELD_SWAPS held swaps"
    clients "held-$1" "$(url archive '')" 5
    for ((number = 0; number < HELD_SWAPS; number++)); do
        released "held-$1" deploy "archive=$RELEASE_IMAGE:$(other_version archive)"
        sleep 0.5
    done
    clients_done "held-$1"
    lost_row "held swap, 5 ms away" "held-$1" "held-$1" requests "$HELD_SWAPS"
}

# beside NAME ARGUMENT...: one more container on the stack's network.
beside() {
    local name="$RELEASE_PROJECT-beside-$1"
    shift
    engine "$RELEASE_ENGINE" run -d --name "$name" --label arkwright.bench=beside --network "${RELEASE_PROJECT}_default" "$@" >/dev/null ||
        die "$name does not start"
}
# app NAME VERSION OPTION...: the stand-in as `web` runs it.
app() {
    local name="$1" version="$2"
    shift 2
    beside "$name" -e PORT=8081 -e "LINE_SERVICE_API_TOKEN=$RELEASE_TOKEN" -e STANDIN_DELAY=2ms \
        "${OWN_DATABASE[@]/#/--env=}" "$@" "$RELEASE_IMAGE:$version"
}
beside_down() {
    local name
    for name in $(engine "$RELEASE_ENGINE" ps -aq --filter "name=$RELEASE_PROJECT-beside-"); do
        engine "$RELEASE_ENGINE" rm -f "$name" >/dev/null || warn "$name is left"
    done
}
address_of() {
    engine "$RELEASE_ENGINE" inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$1" | cut -d ' ' -f 1
}
await_url() {
    local waited=0
    until curl -fsS --max-time 2 -o /dev/null "$1" 2>/dev/null; do
        ((waited < 200)) || die "nothing answers at $1"
        sleep 0.1
        waited=$((waited + 1))
    done
}

# nginx_for NAME UPSTREAM: its configuration, as careful with connections as the demo's.
nginx_for() {
    mkdir -p "$RELEASE_FOLDER/$1"
    cat >"$RELEASE_FOLDER/$1/nginx.conf" <<NGINX
worker_processes auto;
pid /tmp/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    keepalive_requests 1000000;
    upstream app {
        server $2 max_fails=0;
        keepalive 64;
        keepalive_requests 1000000;
    }
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    server {
        listen 8080;
        location / {
            proxy_http_version 1.1;
            proxy_next_upstream off;
            proxy_set_header Connection \$connection_upgrade;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_pass http://app;
        }
    }
}
NGINX
}
nginx_beside() {
    nginx_for "$1" "$2"
    beside "$1" -v "$RELEASE_FOLDER/$1:/etc/bench:ro" --tmpfs /tmp:mode=1777 localhost/memoryark/nginx:1.22 \
        nginx -e stderr -c /etc/bench/nginx.conf -g 'daemon off;'
}

# The same clients, swapped by an nginx that is reloaded, and by a container that is replaced.
bench_peers() {
    local number one two front
    say "$1: the peers"
    app one 1.0.0
    app two 1.1.0
    one="$(address_of "$RELEASE_PROJECT-beside-one"):8081" two="$(address_of "$RELEASE_PROJECT-beside-two"):8081"
    await_url "http://$one/api/health"
    await_url "http://$two/api/health"
    nginx_beside reloaded "$one"
    front="http://$(address_of "$RELEASE_PROJECT-beside-reloaded"):8080"
    await_url "$front/api/health"
    clients "nginx-$1" "$front" 5
    for ((number = 0; number < SWAPS; number++)); do
        if ((number % 2)); then nginx_for reloaded "$one"; else nginx_for reloaded "$two"; fi
        timed "nginx-$1" engine "$1" exec "$RELEASE_PROJECT-beside-reloaded" nginx -e stderr -c /etc/bench/nginx.conf -s reload
        sleep 0.3
    done
    clients_done "nginx-$1"
    lost_row "peer: nginx reload, 5 ms away" "nginx-$1" "nginx-$1" none "$SWAPS"

    # A published port stays where it is; an address may not.
    front="127.0.0.1:$((${RELEASE_PORT[web]} + 30000))"
    app published 1.0.0 -p "$front:8081"
    await_url "http://$front/api/health"
    clients "recreate-$1" "http://$front" 5
    for ((number = 0; number < DEPLOYS; number++)); do
        timed "recreate-$1" recreated "$front" "1.$((1 - number % 2)).0"
        sleep 1
    done
    clients_done "recreate-$1"
    lost_row "peer: recreate, 5 ms away" "recreate-$1" "recreate-$1" none "$DEPLOYS"
}
# Stopped, removed and run from the new image, as `compose up` does.
recreated() {
    engine "$RELEASE_ENGINE" stop --time 10 "$RELEASE_PROJECT-beside-published"
    engine "$RELEASE_ENGINE" rm "$RELEASE_PROJECT-beside-published"
    app published "$2" -p "$1:8081"
}

# What the router costs: nginx in front of it, and of a plain HAProxy, to the same container; in turns.
bench_cost() {
    local round which plain serving
    say "$1: what the router costs"
    serving="$(weights web | tr ' ' '\n' | sed -n 's/=100$//p')"
    mkdir -p "$RELEASE_FOLDER/plain"
    cat >"$RELEASE_FOLDER/plain/haproxy.cfg" <<HAPROXY
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend in
    bind *:8081
    default_backend app
backend app
    server one $(address_of "$RELEASE_PROJECT-web-$serving-1"):8081 check
HAPROXY
    beside plain -v "$RELEASE_FOLDER/plain:/etc/bench:ro" localhost/memoryark/haproxy:2.6 haproxy -W -db -f /etc/bench/haproxy.cfg
    plain="$(address_of "$RELEASE_PROJECT-beside-plain"):8081"
    await_url "http://$plain/api/health"
    nginx_beside to-router "$ROUTER:8081"
    nginx_beside to-plain "$plain"
    for which in router plain; do await_url "http://$(address_of "$RELEASE_PROJECT-beside-to-$which"):8080/api/health"; done
    for round in 1 2 3 4 5 6; do
        for which in router plain; do
            # Health is what the stand-in answers without its delay.
            "$LOAD" --url "http://$(address_of "$RELEASE_PROJECT-beside-to-$which"):8080/api/health" --connections 16 \
                --duration 2s --json >"$MEASURES/out" || die "requests were lost without any swap: $(cat "$MEASURES/out")"
            # The first round warms up.
            ((round == 1)) || jq .latency_ms.p50 "$MEASURES/out" >>"$MEASURES/cost-$which-$1"
        done
    done
}

# A hundred users and five hundred requests a second, whoever is busy, through nginx and the router, during a canary.
bench_canary() {
    local front status=0
    say "$1: 500 requests a second during a canary"
    front="http://$(address_of "$RELEASE_PROJECT-beside-to-router"):8080"
    "$LOAD" --url "$front/api/files?limit=1" --connections 100 --rate 500 --from-due --duration 14s --json >"$MEASURES/canary-$1.json" &
    LOAD_PID=$!
    sleep 1
    released "canary-$1" deploy "web=$RELEASE_IMAGE:$(other_version web)"
    wait "$LOAD_PID" || status=$?
    LOAD_PID=''
    ((status < 2)) || die "the load of the canary broke"
}

# A rollback counts from the start of its process to the last answer that the colour it leaves gave to a request sent after
# that start.
bench_rollback() {
    local name="$1" number left began ended
    say "$RELEASE_ENGINE: $SWAPS rollbacks, $2"
    # Both colours have to be there.
    released "again-$RELEASE_ENGINE" deploy "web=$RELEASE_IMAGE:$(other_version web)" --no-canary
    : >"$MEASURES/$name.began"
    rm -f "$RELEASE_FOLDER/load.stop"
    "$LOAD" --url "$(url web /api/version)" --connections 16 --rate 1000 --json --stop-file "$RELEASE_FOLDER/load.stop" \
        --answers "$MEASURES/$name.answers" >"$MEASURES/$name.json" &
    LOAD_PID=$!
    sleep 1
    for ((number = 0; number < SWAPS; number++)); do
        left="$(answering_version web)"
        began=$EPOCHREALTIME
        ark_ --json rollback web --yes --reason bench >"$MEASURES/out" 2>"$MEASURES/err" || die "a rollback fails: $(tail -n 2 "$MEASURES/err")"
        sleep 0.3
        ended=$EPOCHREALTIME
        printf '%s %s %s\n' "${began/./}" "${ended/./}" "$left" >>"$MEASURES/$name.began"
    done
    clients_done "$name"
    while read -r began ended left; do
        # Requests of the next rollback are not this one's.
        awk -v began="$began" -v ended="$ended" -v left="$left" '$1 >= began && $1 < ended && $4 == left && $2 > last { last = $2 }
            END { printf "%.1f\n", last ? (last - began) / 1000 : 0 }' "$MEASURES/$name.answers" >>"$MEASURES/$name"
    done <"$MEASURES/$name.began"
}

bench_rollbacks() {
    local waited=0
    bench_rollback "rollback-$1" "without an agent"
    "$ARKWRIGHT" --host "$RELEASE_HOST" -f "$RELEASE_FOLDER/compose.yaml" agent >"$RELEASE_FOLDER/agent.log" 2>&1 &
    AGENT_PID=$!
    until [[ -S "$RELEASE_FOLDER/agent.sock" ]]; do
        ((waited < 100)) || die "the agent does not come up: $(tail -n 2 "$RELEASE_FOLDER/agent.log")"
        sleep 0.1
        waited=$((waited + 1))
    done
    bench_rollback "rollback-agent-$1" "with an agent"
    kill -TERM "$AGENT_PID"
    wait "$AGENT_PID" || true
    AGENT_PID=''
}

bench_release_stop() {
    touch "$RELEASE_FOLDER/load.stop" 2>/dev/null || true
    [[ -z "$LOAD_PID" ]] || wait "$LOAD_PID" || true
    [[ -z "$AGENT_PID" ]] || kill -TERM "$AGENT_PID" || true
    [[ ! -d "$RELEASE_FOLDER" ]] || beside_down
    release_down >/dev/null 2>&1 || warn "what the bench made is not all removed"
}

bench_release_engine() {
    local which="$1" share
    release_stack "$which" bench "[{ weight: 5, hold: 3s }, { weight: 25, hold: 3s }, { weight: 50, hold: 3s }]"
    {
        printf '\n%s\n%-34s %5s %9s %6s %5s %20s %10s  %s\n' "$which" "" swaps requests lost cut "command, ms" "longest" promised
        printf '%-34s %5s %9s %6s %5s %20s %10s\n' "" "" "" "" WS "median (range)" "wait, ms"
    } >>"$TABLE"
    bench_swaps "$which"
    bench_peers "$which"
    bench_cost "$which"
    bench_canary "$which"
    bench_rollbacks "$which"
    bench_bad "$which"
    share="$(counted "canary-$which" '100 * .lost / .requests')"
    {
        printf '\n'
        figure "weight change, p99" "$(percentile "shift-$which" 99)" ms "<=" 5
        figure "rollback, p50" "$(median "rollback-$which")" ms "<=" 50
        figure "rollback, p99" "$(percentile "rollback-$which" 99)" ms "<=" 50
        figure "rollback by agent, p50" "$(median "rollback-agent-$which")" ms "<=" 50
        figure "rollback by agent, p99" "$(percentile "rollback-agent-$which" 99)" ms "<=" 50
        printf '%-26s %22s\n' "nginx → router, p50" "$(median "cost-router-$which") ms" \
            "nginx → HAProxy, p50" "$(median "cost-plain-$which") ms"
        figure "  ratio" "$(awk -v a="$(median "cost-router-$which")" -v b="$(median "cost-plain-$which")" 'BEGIN { printf "%.2f", a / b }')" × "<=" 1.15
        figure "canary at 500/s, rate" "$(counted "canary-$which" '.requests_per_second | round')" /s ">=" 490
        figure "canary at 500/s, P95" "$(counted "canary-$which" .latency_ms.p95)" ms "<" 2000
        figure "canary at 500/s, errors" "$share" % "<" 0.1
        cat "$TABLE.bad"
    } >>"$TABLE"
    rm "$TABLE.bad"
    bench_release_stop
}

bench_release() {
    local which engines="${2:-docker podman}"
    SWAPS="${1:-20}" LOAD_PID='' AGENT_PID=''
    [[ "$SWAPS" =~ ^[1-9][0-9]{0,2}$ ]] || die "SWAPS is a number from 1 to 999, not $SWAPS"
    release_programs
    TABLE="$MEASURES/table"
    RELEASE_FOLDER="$DEMO_STATE/bench-release/none"
    trap bench_release_stop EXIT
    for which in $engines; do
        case "$which" in
        docker | podman) bench_release_engine "$which" ;;
        *) die "an engine is docker or podman, not $which" ;;
        esac
    done
    trap - EXIT
    printf '\nrelease: %s keep-alive clients that never retry, %s requests/s of POST, %s WebSockets, %s cores\n' \
        "$CLIENTS" "$CLIENT_RATE" "$SOCKETS" "$(nproc)"
    cat "$TABLE"
    printf '\n%s\n' \
        "away: waited by the client before each request is sent and after each answer; the longest answer includes it." \
        "swap: \`rollback\` between two colours that stay; deploy: each removes the colour before, and its WebSockets end." \
        "weight change: the router's command, by the receipts of all swaps above." \
        "rollback: from the start of the process to the last answer of the colour it leaves to a request sent after that." \
        "bad version: 320 requests/s, 5 % to it; after: from the start of the hold until the release turns round." \
        "met it: answers of the bad version, and every request that was lost; at most 5 % and one of those while it had a share."
    conclude
}
