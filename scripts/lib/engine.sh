# shellcheck shell=bash
# Docker and Podman: use what runs, start what does not, end only what was started here. Sourced after packages.sh.
#
# Works without systemd, on cgroup v1, and where CAP_SYS_RESOURCE is missing: what such a machine needs is
# detected, not assumed.

DOCKER_SOCKET="${ARKWRIGHT_DOCKER_SOCKET:-/var/run/docker.sock}"
PODMAN_SOCKET="${ARKWRIGHT_PODMAN_SOCKET:-/run/arkwright-demo/podman.sock}"

# docker_ SUBCOMMAND...: the client, always against our socket and with the builder every server has.
docker_() { DOCKER_BUILDKIT=0 docker -H "unix://$DOCKER_SOCKET" "$@"; }
# podman_ SUBCOMMAND...: the client with the settings this machine needs.
podman_() {
    if [[ -r "$DEMO_STATE/containers.conf" ]]; then
        CONTAINERS_CONF="$DEMO_STATE/containers.conf" podman "$@"
    else
        podman "$@"
    fi
}
# engine ENGINE SUBCOMMAND...: docker_ or podman_.
engine() {
    local which="$1"
    shift
    "${which}_" "$@"
}

docker_answers() {
    [[ -S "$DOCKER_SOCKET" ]] && have docker &&
        timeout 5 docker -H "unix://$DOCKER_SOCKET" version --format '{{.Server.Version}}' >/dev/null 2>&1
}
podman_answers() {
    [[ -S "$PODMAN_SOCKET" ]] && have podman &&
        timeout 5 podman --remote --url "unix://$PODMAN_SOCKET" version >/dev/null 2>&1
}

# A daemon that was ended hard leaves its pid file behind, and the next one refuses to start.
_clear_stale_pid() {
    local file="$1" pid
    [[ -e "$file" ]] || return 0
    pid="$(cat "$file" 2>/dev/null || true)"
    # One that ended and was not waited for has a name and no program any more.
    if [[ "$pid" =~ ^[0-9]+$ && "$(readlink "/proc/$pid/exe" 2>/dev/null || true)" == */"$2"* ]]; then
        return 0
    fi
    say "removing $file, left by a $2 that is gone"
    rm -f "$file"
}

# _wait_until SECONDS NAME CHECK: until CHECK succeeds; fails when the process remembered as NAME ends first.
_wait_until() {
    local patience="$1" name="$2" check="$3" waited=0
    while ! "$check"; do
        ((waited < patience * 5)) || return 1
        remembered_pid "$name" >/dev/null || return 1
        sleep 0.2
        waited=$((waited + 1))
    done
}

# ensure_docker: a daemon answers on $DOCKER_SOCKET afterwards.
ensure_docker() {
    docker_answers && return 0
    if ! have docker || ! have dockerd; then
        ensure_packages "the Docker engine" docker.io iptables ca-certificates
    fi
    ((EUID == 0)) || die "no Docker daemon answers on $DOCKER_SOCKET, and starting one needs root"
    if [[ -d /run/systemd/system && "$DOCKER_SOCKET" == /var/run/docker.sock ]]; then
        systemctl start docker || die "systemctl start docker failed; see: journalctl -u docker"
        local waited=0
        until docker_answers; do
            ((waited < 60)) || die "docker.service runs but $DOCKER_SOCKET does not answer"
            sleep 1
            waited=$((waited + 1))
        done
        return 0
    fi
    have iptables || ensure_packages "Docker's networks" iptables
    _clear_stale_pid /var/run/docker.pid dockerd
    _clear_stale_pid /var/run/docker/containerd/containerd.pid containerd
    mkdir -p "$DEMO_STATE"
    say "starting dockerd (log: $DEMO_STATE/dockerd.log)"
    setsid dockerd --host "unix://$DOCKER_SOCKET" >"$DEMO_STATE/dockerd.log" 2>&1 </dev/null &
    remember_process dockerd "$!"
    _wait_until 60 dockerd docker_answers ||
        die "dockerd did not come up; its last words: $(tail -n 3 "$DEMO_STATE/dockerd.log" | tr '\n' ' ')"
}

# stop_docker: ends the daemon ensure_docker started, its containers and its containerd; nobody else's.
stop_docker() {
    remembered_pid dockerd >/dev/null || return 0
    say "stopping dockerd"
    stop_remembered dockerd 60
}

# Settings for a machine that refuses Podman's defaults; none written where they work or the host has its own.
_podman_settings() {
    local capabilities lines_containers='' lines_engine=''
    rm -f "$DEMO_STATE/containers.conf"
    if [[ -e /etc/containers/containers.conf || -e "$HOME/.config/containers/containers.conf" ]]; then
        return 0
    fi
    capabilities="$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)"
    if ((EUID == 0)) && ! ((16#$capabilities >> 24 & 1)); then
        # Without CAP_SYS_RESOURCE the default limits cannot be raised.
        lines_containers='default_ulimits = ["nofile=10000:20000", "nproc=10000:10000"]'
    fi
    if ! [[ -e /sys/fs/cgroup/cgroup.controllers ]] && have runc; then
        # crun refuses hybrid hierarchies.
        lines_engine='runtime = "runc"'
    fi
    if ! [[ -d /run/systemd/system ]]; then
        lines_engine+=$'\ncgroup_manager = "cgroupfs"\nevents_logger = "file"'
    fi
    [[ -n "$lines_containers$lines_engine" ]] || return 0
    mkdir -p "$DEMO_STATE"
    printf '[containers]\n%s\n\n[engine]\n%s\n' "$lines_containers" "$lines_engine" >"$DEMO_STATE/containers.conf"
}

# A registry on loopback speaks plain HTTP, which Docker knows by itself. What the host says of registries holds as well.
_podman_registries() {
    local file host=/etc/containers/registries.conf
    [[ ! -r "$HOME/.config/containers/registries.conf" ]] || host="$HOME/.config/containers/registries.conf"
    file="$DEMO_STATE/registries.conf"
    mkdir -p "$DEMO_STATE"
    {
        [[ ! -r "$host" ]] || cat "$host"
        printf '\n[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
    } >"$file"
    printf '%s\n' "$file"
}

# Docker drops what is forwarded, also between two containers on one of Podman's internal networks, for which Podman
# itself writes no rule. Traffic that stays on one bridge is let through again.
PODMAN_BESIDE_DOCKER=(DOCKER-USER -i podman+ -m physdev --physdev-is-bridged -j ACCEPT)
_podman_beside_docker() {
    ((EUID == 0)) || return 0
    [[ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true)" == 1 ]] || return 0
    iptables -n -L DOCKER-USER >/dev/null 2>&1 || return 0
    iptables -C "${PODMAN_BESIDE_DOCKER[@]}" 2>/dev/null && return 0
    say "Docker's firewall rules cut Podman's internal networks: adding a rule for traffic within one of them"
    iptables -I "${PODMAN_BESIDE_DOCKER[@]}" || warn "the rule was refused: containers on internal networks will not reach each other"
}

# Podman asks for the state of containers whose processes ended with the machine until it sees that the machine was started
# again, and does not see it where /run outlives that. When nothing of it runs, its mark of the earlier start goes, and with
# it the names and addresses of that time and what the runtime lists as stopped.
_forget_earlier_start() {
    local mark=/run/libpod/alive
    [[ -e "$mark" ]] || return 0
    ! podman_ ps --all --quiet >/dev/null 2>&1 || return 0
    ! grep -qsx conmon /proc/[0-9]*/comm || return 0
    say "Podman's containers ended with the machine: removing $mark, so that it sees that"
    rm -rf "$mark" /run/containers/networks
    local id
    for id in $(runc list --quiet 2>/dev/null || true); do
        runc delete "$id" || true
    done
}

# ensure_podman: its API answers on $PODMAN_SOCKET afterwards. Podman's storage is the host's own.
ensure_podman() {
    have podman || ensure_packages "the Podman engine" podman
    ensure_packages "Podman's networks and their names" netavark aardvark-dns iptables
    [[ -e /sys/fs/cgroup/cgroup.controllers ]] || have runc ||
        ensure_packages "a runtime for Podman on this machine's cgroups" runc
    _podman_beside_docker
    podman_answers && return 0
    _podman_settings
    mkdir -p "$DEMO_STATE" "$(dirname "$PODMAN_SOCKET")"
    rm -f "$PODMAN_SOCKET"
    _forget_earlier_start
    say "starting Podman's API on $PODMAN_SOCKET (log: $DEMO_STATE/podman.log)"
    local -a settings=("CONTAINERS_REGISTRIES_CONF=$(_podman_registries)")
    if [[ -r "$DEMO_STATE/containers.conf" ]]; then
        settings+=("CONTAINERS_CONF=$DEMO_STATE/containers.conf")
    fi
    # conmon leaves an empty file `oom` in the folder it was started in.
    setsid env --chdir="$DEMO_STATE" "${settings[@]}" podman system service -t 0 "unix://$PODMAN_SOCKET" \
        >"$DEMO_STATE/podman.log" 2>&1 </dev/null &
    remember_process podman "$!"
    _wait_until 30 podman podman_answers ||
        die "podman system service did not come up; its last words: $(tail -n 3 "$DEMO_STATE/podman.log" | tr '\n' ' ')"
}

# stop_podman: ends the API service ensure_podman started. Containers are not its children and stay.
stop_podman() {
    remembered_pid podman >/dev/null || return 0
    say "stopping Podman's API"
    stop_remembered podman 15
    rm -f "$PODMAN_SOCKET"
    if iptables -C "${PODMAN_BESIDE_DOCKER[@]}" 2>/dev/null; then
        iptables -D "${PODMAN_BESIDE_DOCKER[@]}"
    fi
}
