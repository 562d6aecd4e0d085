#!/usr/bin/env bash
# Installs what building expertile needs. The one place that knows package names; does nothing when nothing is missing.
#   scripts/setup.sh         to build and test
#   scripts/setup.sh --lint  and what scripts/lint.sh needs
set -euo pipefail

packages=(
  cmake ninja-build g++ libcli11-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libcurl4-openssl-dev libexpected-dev
  libpcre2-dev pkg-config
  libgtest-dev libgmock-dev libbenchmark-dev libboost-context-dev ca-certificates
)

case "${1:-}" in
  "") ;;
  --lint) packages+=(clang-format clang-tidy) ;;
  *)
    echo "setup.sh: option '$1' is not known; choose --lint or nothing" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup.sh: this is no Debian or Ubuntu; install the equivalents of: ${packages[*]}" >&2
  exit 0
fi

missing=()
installed=" $(dpkg-query -W -f '${binary:Package}=${db:Status-Status} ' 2>/dev/null | sed 's/:[a-z0-9]*=/=/g') "
for package in "${packages[@]}"; do
  case "$installed" in
    *" $package=installed "*) ;;
    *) missing+=("$package") ;;
  esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: missing ${missing[*]}, and no sudo to install them with; ask an administrator to run" \
      "'apt-get install ${missing[*]}'" >&2
    exit 1
  fi
  # Without a terminal nobody could answer a password prompt.
  if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
fi

install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -q "${missing[@]}"
}

echo "setup.sh: installing ${missing[*]}" >&2
# Package lists are fetched only where the ones that are there do not do.
if ! install >&2; then
  echo "setup.sh: updating the package lists" >&2
  "${as_root[@]}" apt-get update -q >&2
  install >&2
fi
