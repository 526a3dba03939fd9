# Common to scripts/test and scripts/demo: what must be installed, and building. Sourced, not run.

# Debian packages that a build, and the tests, need beyond a plain Debian 12.
build_packages="cmake ninja-build gcc libc6-dev pkg-config libevent-dev libsqlite3-dev zlib1g-dev libjansson-dev libcmocka-dev"
test_packages="qemu-system-x86 busybox-static iproute2 groff-base ca-certificates valgrind spin"

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# install_packages yes|no PACKAGE...: bring what is missing, or say what is. Works as root or with sudo.
install_packages() {
  local may=$1 missing="" p
  shift
  if ! command -v dpkg-query >/dev/null 2>&1; then
    say "not a Debian system: make sure that these are there (names as in Debian 12): $*"
    return 0
  fi
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
  done
  [ -n "$missing" ] || return 0
  [ "$may" = yes ] || die "missing packages:$missing (run without --no-install, or install them)"
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  command -v "${sudo:-true}" >/dev/null 2>&1 || die "missing packages:$missing (neither root nor sudo)"
  say "installing:$missing"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq || say "package lists could not be updated; going on with those that are here"
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    die "installing$missing failed"
}

# build PRESET [TARGET...]: configure and build in build/PRESET.
build() {
  local preset=$1
  shift
  say "building ($preset)"
  cmake --preset "$preset" >/dev/null || die "configuring $preset failed: run cmake --preset $preset"
  if [ $# -gt 0 ]; then cmake --build --preset "$preset" --target "$@"; else cmake --build --preset "$preset"; fi > "build/$preset/build.log" 2>&1 ||
    { tail -n 40 "build/$preset/build.log" >&2; die "building $preset failed"; }
}
