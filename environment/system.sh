#!/bin/sh
# Check what must come from the system's packages; install what is missing as root, or print the one line that does.
#
#   sh environment/system.sh bitstream|test|ci
#
# PYTHON names the interpreter (default: python3). Exit status: 0 all is there, 2 usage, 3 something is missing.
# POSIX sh, because Python itself may be what is missing.
set -eu

case "${1-}" in
    bitstream) tools="g++ make perl git" ;;
    # Icarus Verilog is the second simulator, which keeps Verilator honest.
    test) tools="g++ make perl git iverilog" ;;
    # Too large for everybody who runs the tests (1 GB): the cross compilers of the C driver, what runs it on another
    # processor, what knows the bits of a bitstream, and a browser.
    ci) tools="g++ make perl git iverilog arm-none-eabi-gcc riscv64-unknown-elf-gcc powerpc-linux-gnu-gcc
            qemu-ppc-static icebram browser" ;;
    *) echo "usage: sh environment/system.sh bitstream|test|ci" >&2; exit 2 ;;
esac
python=${PYTHON:-python3}

# Each name that this prints is a package of Debian 12 and of Ubuntu 24.04.
missing_packages() {
    if command -v "$python" >/dev/null; then
        # venv without ensurepip is what Debian installs when python3-venv is absent.
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || echo libpython3-dev
    else
        echo python3 python3-venv libpython3-dev
    fi
    for tool in $tools; do
        case "$tool" in
            arm-none-eabi-gcc) package=gcc-arm-none-eabi ;;
            riscv64-unknown-elf-gcc) package=gcc-riscv64-unknown-elf ;;
            powerpc-linux-gnu-gcc) package="gcc-powerpc-linux-gnu libc6-dev-powerpc-cross" ;;
            qemu-ppc-static) package=qemu-user-static ;;
            icebram) package=fpga-icestorm ;;
            browser)
                # Ubuntu's package of this name is a snap, which does not run in a container.
                grep -qs "^ID=debian" /etc/os-release || continue
                tool=chromium package=chromium ;;
            *) package=$tool ;;
        esac
        command -v "$tool" >/dev/null || echo "$package"
    done
    # perl-base, which every Debian has, lacks what Verilator's start script uses.
    ! command -v perl >/dev/null || perl -MPod::Usage -e 1 2>/dev/null || echo perl
}

# A Python that is too old is not replaced: the system's packages have no newer one.
check_version() {
    command -v "$python" >/dev/null || return 0
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        version=$("$python" -c 'import platform; print(platform.python_version())')
        echo "ERROR: Python must be 3.11 or newer, not $version: name another one with PYTHON=python3.x" >&2
        exit 3
    fi
}

check_version
packages=$(missing_packages | tr '\n' ' ')
packages=${packages% }
[ -n "$packages" ] || exit 0

command="apt-get update && apt-get install -y --no-install-recommends $packages"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "ERROR: packages of the system are missing; install them with:" >&2
    echo "sudo sh -c '$command'" >&2
    exit 3
fi
echo "installing from the system's packages: $packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "WARNING: the package lists could not be brought up to date" >&2
# shellcheck disable=SC2086  # one word per package
if ! apt-get install -y -qq --no-install-recommends $packages >/dev/null; then
    echo "ERROR: apt-get could not install: $packages" >&2
    exit 3
fi
check_version
packages=$(missing_packages | tr '\n' ' ')
packages=${packages% }
if [ -n "$packages" ]; then
    echo "ERROR: $python still lacks what these packages bring, maybe because it is not the system's: $packages" >&2
    exit 3
fi
