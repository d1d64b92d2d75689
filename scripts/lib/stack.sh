# shellcheck shell=bash
# A copy of compose/memoryark to play with, and the photos that go in. Sourced after images.sh.

# prepare_stack FOLDER: copies the stack there, with the built images and ports nobody else uses. Keeps what is there.
# HTTP_PORT, HTTPS_PORT, PROMETHEUS_PORT and ALERTMANAGER_PORT choose other ports.
prepare_stack() {
    local folder="$1" source="$DEMO_LIB/../../compose/memoryark" name
    ensure_packages "the demo's certificate, passwords and webhooks" openssl curl
    mkdir -p "$folder"
    for name in "$source"/* "$source/.env.example"; do
        [[ "${name##*/}" == images ]] || cp -R "$name" "$folder/"
    done
    sed -i 's|^\(  image: \)haproxy:2.6$|\1localhost/memoryark/haproxy:2.6|' "$folder/arkwright.yaml"
    if [[ ! -e "$folder/.env" ]]; then
        "$folder/prepare" >&2
        sed -i \
            -e "s|^LINE_CHANNEL_SECRET=.*|LINE_CHANNEL_SECRET=$(openssl rand -hex 16)|" \
            -e "s|^LINE_CHANNEL_ACCESS_TOKEN=.*|LINE_CHANNEL_ACCESS_TOKEN=$(openssl rand -hex 32)|" \
            -e "s|^HTTP_PORT=.*|HTTP_PORT=${HTTP_PORT:-18080}|" \
            -e "s|^HTTPS_PORT=.*|HTTPS_PORT=${HTTPS_PORT:-18443}|" \
            -e "s|^PROMETHEUS_PORT=.*|PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090}|" \
            -e "s|^ALERTMANAGER_PORT=.*|ALERTMANAGER_PORT=${ALERTMANAGER_PORT:-19093}|" \
            -e '/^#[A-Z_]*\(IMAGE\|PROBE\)=/d' "$folder/.env"
        cat >>"$folder/.env" <<'SETTINGS'
NGINX_IMAGE=localhost/memoryark/nginx:1.22
REDIS_IMAGE=localhost/memoryark/redis:7.0
PROMETHEUS_IMAGE=localhost/memoryark/prometheus:2.42
ALERTMANAGER_IMAGE=localhost/memoryark/alertmanager:0.25
NODE_EXPORTER_IMAGE=localhost/memoryark/node-exporter:1.5
MEMORYARK_BACKEND_IMAGE=localhost/memoryark/backend:1.0.0
MEMORYARK_FRONTEND_IMAGE=localhost/memoryark/frontend:1.0.0
LINE_SERVICE_IMAGE=localhost/memoryark/line-service:1.0.0
BACKEND_PROBE=/memoryark-backend
LINE_PROBE=/line-service
SETTINGS
    fi
}

# stack_setting FOLDER NAME: a value from the stack's .env.
stack_setting() {
    sed -n "s|^$2=||p" "$1/.env" | tail -n 1
}

# https_get FOLDER HOST PATH [CURL OPTION...]: asks the stack's nginx as HOST, trusting its certificate only.
https_get() {
    local folder="$1" host="$2" path="$3" port
    shift 3
    port="$(stack_setting "$folder" HTTPS_PORT)"
    curl -fsS --max-time 30 --cacert "$folder/certs/fullchain.pem" --resolve "$host:$port:127.0.0.1" \
        "$@" "https://$host:$port$path"
}

# send_photos FOLDER FIRST COUNT: LINE's webhook for COUNT images with ids from FIRST on, signed as LINE signs.
send_photos() {
    local folder="$1" first="$2" count="$3" id events='' body secret signature
    for ((id = first; id < first + count; id++)); do
        events+="${events:+,}{\"type\":\"message\",\"message\":{\"type\":\"image\",\"id\":\"$id\"}}"
    done
    body="{\"destination\":\"demo\",\"events\":[$events]}"
    secret="$(stack_setting "$folder" LINE_CHANNEL_SECRET)"
    signature="$(printf '%s' "$body" | openssl dgst -sha256 -hmac "$secret" -binary | base64 -w 0)"
    printf '%s' "$body" | https_get "$folder" line.memoryark.net /webhook/line \
        -H "X-Line-Signature: $signature" -H 'Content-Type: application/json' --data-binary @-
}

# count_photos FOLDER: how many photos the archive lists.
count_photos() {
    https_get "$1" memoryark.net "/api/files?limit=1" | jq -e .total
}

# await_photos FOLDER COUNT SECONDS: until the archive lists COUNT photos.
await_photos() {
    local folder="$1" count="$2" patience="$3" waited=0 have=0
    while ((waited < patience * 5)); do
        have="$(count_photos "$folder" 2>/dev/null)" || have=0
        ((have < count)) || return 0
        sleep 0.2
        waited=$((waited + 1))
    done
    die "only $have of $count photos are in the archive after ${patience}s"
}
