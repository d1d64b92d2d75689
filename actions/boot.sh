# Finds the arkwright binary and becomes it. On a cancel the runner signals the step's top process alone, so every
# stage replaces the one before it (exec). Binaries are not downloaded yet: the host of a self-hosted runner has one.
set -eu

name=$1
binary=${ARKWRIGHT_BINARY:-}

refuse() {
  echo "::error title=arkwright ${name}::$1"
  if [ -n "${GITHUB_OUTPUT:-}" ]; then
    echo "outcome=refused" >>"$GITHUB_OUTPUT"
  fi
  exit 5
}

if [ -z "$binary" ]; then
  binary=$(command -v arkwright) ||
    refuse "no arkwright on the runner's PATH; these actions run on the host itself, on a self-hosted runner where arkwright is installed, or with the input 'binary'"
fi
if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
  refuse "the input 'binary' names no program the runner's user may run"
fi

exec "$binary" action "$name"
