# Common to scripts/test and scripts/demo: what must be installed, and building. Sourced, not run.

# Debian packages that a build, and the tests, need beyond a plain Debian 12.
build_packages="cmake ninja-build gcc libc6-dev pkg-config libevent-dev libsqlite3-dev zlib1g-dev libjansson-dev libcmocka-dev"
test_packages="qemu-system-x86 busybox-static iproute2 groff-base ca-certificates valgrind spin"
figure_packages="dpdk dpdk-dev" # what the bench compares with

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# is_here PACKAGE: where no dpkg tells, is there what we need of it?
is_here() {
  case $1 in
    cmake|gcc|pkg-config|valgrind|spin) command -v "$1" ;;
    ninja-build) command -v ninja ;;
    libc6-dev) echo '#include <stdio.h>' | gcc -E - ;;
    libevent-dev) pkg-config --exists libevent_core ;;
    libsqlite3-dev) pkg-config --exists sqlite3 ;;
    zlib1g-dev) pkg-config --exists zlib ;;
    libjansson-dev) pkg-config --exists jansson ;;
    libcmocka-dev) pkg-config --exists cmocka ;;
    qemu-system-x86) command -v qemu-system-x86_64 ;;
    busybox-static) command -v busybox ;;
    iproute2) command -v ip ;;
    groff-base) command -v groff ;;
    dpdk|dpdk-dev) command -v dpdk-testpmd ;;
    ca-certificates) [ -d /etc/ssl/certs ] ;;
    *) false ;;
  esac >/dev/null 2>&1
}

# install_packages yes|no PACKAGE...: bring what is missing, or say what is. Works as root or with sudo.
install_packages() {
  local may=$1 missing="" p
  shift
  if ! command -v dpkg-query >/dev/null 2>&1; then
    for p in "$@"; do
      is_here "$p" || missing="$missing $p"
    done
    [ -z "$missing" ] || say "not a Debian system, so nothing is installed. Missing here, or not found (names as in Debian 12):$missing"
    return 0 # whoever needs it says so, or is skipped and counted
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
