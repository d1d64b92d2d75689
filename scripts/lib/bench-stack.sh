# shellcheck shell=bash
# The demo stack without Grafana, router included, taken up by us and by docker-compose in turns. Sourced by bench.

# The peer is given the router as one more service, with the configuration ours was rendered.
bench_peer_router() {
    cat >"$1/router.yaml" <<'ROUTER'
services:
  router:
    image: localhost/memoryark/haproxy:2.6
    entrypoint: []
    command: [haproxy, -W, -db, -S, "/run/arkwright/master.sock,mode,600", -f, /etc/arkwright/haproxy.cfg]
    user: "99:99"
    restart: unless-stopped
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    volumes: ["./router/config:/etc/arkwright:ro", "./router/run:/run/arkwright"]
    networks: [memoryark-frontend-net, memoryark-backend-net, memoryark-monitoring-net]
ROUTER
}

bench_ours() { "$ARKWRIGHT" --host "$DEMO_HOST" -p bench-ours -f "$BENCH/ours/compose.yaml" "$@"; }
bench_peer() {
    (cd "$BENCH/peer" && docker-compose -H "$DEMO_HOST" -p bench-peer -f compose.yaml -f router.yaml "$@")
}

bench_down() {
    bench_ours down --volumes --yes
    bench_peer down --volumes --timeout 10
}

bench_stack() {
    local rounds="${1:-5}" round writes peer_version
    demo_settings docker
    BENCH="$DEMO_STATE/bench-stack"
    ensure_packages "the bench: the peer, and what measures" docker-compose jq time gcc libc6-dev openssl curl ca-certificates
    ensure_rust
    ensure_docker
    build_arkwright
    build_images docker
    rm -rf "$BENCH"
    export ARKWRIGHT_STATE="$BENCH/state"
    HTTP_PORT=38080 HTTPS_PORT=38443 PROMETHEUS_PORT=39090 ALERTMANAGER_PORT=39093
    prepare_stack "$BENCH/ours"
    prepare_stack "$BENCH/peer"
    bench_peer_router "$BENCH/peer"
    trap 'bench_down >/dev/null 2>&1 || warn "what the bench made is not all removed"' EXIT

    bench_ours up >/dev/null 2>&1 || die "the stack does not come up; \`arkwright up\` in $BENCH/ours says why"
    mkdir -p "$BENCH/peer/router"
    cp -a "$ARKWRIGHT_STATE/bench-ours/router/config" "$ARKWRIGHT_STATE/bench-ours/router/run" "$BENCH/peer/router/"
    bench_ours down --volumes --yes >/dev/null 2>&1

    for ((round = 1; round <= rounds; round++)); do
        say "round $round of $rounds"
        timed up-ours bench_ours up
        for _ in 1 2 3; do
            timed again-ours bench_ours up --json
            writes="$(jq .writes "$MEASURES/out")"
            [[ "$writes" == 0 ]] || break
            timed ps-ours bench_ours ps
            timed config-ours bench_ours config
        done
        timed down-ours bench_ours down --volumes --yes
        timed up-peer bench_peer up -d
        for _ in 1 2 3; do
            timed again-peer bench_peer up -d
            timed ps-peer bench_peer ps
            timed config-peer bench_peer config
        done
        timed down-peer bench_peer down --volumes --timeout 10
        [[ "$writes" == 0 ]] || break
    done

    peer_version="$(docker-compose version --short)"
    say "the stack of 300 services"
    "$DEMO_LIB/../generate-stack" 300 >"$BENCH/300.yaml"
    for _ in 1 2 3 4 5; do
        timed load-ours "$ARKWRIGHT" -p bench-300 -f "$BENCH/300.yaml" config --json
    done
    (($(jq '.services | length' "$MEASURES/out") == 300)) || die "the generated stack did not load whole"
    command time -f %M -o "$MEASURES/peak" "$ARKWRIGHT" -p bench-300 -f "$BENCH/300.yaml" config >/dev/null
    # The peer is older than `name:`.
    sed '/^name:/d' "$BENCH/300.yaml" >"$BENCH/300-peer.yaml"
    timed load-peer docker-compose -p bench-300 -f "$BENCH/300-peer.yaml" config

    printf '\nstack: medians of %s rounds (least–most), %s, %s cores\n\n' "$rounds" \
        "dockerd $(docker_ version --format '{{.Server.Version}}')" "$(nproc)"
    compared_head arkwright "docker-compose $peer_version"
    compared "first up, 8 services" up-ours up-peer
    compared "unchanged up" again-ours again-peer 10
    figure "unchanged up, API writes" "$writes" "" == 0
    compared "config" config-ours config-peer
    compared "ps" ps-ours ps-peer
    compared "down" down-ours down-peer
    compared "300 services, config" load-ours load-peer
    figure "300 services, load" "$(median load-ours)" ms '<' 500
    figure "300 services, peak memory" "$(awk '{ printf "%.1f", $1 / 1024 }' "$MEASURES/peak")" MiB '<' 100
    conclude
}
