# shellcheck shell=bash disable=SC2034
# What the scripts share. Sourced, never run.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# Everything that is made goes here; another place is for those who keep several builds.
BUILD=${MOAT_BUILD:-$ROOT/build}
VENV=$BUILD/venv
export MOAT_BUILD=$BUILD PYTHONDONTWRITEBYTECODE=1

say() { printf '%s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Prints the comment block at the top of the script that runs.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit "${1:-0}"
}

# The names of the fuzz targets, one a line.
fuzz_targets() { sed -n 's/^\([a-z0-9_]*\):.*/\1/p' fuzz/targets.txt; }

# configure DIR CC [MESON OPTION…]: a build directory for that compiler; nothing when it is there already.
configure() {
    local dir=$1 cc=$2
    shift 2
    [ -f "$dir/build.ninja" ] && return
    say "configuring ${dir#"$ROOT"/} with $cc"
    mkdir -p "$dir"
    CC=$cc meson setup "$dir" "$ROOT" "$@" > "$dir/configure.log" 2>&1 || {
        tail -n 20 "$dir/configure.log" >&2
        die "meson setup failed; all of it is in $dir/configure.log"
    }
}

# compile DIR [TARGET…]: quiet when all is well, the compiler's words when not.
compile() {
    local dir=$1
    shift
    if [ -t 2 ]; then
        ninja -C "$dir" "$@" >&2 || die "the build in $dir failed"
    else
        ninja -C "$dir" --quiet "$@" > "$dir/compile.log" 2>&1 || {
            grep -v '^\[' "$dir/compile.log" | head -n 100 >&2 || true
            die "the build in $dir failed"
        }
    fi
}
