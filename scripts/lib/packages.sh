# shellcheck shell=bash
# Debian and Ubuntu packages. Sourced after say.sh.

_package_installed() {
    [[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" == ii* ]]
}

# ensure_packages WHY PACKAGE...: installs what is missing, after saying what and why.
ensure_packages() {
    local why="$1" package
    local -a missing=()
    shift
    have dpkg-query || die "this needs $* ($why), and only Debian and Ubuntu packages are installed by these scripts: install them by hand"
    for package in "$@"; do
        _package_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]} ($why)"
    local -a root=()
    if ((EUID != 0)); then
        have sudo || die "installing ${missing[*]} needs root: run this as root, or install sudo"
        root=(sudo)
    fi
    mkdir -p "$DEMO_STATE"
    local log="$DEMO_STATE/apt.log"
    if ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        "${missing[@]}" >"$log" 2>&1; then
        # The package lists may be old or absent: fetch them once and try again.
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update >"$log" 2>&1 \
            || die "apt-get update failed; see $log"
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            "${missing[@]}" >>"$log" 2>&1 || die "could not install ${missing[*]}; see $log"
    fi
    # For whoever wants to take them away again.
    printf '%s\n' "${missing[@]}" >>"$DEMO_STATE/installed"
}
