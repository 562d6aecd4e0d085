#!/usr/bin/env bash
# Installs what building and testing need. The one place that knows package names; does nothing when nothing is missing.
set -euo pipefail

packages=(
  cmake ninja-build g++ ca-certificates
  libcli11-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libcurl4-openssl-dev libexpected-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup.sh: this machine has no apt-get; install what these Debian packages hold: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: installing needs root; run as root or install sudo, for: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "setup.sh: installing ${missing[*]}" >&2
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2; }
apt install -y --no-install-recommends "${missing[@]}" 2>/dev/null || {
  apt update
  apt install -y --no-install-recommends "${missing[@]}"
}
