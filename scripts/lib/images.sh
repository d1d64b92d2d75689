# shellcheck shell=bash
# The images of both stacks: built from Debian packages and from the stand-ins, rebuilt only when what goes in changed.
# Sourced after base.sh.

COMPOSE_FOLDER="$DEMO_LIB/../../compose"
CONTENT_LABEL="arkwright.demo.content"

# NAME:TAG below localhost/memoryark, folder below its images/, and build arguments. An image comes after the one it is
# built on.
DEMO_IMAGES=(
    "nginx:1.22              nginx"
    "haproxy:2.6             haproxy"
    "redis:7.0               redis"
    "prometheus:2.42         prometheus"
    "alertmanager:0.25       alertmanager"
    "node-exporter:1.5       node-exporter"
    "frontend:1.0.0          memoryark-frontend"
    "backend:1.0.0           memoryark-backend  VERSION=1.0.0"
    "backend:1.1.0           memoryark-backend  VERSION=1.1.0"
    "backend:broken          memoryark-backend  VERSION=broken UNHEALTHY=1"
    "line-service:1.0.0      line-service       VERSION=1.0.0"
    "line-service:1.1.0      line-service       VERSION=1.1.0"
    "line-service:broken     line-service       VERSION=broken UNHEALTHY=1"
)
# The same below localhost/hwayo: 1.1.0 is good, and the versions after it fail in one way each, for trying gates.
HWAYO_IMAGES=(
    "postgres:15              postgres"
    "rabbitmq:3.10            rabbitmq"
    "web:1.0.0                hwayo-service  ROLE=web           VERSION=1.0.0"
    "web:1.1.0                hwayo-service  ROLE=web           VERSION=1.1.0"
    "web:1.1.0-errors         hwayo-service  ROLE=web           VERSION=1.1.0-errors   FAIL=10%"
    "web:1.1.0-slow           hwayo-service  ROLE=web           VERSION=1.1.0-slow     DELAY=2s"
    "web:1.1.0-crash          hwayo-service  ROLE=web           VERSION=1.1.0-crash    CRASH_AFTER=6s"
    "web:1.1.0-leak           hwayo-service  ROLE=web           VERSION=1.1.0-leak     GROW=8M"
    "api-gateway:1.0.0        hwayo-service  ROLE=api-gateway   VERSION=1.0.0"
    "api-gateway:1.1.0        hwayo-service  ROLE=api-gateway   VERSION=1.1.0"
    "auth:1.0.0               hwayo-service  ROLE=auth          VERSION=1.0.0"
    "auth:1.1.0               hwayo-service  ROLE=auth          VERSION=1.1.0"
    "auth:1.1.0-errors        hwayo-service  ROLE=auth          VERSION=1.1.0-errors   FAIL=10%"
    "auth:1.1.0-slow          hwayo-service  ROLE=auth          VERSION=1.1.0-slow     DELAY=3s"
    "auth:1.1.0-crash         hwayo-service  ROLE=auth          VERSION=1.1.0-crash    CRASH_AFTER=15s"
    "auth:1.1.0-leak          hwayo-service  ROLE=auth          VERSION=1.1.0-leak     GROW=8M"
    "auth:1.1.0-busy          hwayo-service  ROLE=auth          VERSION=1.1.0-busy     SPIN=2"
    "auth:1.1.0-refusing      hwayo-service  ROLE=auth          VERSION=1.1.0-refusing REFUSE=20%"
    "workflow:1.0.0           hwayo-service  ROLE=workflow      VERSION=1.0.0"
    "workflow:1.1.0           hwayo-service  ROLE=workflow      VERSION=1.1.0"
    "notification:1.0.0       hwayo-service  ROLE=notification  VERSION=1.0.0"
    "notification:1.1.0       hwayo-service  ROLE=notification  VERSION=1.1.0"
    "report:1.0.0             hwayo-service  ROLE=report        VERSION=1.0.0"
    "report:1.1.0             hwayo-service  ROLE=report        VERSION=1.1.0"
)
# What can only be pulled, and what is left out where no registry answers.
PULLED_ONLY=("docker.io/grafana/grafana:11.4.0 grafana")

# Where the static programs are; built by build_standins unless ARKWRIGHT_STANDINS names a folder with them.
standins_folder() {
    printf '%s\n' "${ARKWRIGHT_STANDINS:-${CARGO_TARGET_DIR:-$DEMO_LIB/../../target}/release}"
}

# build_standins: the static programs for the images, and the load generator.
build_standins() {
    [[ -z "${ARKWRIGHT_STANDINS:-}" ]] || return 0
    have cargo || die "building the stand-ins needs cargo (Rust 1.95 or newer)"
    local program
    say "building the stand-ins"
    for program in memoryark-backend line-service hwayo-service load; do
        # Only the programs themselves are linked statically, so that libraries are built once for all.
        (cd "$DEMO_LIB/../.." &&
            cargo rustc --quiet --release --locked -p standins --bin "$program" -- -C target-feature=+crt-static)
    done
}

# One hash over everything that goes into an image: the id of what it is built on, arguments, files and their names.
_content_hash() {
    local folder="$1"
    shift
    {
        printf '%s\n' "$@"
        (cd "$folder" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    } | sha256sum | cut -d ' ' -f 1
}

_image_label() {
    engine "$1" image inspect --format "{{index .Config.Labels \"$CONTENT_LABEL\"}}" "$2" 2>/dev/null || true
}
_image_id() {
    engine "$1" image inspect --format '{{.Id}}' "$2"
}

# build_image ENGINE STACK NAME:TAG FOLDER [ARGUMENT=VALUE...]
build_image() {
    local which="$1" stack="$2" image="localhost/$2/$3" folder="$4" context base hash argument log
    local -a options=()
    shift 4
    for argument in "$@"; do
        options+=(--build-arg "$argument")
    done
    context="$(mktemp -d)"
    cp -R "$COMPOSE_FOLDER/$stack/images/$folder/." "$context/"
    base="scratch"
    if grep -q '^FROM scratch' "$context/Dockerfile"; then
        local program
        program="$(standins_folder)/$folder"
        if [[ ! -x "$program" ]]; then
            rm -rf "$context"
            die "$program is missing: build_standins comes first"
        fi
        cp "$program" "$context/$folder"
    else
        base="$(sed -n 's/^ARG BASE=//p' "$context/Dockerfile")"
        base="$(_image_id "$which" "$base")"
    fi
    hash="$(_content_hash "$context" "$base" "$@")"
    if [[ "$(_image_label "$which" "$image")" == "$hash" ]]; then
        rm -rf "$context"
        return 0
    fi
    say "building $image"
    options+=(--label "$CONTENT_LABEL=$hash" --tag "$image")
    if [[ "$which" == podman ]]; then
        # Docker's format keeps everything an image may say; stages' caches would only fill the disk.
        options+=(--format docker --layers=false)
    fi
    mkdir -p "$DEMO_STATE"
    log="$stack-${image##*/}"
    log="$DEMO_STATE/build-${log/:/-}.log"
    if ! engine "$which" build "${options[@]}" "$context" >"$log" 2>&1; then
        rm -rf "$context"
        die "building $image failed: $(tail -n 3 "$log" | tr '\n' ' ') (all of it: $log)"
    fi
    rm -rf "$context"
}

# build_images ENGINE: everything of both stacks; an image whose content did not change is left alone.
build_images() {
    build_standins
    ensure_base_image "$1"
    _build_all "$1" memoryark "${DEMO_IMAGES[@]}"
    _build_all "$1" hwayo "${HWAYO_IMAGES[@]}"
}

# _build_all ENGINE STACK LINE...
_build_all() {
    local which="$1" stack="$2" line name folder
    local -a arguments
    shift 2
    for line in "$@"; do
        read -r name folder line <<<"$line"
        read -r -a arguments <<<"$line"
        build_image "$which" "$stack" "$name" "$folder" "${arguments[@]}"
    done
}

# pull_images ENGINE: tries what can only be pulled; prints the profile of each that could not be had.
pull_images() {
    local which="$1" line image profile
    for line in "${PULLED_ONLY[@]}"; do
        read -r image profile <<<"$line"
        engine "$which" image inspect "$image" >/dev/null 2>&1 && continue
        if ! try_pull "$which" "$image"; then
            warn "$image can be neither pulled nor built here: profile \`$profile\` stays off"
            printf '%s\n' "$profile"
        fi
    done
}

# remove_images ENGINE PROJECT: what build_images made there, and the tags under which releases of PROJECT kept images.
remove_images() {
    local which="$1" project="$2" image
    local -a images=()
    mapfile -t images < <(
        engine "$which" images --format '{{.Repository}}:{{.Tag}}' --filter "label=$CONTENT_LABEL"
        engine "$which" images --format '{{.Repository}}:{{.Tag}}' | grep "arkwright-keep/$project-" || true
    )
    say "removing the demo's images"
    for image in "${images[@]}" "$BASE_IMAGE"; do
        [[ "$image" == *"<none>"* ]] || engine "$which" rmi -f "$image" >/dev/null 2>&1 ||
            ! engine "$which" image inspect "$image" >/dev/null 2>&1 || warn "$image could not be removed"
    done
    # Earlier builds of the same images have lost their names.
    engine "$which" image prune -f --filter "label=$CONTENT_LABEL" >/dev/null 2>&1 || true
}
