# Shared by the scripts beside it: where things are, what must be installed, the build.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s' "$@" >&2; printf '\n' >&2; }

die() {
    say "$@"
    exit 1
}

# A target directory given relative to where the caller is stays where the caller means it.
case ${CARGO_TARGET_DIR:-/} in
/*) ;;
*) export CARGO_TARGET_DIR="$PWD/$CARGO_TARGET_DIR" ;;
esac

# Makes sure that there is a Rust toolchain, a linker and make, or says how to come by them.
need_toolchain() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    command -v cargo >/dev/null || die \
        "Rust is missing: no cargo in PATH. Install it with rustup (https://rustup.rs):" \
        $'\n  curl --proto \'=https\' --tlsv1.2 -sSf https://sh.rustup.rs | sh' \
        $'\nthen open a new shell and run this again.'
    command -v cc >/dev/null || die \
        "A C compiler is missing: no cc in PATH. Rust links with it." \
        $'\n  Debian, Ubuntu: apt-get install gcc\n  Fedora: dnf install gcc\n  macOS: xcode-select --install'
    command -v make >/dev/null || die \
        "make is missing: the testnet's allocator is built with it." \
        $'\n  Debian, Ubuntu: apt-get install make\n  Fedora: dnf install make\n  macOS: xcode-select --install'
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1)" != "$wanted" ]; then
        die "Rust $have is too old, $wanted is needed: rustup update stable"
    fi
}

# Where cargo puts what it builds, however that is configured.
target_dir() {
    (cd "$root" && cargo metadata --no-deps --format-version 1) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# Builds both programs in the one profile that tests and scripts share, and sets `bin`.
build_programs() {
    need_toolchain
    say "Building hedgerow (the first time takes some minutes) ..."
    (cd "$root" && cargo build --quiet --bin hedgerow --bin hedgerow-testnet >&2)
    # shellcheck disable=SC2034 # read by the scripts
    bin=$(target_dir)/debug
}
