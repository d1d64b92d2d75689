# shellcheck shell=bash
# What the quickstart does with the demo stack, and the receipt it prints. Sourced after stack.sh.

# demo_settings ENGINE: names and ports; both engines' demos can stand side by side.
demo_settings() {
    DEMO_ENGINE="$1"
    DEMO_FOLDER="$DEMO_STATE/$DEMO_ENGINE/memoryark"
    DEMO_OUT="$DEMO_STATE/$DEMO_ENGINE/receipts"
    DEMO_PROJECT="memoryark-$DEMO_ENGINE"
    ARKWRIGHT="$PWD/target/release/arkwright"
    LOAD="$PWD/target/release/load"
    case "$DEMO_ENGINE" in
    docker) DEMO_HOST="unix://$DOCKER_SOCKET" ports=(18080 18443 19090 19093 17077) ;;
    podman) DEMO_HOST="unix://$PODMAN_SOCKET" ports=(28080 28443 29090 29093 27077) ;;
    esac
    HTTP_PORT="${ports[0]}" HTTPS_PORT="${ports[1]}" PROMETHEUS_PORT="${ports[2]}" ALERTMANAGER_PORT="${ports[3]}"
    AGENT_PORT="${ports[4]}"
    NEW_VERSION=1.1.0
    NEW_LINE_IMAGE="localhost/memoryark/line-service:$NEW_VERSION"
    BROKEN_IMAGE="localhost/memoryark/line-service:broken"
    export ARKWRIGHT_STATE="$DEMO_STATE/$DEMO_ENGINE/state"
    mkdir -p "$DEMO_OUT"
}

# ark ARGUMENT...: arkwright on the demo stack.
ark() {
    "$ARKWRIGHT" --host "$DEMO_HOST" -p "$DEMO_PROJECT" -f "$DEMO_FOLDER/compose.yaml" "$@"
}

# ark_receipt NAME ARGUMENT...: the same, its receipt kept as NAME.json.
ark_receipt() {
    local name="$1"
    shift
    ark --json "$@" >"$DEMO_OUT/$name.json"
}

# step TITLE COMMAND...: says what happens now; ends everything where it fails.
step() {
    local title="$1" status=0
    shift
    say "$title"
    "$@" || status=$?
    ((status == 0)) || die "\"$title\" failed (exit code $status); what ran is left as it is, ./scripts/quickstart --down removes it"
}

ensure_rust() {
    have cargo && return 0
    ensure_packages "Rust" rustup || die "Rust 1.95 or newer is needed: install it, then run this again"
    rustup default stable
}

# cargo-deny is built once, below target/.
ensure_cargo_deny() {
    export PATH="$PWD/target/tools/bin:$PATH"
    have cargo-deny && return 0
    say "building cargo-deny (some minutes, once)"
    cargo install --quiet --locked --root target/tools cargo-deny
}

build_arkwright() {
    say "building arkwright (the first time takes some minutes)"
    # Only the programs themselves are linked statically, so that libraries are built once for tests and programs.
    cargo rustc --quiet --release --locked --bin arkwright -- -C target-feature=+crt-static
}

# prepare_keys: keys once; their public halves into arkwright.yaml. The recovery key would leave a real host.
prepare_keys() {
    local recovery="$DEMO_STATE/$DEMO_ENGINE/recovery.key" config="$DEMO_FOLDER/arkwright.yaml"
    if [[ ! -e "$recovery" ]]; then
        ark --json key new --recovery "$recovery" >"$DEMO_OUT/keys.json"
    fi
    sed -i \
        -e "s|^  recipients: .*|  recipients: $(jq -c '[.recipients.recovery, .recipients.drill]' "$DEMO_OUT/keys.json")|" \
        -e "s|^state: .*|state: $ARKWRIGHT_STATE|" "$config"
    grep -q '^agent:' "$config" || printf '\nagent: { listen: "127.0.0.1:%s", socket: %s }\n' \
        "$AGENT_PORT" "$DEMO_STATE/$DEMO_ENGINE/agent.sock" >>"$config"
}

# What an earlier run left in the middle is taken to its end, or given up where that cannot be done.
finish_unfinished() {
    local id open='.[] | select(.outcome == "running" or .outcome == "interrupted" or .outcome == "stuck") | .operation'
    for id in $(ark --json history 2>/dev/null | jq -r "$open"); do
        say "an earlier run was cut off in the middle: finishing $id"
        ark resume "$id" || ark resume "$id" --give-up || true
    done
}

start_agent() {
    local pid
    if pid="$(remembered_pid "agent-$DEMO_ENGINE")"; then
        [[ "$(readlink "/proc/$pid/exe")" != "$ARKWRIGHT" ]] || return 0
        say "the agent runs an arkwright that was built anew since: it is started again"
        stop_remembered "agent-$DEMO_ENGINE" 15
    fi
    say "starting the agent (log: $DEMO_STATE/$DEMO_ENGINE/agent.log)"
    setsid "$ARKWRIGHT" --host "$DEMO_HOST" -p "$DEMO_PROJECT" -f "$DEMO_FOLDER/compose.yaml" agent \
        >>"$DEMO_STATE/$DEMO_ENGINE/agent.log" 2>&1 </dev/null &
    remember_process "agent-$DEMO_ENGINE" "$!"
    _wait_until 20 "agent-$DEMO_ENGINE" agent_answers || die "the agent did not come up; see $DEMO_STATE/$DEMO_ENGINE/agent.log"
}
agent_answers() { curl -fsS --max-time 2 "http://127.0.0.1:$AGENT_PORT/healthz" >/dev/null 2>&1; }

# What ran before may still be starting, after the whole host did.
await_services() {
    local patiently=(--retry 60 --retry-delay 1 --retry-all-errors -o /dev/null)
    https_get "$DEMO_FOLDER" memoryark.net "/api/files?limit=1" "${patiently[@]}" 2>/dev/null || die "the archive does not answer"
    https_get "$DEMO_FOLDER" line.memoryark.net /version "${patiently[@]}" 2>/dev/null || die "the bot does not answer"
}

# A step's commands run where a failure does not end the script by itself: each one says so.
seed_photos() {
    local count="$1" before
    before="$(count_photos "$DEMO_FOLDER")" || die "the archive does not say how many photos it has"
    send_photos "$DEMO_FOLDER" "$(date +%s)" "$count" >/dev/null || die "the webhook was refused"
    await_photos "$DEMO_FOLDER" $((before + count)) 30
}

# Load through TLS, nginx and the router, on keep-alive connections that never send a request twice.
start_load() {
    LOAD_STOP="$DEMO_OUT/load.stop"
    rm -f "$LOAD_STOP"
    say "sending load: 32 connections that never retry, and 10 WebSockets"
    "$LOAD" --ca "$DEMO_FOLDER/certs/fullchain.pem" --connect "127.0.0.1:$HTTPS_PORT" --connections 32 \
        --url "https://line.memoryark.net:$HTTPS_PORT/version" --url "https://memoryark.net:$HTTPS_PORT/api/files?limit=1" \
        --websockets 10 --ws-url "wss://line.memoryark.net:$HTTPS_PORT/ws" --stop-file "$LOAD_STOP" --json \
        --rate 600 >"$DEMO_OUT/load.json" &
    LOAD_PID=$!
    trap 'touch "$LOAD_STOP"' EXIT
}

# At least this many requests make a statement.
LEAST_REQUESTS=20000

finish_load() {
    local status=0
    touch "$LOAD_STOP"
    wait "$LOAD_PID" || status=$?
    ((status == 0)) || die "requests were lost under load: $(jq -c . "$DEMO_OUT/load.json")"
    (($(jq .requests "$DEMO_OUT/load.json") >= LEAST_REQUESTS)) ||
        die "only $(jq .requests "$DEMO_OUT/load.json") requests were sent: too few to say anything"
}

# swap_backend: to the version that does not serve, so that every run swaps.
swap_backend() {
    local to="localhost/memoryark/backend:$NEW_VERSION"
    if [[ "$(backend_version)" == "$NEW_VERSION" ]]; then
        to="localhost/memoryark/backend:1.0.0"
    fi
    ark_receipt swap deploy "memoryark-backend=$to" --yes
}
backend_version() {
    https_get "$DEMO_FOLDER" memoryark.net "/api/files?limit=1" -o /dev/null -D - | tr -d '\r' | sed -n 's/^x-app-version: //p'
}

refuse_broken() {
    local status=0
    ark --json deploy "line-service=$BROKEN_IMAGE" --yes >"$DEMO_OUT/broken.json" || status=$?
    ((status == 1)) || die "a broken image should end with exit code 1, not $status"
}

verify_backup() {
    ark --json backup verify --level files >"$DEMO_OUT/verify.json"
}

# print_receipt: everything the run showed, from what the programs themselves reported.
print_receipt() {
    local line
    printf '\nArkwright, %s, %s\n' "$DEMO_ENGINE" "$(date '+%Y-%m-%d %H:%M')"
    printf '  %-22s %s\n' "prepared in" "${prepared} s"
    [[ -z "$profiles_off" ]] || printf '  %-22s %s\n' "left out" "$profiles_off (no registry answers)"
    jq -r '"  requests sent          \(.requests)\n  requests lost          \(.lost)\n  slowest request        \(.latency_ms.max) ms (p50 \(.latency_ms.p50), p99 \(.latency_ms.p99))\n  WebSockets cut         \(.websockets.cut) of \(.websockets.opened)"' "$DEMO_OUT/load.json"
    for line in deploy rollback swap broken backup drill; do
        jq -r --arg line "$line" '"\n\(if .ok != ($line == "broken") then "✓" else "✗" end) \(.kind) \(.subject): \(.outcome)\(if $line == "broken" then ", as it has to be" else "" end)", (.lines[] | "    \(.label + (" " * ([26 - (.label|length), 1] | max)))\(.value)"), (if .because then "    because: \(.because|split("\n")[0])" else empty end)' "$DEMO_OUT/$line.json"
    done
    jq -r '.[] | "\n\(if (.damaged | length) == 0 then "✓" else "✗" end) verified, level \(.level): \(.snapshots) snapshots, \(.objects) objects, \(.bytes) bytes, \(.files) files", (.checks[] | "    \(.name + (" " * ([26 - (.name | length), 1] | max)))\(.verdict): \(.detail)")' "$DEMO_OUT/verify.json"
    printf '\nThe stack runs on: https://localhost:%s  ·  ./scripts/quickstart%s --down removes it all\n' \
        "$HTTPS_PORT" "$([[ "$DEMO_ENGINE" == podman ]] && printf ' --podman')"
}

# demo_down: agent, stack, volumes, images, folders; and the engine where it was started here. An engine that has ended
# since is started once more, as what it made is still there.
demo_down() {
    stop_remembered "agent-$DEMO_ENGINE" 15
    if [[ -d "$DEMO_STATE/$DEMO_ENGINE" ]]; then
        "ensure_$DEMO_ENGINE"
    fi
    if "${DEMO_ENGINE}_answers"; then
        if [[ -x "$ARKWRIGHT" && -e "$DEMO_FOLDER/compose.yaml" ]]; then
            finish_unfinished
            say "taking the stack down"
            ark down --volumes --remove-orphans --yes
        fi
        remove_images "$DEMO_ENGINE" "$DEMO_PROJECT"
    fi
    "stop_$DEMO_ENGINE"
    say "removing $DEMO_STATE/$DEMO_ENGINE"
    rm -rf --one-file-system "${DEMO_STATE:?}/$DEMO_ENGINE"
    demo_last_down
}

# What both engines' demos share goes with the last of them. Packages and what was built below target/ stay.
demo_last_down() {
    local engine name
    for engine in docker podman; do
        [[ ! -d "$DEMO_STATE/$engine" ]] || return 0
    done
    for name in dockerd podman; do
        ! remembered_pid "$name" >/dev/null || return 0
    done
    if [[ -s "$DEMO_STATE/installed" ]]; then
        say "these packages were installed and stay: $(sort -u "$DEMO_STATE/installed" | tr '\n' ' ')"
    fi
    rm -f "$DEMO_STATE"/*.log "$DEMO_STATE"/*.process "$DEMO_STATE/containers.conf" "$DEMO_STATE/installed"
    rm -f "$DEMO_CACHE"/debian-*.tar.gz "$DEMO_CACHE/debootstrap.log"
    rmdir --ignore-fail-on-non-empty "$DEMO_STATE" "$DEMO_CACHE" 2>/dev/null || true
}
