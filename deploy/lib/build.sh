# shellcheck shell=bash
# build.sh: configures and builds one CMake preset. To be sourced after packages.sh.

# pm_build_dir <root> <preset>: where that preset is built.
pm_build_dir() { if [ "$2" = default ]; then echo "$1/build"; else echo "$1/build-$2"; fi; }

# pm_build_revision <root>: what --version shows; works without git and in a tree that belongs to somebody else.
pm_build_revision() {
    git -c "safe.directory=$1" -C "$1" rev-parse --short=12 HEAD 2>/dev/null || echo unknown
}

# pm_build <root> <preset> <ON|OFF: tests> [target…]: builds; a directory that was configured for another place, or that
# can no longer be configured, is thrown away and made anew, so that nothing stale is ever run.
pm_build() {
    local root=$1 preset=$2 tests=$3 dir home
    shift 3
    dir=$(pm_build_dir "$root" "$preset")
    home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$dir/CMakeCache.txt" 2>/dev/null || true)
    if [ -d "$dir" ] && [ "$home" != "$root" ]; then rm -rf "$dir"; fi
    pm_build_configure "$root" "$preset" "$tests" >/dev/null 2>&1 || {
        rm -rf "$dir"
        pm_build_configure "$root" "$preset" "$tests" || return 1
    }
    if [ $# -gt 0 ]; then cmake --build "$dir" --target "$@"; else cmake --build "$dir"; fi
}

pm_build_configure() {
    (cd "$1" && cmake --preset "$2" -DPM_TESTS="$3" -DPM_FAIL_POINTS="$3" -DPM_REVISION="$(pm_build_revision "$1")")
}
