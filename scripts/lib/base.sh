# shellcheck shell=bash
# The Debian base image of everything built here. Sourced after engine.sh.

BASE_IMAGE="localhost/memoryark/debian:bookworm"
PULLED_BASE="docker.io/library/debian:bookworm-slim"

# try_pull ENGINE IMAGE: fails soon where no registry answers.
try_pull() {
    local -a with=(env)
    local -a where=()
    case "$1" in
    docker) where=(-H "unix://$DOCKER_SOCKET") ;;
    podman) [[ ! -r "$DEMO_STATE/containers.conf" ]] || with+=("CONTAINERS_CONF=$DEMO_STATE/containers.conf") ;;
    esac
    "${with[@]}" timeout "${ARKWRIGHT_PULL_TIMEOUT:-60}" "$1" "${where[@]}" pull -q "$2" >/dev/null 2>&1
}

# A small Debian root as a tarball, made once and kept in the cache; prints its path.
_base_tarball() {
    local tarball="$DEMO_CACHE/debian-bookworm-amd64.tar.gz" root
    if [[ ! -s "$tarball" ]]; then
        ((EUID == 0)) || die "no registry answers and building a base image with debootstrap needs root"
        ensure_packages "a base image, because no registry answers" debootstrap debian-archive-keyring
        mkdir -p "$DEMO_CACHE"
        root="$(mktemp -d "$DEMO_CACHE/debootstrap.XXXXXX")"
        say "making a Debian base image with debootstrap (about half a minute)"
        if ! debootstrap --variant=minbase bookworm "$root" >"$DEMO_CACHE/debootstrap.log" 2>&1; then
            rm -rf --one-file-system "$root"
            die "debootstrap failed; see $DEMO_CACHE/debootstrap.log"
        fi
        # Packages installed in a build must not start their services, nor leave their archives in a layer.
        printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
        chmod 755 "$root/usr/sbin/policy-rc.d"
        printf 'force-unsafe-io\n' >"$root/etc/dpkg/dpkg.cfg.d/container"
        printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' \
            >>"$root/etc/dpkg/dpkg.cfg.d/container"
        printf '%s\n' 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' \
            'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' >"$root/etc/apt/apt.conf.d/container"
        rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* "$root"/var/log/*.log \
            "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
        tar --numeric-owner -C "$root" -c . | gzip -1 >"$tarball.partial"
        mv "$tarball.partial" "$tarball"
        rm -rf --one-file-system "$root"
    fi
    printf '%s\n' "$tarball"
}

# ensure_base_image ENGINE: $BASE_IMAGE exists afterwards, pulled where a registry answers, else made here.
ensure_base_image() {
    local which="$1" tarball
    engine "$which" image inspect "$BASE_IMAGE" >/dev/null 2>&1 && return 0
    if [[ ! -s "$DEMO_CACHE/debian-bookworm-amd64.tar.gz" ]] && try_pull "$which" "$PULLED_BASE"; then
        engine "$which" tag "$PULLED_BASE" "$BASE_IMAGE"
        say "base image: pulled $PULLED_BASE"
        return 0
    fi
    tarball="$(_base_tarball)"
    engine "$which" import "$tarball" "$BASE_IMAGE" >/dev/null
    say "base image: made with debootstrap (no registry answered)"
}
