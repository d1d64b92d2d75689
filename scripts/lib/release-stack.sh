# shellcheck shell=bash
# A small stack to release under load: `web`, swapped side by side, and `archive`, held, behind their router. Both run the
# stand-in of MemoryArk's back end. Sourced after demo.sh.

RELEASE_IMAGE="localhost/memoryark/backend"
RELEASE_TOKEN="token-of-the-bench"
# Side by side, each colour has a database of its own, in the one folder for everybody that every container has.
OWN_DATABASE=(DATABASE_PATH=/dev/shm/memoryark.db UPLOAD_PATH=/dev/shm/uploads)
declare -A RELEASE_PORT=([web]=8081 [archive]=8082)

# release_programs: $ARKWRIGHT, unless it is given, and the stand-ins are built.
release_programs() {
    ensure_packages "what measures" jq socat curl gcc libc6-dev ca-certificates
    [[ -n "${ARKWRIGHT_STANDINS:-}" && -n "${ARKWRIGHT:-}" ]] || ensure_rust
    if [[ -z "${ARKWRIGHT:-}" ]]; then
        ARKWRIGHT="$PWD/target/release/arkwright"
        build_arkwright
    fi
    build_standins
    [[ -n "${ARKWRIGHT_STANDINS:-}" ]] ||
        cargo rustc --quiet --release --locked -p standins --bin kill-at -- -C target-feature=+crt-static
    LOAD="$(standins_folder)/load"
    KILL_AT="$(standins_folder)/kill-at"
}

# release_images ENGINE: those the stack needs.
release_images() {
    local line folder
    local -a lines=()
    ensure_base_image "$1"
    for line in "${DEMO_IMAGES[@]}"; do
        read -r _ folder _ <<<"$line"
        case "$folder" in
        haproxy | nginx | memoryark-backend) lines+=("$line") ;;
        esac
    done
    _build_all "$1" memoryark "${lines[@]}"
}

# release_stack ENGINE PURPOSE [STEPS]: the engine, the images, and the stack up with 1.0.0; a stack of an earlier run is
# removed first. STEPS are those of `web`'s canary. With RELEASE_DISK its state is on a disk of that size, of its own.
release_stack() {
    local steps="${3:-[]}" service port
    RELEASE_ENGINE="$1"
    RELEASE_PROJECT="ark-$2-$1"
    RELEASE_FOLDER="$DEMO_STATE/$2-release/$1"
    RELEASE_STATE="$RELEASE_FOLDER/state/$RELEASE_PROJECT"
    case "$1" in
    docker) RELEASE_HOST="unix://$DOCKER_SOCKET" ;;
    podman) RELEASE_HOST="unix://$PODMAN_SOCKET" ;;
    esac
    # One run at a time: two would tear down each other's stack.
    mkdir -p "$DEMO_STATE/$2-release"
    exec 8>"$DEMO_STATE/$2-release/$1.lock"
    flock -n 8 || die "another run has the stack $RELEASE_PROJECT"
    unset ARKWRIGHT_STATE ARKWRIGHT_CONFIG COMPOSE_PROJECT_NAME
    # No engine that is started here keeps the lock.
    "ensure_$1" 8>&-
    release_images "$1"
    release_down
    mkdir -p "$RELEASE_FOLDER/data" "$RELEASE_FOLDER/uploads"
    if [[ -n "${RELEASE_DISK:-}" ]]; then
        mkdir "$RELEASE_FOLDER/state"
        truncate -s "$RELEASE_DISK" "$RELEASE_FOLDER/disk"
        mkfs.ext4 -q "$RELEASE_FOLDER/disk"
        mount -o loop "$RELEASE_FOLDER/disk" "$RELEASE_FOLDER/state"
    fi
    ((EUID != 0)) || chown 1000:1000 "$RELEASE_FOLDER/data" "$RELEASE_FOLDER/uploads"
    {
        printf 'name: %s\nservices:\n' "$RELEASE_PROJECT"
        for service in web archive; do
            port="${RELEASE_PORT[$service]}"
            printf '  %s:\n    image: %s:1.0.0\n    restart: unless-stopped\n    shm_size: 2gb\n' "$service" "$RELEASE_IMAGE"
            printf '    environment: { PORT: "%s", LINE_SERVICE_API_TOKEN: %s, STANDIN_DELAY: 2ms%s }\n' "$port" "$RELEASE_TOKEN" \
                "$([[ "$service" != web ]] || printf ', %s' "${OWN_DATABASE[@]/=/: }")"
            [[ "$service" != archive ]] || printf '    volumes: ["./data:/data", "./uploads:/uploads"]\n'
        done
    } >"$RELEASE_FOLDER/compose.yaml"
    # A port that no other agent of this machine has.
    port=$((37070 + $(cksum <<<"$RELEASE_PROJECT" | cut -d ' ' -f 1) % 900))
    cat >"$RELEASE_FOLDER/arkwright.yaml" <<CONFIG
state: ./state
agent: { listen: "127.0.0.1:$port", socket: $RELEASE_FOLDER/agent.sock }
router: { image: "localhost/memoryark/haproxy:2.6" }
services:
  web:
    release:
      port: ${RELEASE_PORT[web]}
      health: { http: /api/health, every: 300ms, healthy_after: 2, within: 4s }
      steps: $steps
  archive:
    release:
      port: ${RELEASE_PORT[archive]}
      health: { http: /api/health, every: 300ms, healthy_after: 2, within: 4s }
      swap: hold
      hold_limit: 30s
      drain_limit: 10s
      before: [{ backup: database }]
backups:
  recipients: []
  keys: { signing: keys/signing, drill_identity: keys/drill }
  stores: { here: { path: ./backups } }
  sets: { database: { sources: [{ sqlite: ./data/memoryark.db }] } }
CONFIG
    ark_ --json key new --recovery "$RELEASE_FOLDER/recovery.key" >"$RELEASE_FOLDER/keys.json"
    sed -i "s|^  recipients: .*|  recipients: $(jq -c '[.recipients.recovery, .recipients.drill]' "$RELEASE_FOLDER/keys.json")|" \
        "$RELEASE_FOLDER/arkwright.yaml"
    ark_ up >"$RELEASE_FOLDER/up.log" 2>&1 || die "the stack does not come up: $(tail -n 3 "$RELEASE_FOLDER/up.log")"
    release_address
    for service in web archive; do
        await_version "$service" 1.0.0 20 || die "$service does not answer behind the router"
    done
}

# release_down: the stack, its folder and the names that keep its images are gone afterwards.
release_down() {
    local image
    [[ -d "$RELEASE_FOLDER" ]] || return 0
    if [[ -e "$RELEASE_FOLDER/arkwright.yaml" ]]; then
        finish_all >/dev/null 2>&1 || true
        ark_ down --volumes --remove-orphans --yes >"$RELEASE_FOLDER/down.log" 2>&1 ||
            warn "the stack is not all removed: $(tail -n 3 "$RELEASE_FOLDER/down.log")"
    fi
    for image in $(engine "$RELEASE_ENGINE" images --format '{{.Repository}}:{{.Tag}}' | grep "arkwright-keep/$RELEASE_PROJECT-" || true); do
        engine "$RELEASE_ENGINE" rmi "$image" >/dev/null || warn "$image is left"
    done
    ! mountpoint -q "$RELEASE_FOLDER/state" || umount "$RELEASE_FOLDER/state"
    rm -rf --one-file-system "$RELEASE_FOLDER"
}

# ark_ ARGUMENT...: arkwright on the stack.
ark_() { "$ARKWRIGHT" --host "$RELEASE_HOST" -f "$RELEASE_FOLDER/compose.yaml" "$@"; }

# finish_all: what is unfinished is taken to its end, or given up.
finish_all() {
    local id
    for id in $(ark_ --json history --last 100000 | jq -r '.[] | select(.outcome | IN("running", "interrupted", "stuck")).operation'); do
        ark_ resume "$id" >/dev/null 2>&1 || ark_ resume "$id" --give-up || true
    done
}

# release_address: where the router is; another one after it was started again, on some engines, and of the newest where
# one has taken over from another.
release_address() {
    local newest
    newest="$(engine "$RELEASE_ENGINE" ps --format '{{.Names}}' | grep -x "$RELEASE_PROJECT-arkwright-router-[0-9]*" | sort -V | tail -n 1)"
    ROUTER="$(engine "$RELEASE_ENGINE" inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$newest" |
        cut -d ' ' -f 1)"
    ROUTER_NUMBER="${newest##*-}"
    [[ -n "$ROUTER" ]]
}

# url SERVICE PATH
url() { printf 'http://%s:%s%s\n' "$ROUTER" "${RELEASE_PORT[$1]}" "$2"; }

# answering_version SERVICE: of one request through the router; empty where nobody answers.
answering_version() {
    { curl -fsS --max-time 20 -o /dev/null -D - "$(url "$1" /api/version)" 2>/dev/null || true; } | tr -d '\r' |
        sed -n 's/^x-app-version: //p'
}

# await_version SERVICE VERSION SECONDS
await_version() {
    local waited=0
    until [[ "$(answering_version "$1")" == "$2" ]]; do
        ((waited < $3 * 20)) || return 1
        sleep 0.05
        waited=$((waited + 1))
    done
}

# other_version SERVICE: the one that does not serve.
other_version() {
    if [[ "$(answering_version "$1")" == 1.0.0 ]]; then echo 1.1.0; else echo 1.0.0; fi
}

# router_says SOCKET COMMAND: `admin` or `master`.
router_says() {
    local socket="$1"
    ((ROUTER_NUMBER == 1)) || socket+="-$ROUTER_NUMBER"
    socat -t 5 - "UNIX-CONNECT:$RELEASE_STATE/router/run/$socket.sock" <<<"$2"
}

# weights SERVICE: `blue=100 green=0`, as the running router has them.
weights() {
    router_says admin "show servers state $1" | awk '$4 ~ /1$/ { sub(/1$/, "", $4); printf "%s%s=%s", sep, $4, $8; sep = " " }'
}
