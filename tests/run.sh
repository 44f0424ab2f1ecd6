#!/bin/bash
# run.sh: installs what is missing, builds, starts private servers, runs the tests, and counts them.
#
#   tests/run.sh                     everything, also under AddressSanitizer, UBSan and ThreadSanitizer
#   tests/run.sh --fast              everything, without the sanitizer builds
#   tests/run.sh unit e2e            only these kinds: unit race simulation fuzz tidy alarm integration faults e2e deploy
#   tests/run.sh faults              every fault; the run of everything has the random kills, the stop and a few fail points
#   tests/run.sh faults-full         every fault at full length, 200 rounds of random kills, a backlog of a million: an hour
#   tests/run.sh [-k] <name>         every test whose name contains it: ctest's, Criterion's and pytest's alike
#   tests/run.sh recount-full        the big recount: 200,000 executions and 200,000 market events, also around crashes
#   tests/run.sh big-tables          a year of snapshots read and forgotten, a million older ones taken over, with figures
#   tests/run.sh planted             faults planted into the real code, each of which the simulator must find and tell in short
#   tests/run.sh seeds               the simulator with fresh seeds for an hour (or PM_SEEDS_SECONDS)
#   tests/run.sh compose             the image and the compose file on a Docker Engine of its own (tests/deploy/heavy_compose.py)
#   tests/run.sh package             the package in a bare Debian (tests/deploy/heavy_package.py)
#   tests/run.sh versions            against PostgreSQL 14, 16 and 17 and RabbitMQ 4 (tests/deploy/heavy_versions.py)
#   tests/run.sh documents           the pages that build and start everything (tests/deploy/heavy_documents.py)
#
# The last line is "N passed, N failed"; the exit status is 0 only if something ran and nothing failed. Logs are kept in
# build/test-logs. Servers listen on the loopback address, live in a directory below /tmp, and are gone afterwards.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
for part in packages process build; do
    # shellcheck disable=SC1090
    . "deploy/lib/$part.sh"
done

kinds_all=(unit tidy alarm simulation fuzz race integration faults e2e deploy)
kinds=()
name=""
fast=no
recount_full=no
big_tables=no
heavy=""
simulator=""
passed=0
failed=0
report=()
scratch=""
logs=$root/build/test-logs
jobs=$(nproc)

# shellcheck disable=SC2317 # called by the trap
finish() {
    if [ -n "$scratch" ]; then
        tests/tools/servers.sh stop "$scratch" >/dev/null 2>&1 || true
        rm -rf "$scratch"
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# Prints the summary and ends.
conclude() {
    printf '%s\n' "" "${report[@]}"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ] || exit 1
    exit 0
}

# count <title> <"passed failed"> <seconds>: adds a line to the report.
count() {
    local good bad
    read -r good bad <<<"$2"
    passed=$((passed + good))
    failed=$((failed + bad))
    report+=("$(printf '%-28s %6d passed %4d failed %5d s' "$1" "$good" "$bad" "$3")")
    pm_say "${report[-1]}"
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
        --fast) fast=yes ;;
        -k)
            name=${2:?"-k needs a name"}
            shift
            ;;
        recount-full) recount_full=yes ;;
        faults-full)
            export PM_FAULTS_LONG=1 PM_FAULTS_STORM=${PM_FAULTS_STORM:-200} PM_FAULTS_BACKLOG=${PM_FAULTS_BACKLOG:-1000000}
            export PM_FAULTS_SEED=${PM_FAULTS_SEED:-fresh}
            kinds+=(faults)
            ;;
        big-tables) big_tables=yes ;;
        compose | package | documents | versions) heavy=$1 ;;
        planted | seeds) simulator=$1 ;;
        -h | --help)
            sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        -*) pm_die "unknown option $1; see tests/run.sh --help" ;;
        *) case " ${kinds_all[*]} " in *" $1 "*) kinds+=("$1") ;; *) name=$1 ;; esac ;;
        esac
        shift
    done
}

# wants <kind…>: whether one of them was asked for.
wants() {
    local kind
    for kind in "$@"; do
        case " ${kinds[*]} " in *" $kind "*) return 0 ;; esac
    done
    return 1
}

build() {
    local started=$SECONDS
    mkdir -p "$logs"
    if ! pm_build "$root" "$1" ON >"$scratch/build-$1.log" 2>&1; then
        grep -E 'error|warning|FAILED|CMake Error' -A 3 "$scratch/build-$1.log" | head -60 >&2 || true
        tail -n 5 "$scratch/build-$1.log" >&2
        count "build ($1)" "0 1" $((SECONDS - started))
        conclude
    fi
    mkdir -p "$logs"
    pm_say "built ($1) in $((SECONDS - started)) s"
}

start_servers() {
    tests/tools/servers.sh start "$scratch" >"$scratch/environment" || {
        count "servers" "0 1" 0
        conclude
    }
    set -a
    # shellcheck disable=SC1091
    . "$scratch/environment"
    set +a
}

# run_ctest <title> <preset> <ctest arguments…>
run_ctest() {
    local title=$1 preset=$2 started=$SECONDS log
    shift 2
    log=$logs/${title//[^a-z0-9_]/-}.log
    ctest --test-dir "$(pm_build_dir "$root" "$preset")" -V --timeout 300 "$@" >"$log" 2>&1 || true
    count "$title" "$(/usr/bin/python3 tests/tools/tally.py ctest "$log")" $((SECONDS - started))
}

# run_pytest <title> <pytest arguments…>
run_pytest() {
    local title=$1 started=$SECONDS junit
    shift
    junit=$scratch/junit-${title//[^a-z0-9_]/-}.xml
    PM_BINARY=${PM_BINARY:-$root/build/position-manager} PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest \
        -p no:cacheprovider -q --tb=short --durations=5 --junitxml="$junit" "$@" >"$logs/$title.log" 2>&1 || true
    if [ ! -s "$junit" ]; then
        tail -n 30 "$logs/$title.log" >&2
        count "$title" "0 1" $((SECONDS - started))
        return
    fi
    local result
    result=$(/usr/bin/python3 tests/tools/tally.py junit "$junit")
    [ "${result#* }" = 0 ] || tail -n 200 "$logs/$title.log" >&2
    count "$title" "$result" $((SECONDS - started))
}

# Kinds that need servers share ports and processors with them: one after the other.
run_kind() {
    local kind=$1 preset=$2 parallel=$jobs
    case "$kind" in integration | faults | race | simulation) parallel=1 ;; esac
    run_ctest "$kind ($preset)" "$preset" -L "^$kind\$" -j "$parallel"
}

# Which builds a kind runs in.
presets_of() {
    if [ "$fast" = yes ]; then
        echo default
        return
    fi
    case "$1" in
    unit | fuzz) echo default asan ;;
    integration) echo asan ;;
    race) echo asan tsan ;;
    alarm) echo default asan tsan ;; # each tool has to show that it still barks
    *) echo default ;;
    esac
}

run_preset() {
    local kind ours=()
    for kind in "${kinds[@]}"; do
        case "$kind" in e2e | faults | deploy) continue ;; esac # pytest's
        case " $(presets_of "$kind") " in *" $1 "*) ours+=("$kind") ;; esac
    done
    [ "${#ours[@]}" -gt 0 ] || [ "$1" = default ] || return 0
    build "$1"
    for kind in "${ours[@]}"; do run_kind "$kind" "$1"; done
}

# Criterion tests, of all programs of the unit kind, whose names or whose suites' names match.
run_criterion_named() {
    local program started log
    for program in build/unit_*; do
        [ -x "$program" ] || continue
        started=$SECONDS
        "$program" --list 2>/dev/null | grep -qF -- "$name" || continue
        log=$logs/named-$(basename "$program").log
        local words="Passed"
        "$program" --filter "@(*$name*/*|*/*$name*)" >"$log.out" 2>&1 || words="***Failed"
        { sed 's/^/1: /' "$log.out" && echo "1/1 Test #1: $(basename "$program") .... $words 0.00 sec"; } >"$log"
        count "$(basename "$program") $name" "$(/usr/bin/python3 tests/tools/tally.py ctest "$log")" $((SECONDS - started))
    done
}

run_named() {
    build default
    start_servers
    if ctest --test-dir build -N -R "$name" | grep -q 'Total Tests: [1-9]'; then run_ctest "ctest $name" default -R "$name"; fi
    run_criterion_named
    local kind
    for kind in e2e faults deploy; do
        /usr/bin/python3 -m pytest -p no:cacheprovider -q --collect-only -k "$name" "tests/$kind" >/dev/null 2>&1 || continue
        run_pytest "$kind-named" -k "$name" "tests/$kind"
    done
}

run_recount_full() {
    build default
    start_servers
    export PM_RECOUNT_EXECUTIONS=${PM_RECOUNT_EXECUTIONS:-200000} PM_RECOUNT_MARKET=${PM_RECOUNT_MARKET:-200000}
    export PM_RECOUNT_SEED=${PM_RECOUNT_SEED:-fresh}
    run_pytest "recount-full" -s tests/e2e/test_recount.py
    grep -E '^recount' "$logs/recount-full.log" || true
}

# What takes minutes and root, and no other run does: these bring up engines or whole systems of their own.
run_heavy() {
    # The image is built from a clone, by itself.
    if [ "$heavy" = compose ]; then mkdir -p "$logs"; else build default; fi
    run_pytest "$heavy" -s "tests/deploy/heavy_$heavy.py"
    grep -E "^[.]*$heavy: " "$logs/$heavy.log" | sed 's/^[.]*//' || true
}

# With a disk that commits have to wait for: the figures are about waiting.
run_big_tables() {
    build default
    export PM_TEST_FSYNC=on
    start_servers
    run_pytest "big-tables" -s tests/e2e/big_tables.py
    grep -oE 'big-tables: .*' "$logs/big-tables.log" || true
}

run_planted() {
    local started=$SECONDS result
    build default
    /usr/bin/python3 tests/simulation/planted.py --table | tee "$logs/planted.log" || true
    result=$(sed -n 's/^\([0-9]*\) found, \([0-9]*\) not$/\1 \2/p' "$logs/planted.log")
    count planted "${result:-0 1}" $((SECONDS - started))
}

# Each run has other seeds; whichever fails is named and can be played again.
run_seeds() {
    local started=$SECONDS result="1 0"
    build default
    build/simulate --from "$(date +%s)000000" --seconds "${PM_SEEDS_SECONDS:-3600}" | tee "$logs/seeds.log" || true
    grep -q 'seeds held' "$logs/seeds.log" || result="0 1"
    count seeds "$result" $((SECONDS - started))
}

# The whole service in a sanitizer build: the ways of every kind of message, restarts, and a recount around kills.
run_service_under() {
    build "$1"
    PM_BINARY=$(pm_build_dir "$root" "$1")/position-manager PM_RECOUNT_EXECUTIONS=6000 PM_RECOUNT_MARKET=6000 PM_E2E_TIMEOUT=240 \
        run_pytest "e2e-$1" -n 2 --dist loadfile tests/e2e/test_exactly_once.py tests/e2e/test_refused.py \
        tests/e2e/test_recount.py tests/e2e/test_history.py
}

# They mostly wait, so several files run at a time; but for the attacks, which measure how others are served meanwhile.
run_e2e() {
    run_pytest e2e -n 3 --dist loadfile --ignore=tests/e2e/test_attacks.py tests/e2e
    run_pytest e2e-attacks tests/e2e/test_attacks.py
}

run_kinds() {
    # All faults take as long as all the rest; with everything else go some of each sort, within a minute.
    local faults=(tests/faults)
    if [ "${#kinds[@]}" = 0 ]; then
        local crash="tests/faults/test_fail_points.py::test_a_crash_at_any_point_loses_nothing_and_counts_nothing_twice"
        faults=(tests/faults/test_storm.py tests/faults/test_stop.py tests/faults/test_audit.py
            "${crash}[fail point: crash at commit_sent]" "${crash}[fail point: crash at before_announcement]"
            "${crash}[fail point: crash at after_confirm]" tests/faults/test_fail_points.py::test_every_point_is_tried
            tests/faults/test_fail_points.py::test_a_point_that_is_none_stops_the_start)
        kinds=("${kinds_all[@]}")
    fi
    if wants integration faults e2e deploy; then start_servers; fi
    run_preset default
    if wants e2e; then run_e2e; fi
    if wants faults; then run_pytest faults "${faults[@]}"; fi
    if wants deploy; then run_pytest deploy tests/deploy; fi
    if [ "$fast" = no ]; then
        run_preset asan
        if wants e2e; then run_service_under asan; fi
        run_preset tsan
        if wants e2e; then run_service_under tsan; fi
    fi
}

parse_arguments "$@"
pm_packages_need "${PM_PACKAGES_RUN[@]}" "${PM_PACKAGES_TEST[@]}"
if [ "$heavy" = compose ]; then pm_packages_need "${PM_PACKAGES_COMPOSE[@]}"; fi
if [ "$heavy" = versions ]; then pm_packages_need debootstrap; fi
if [ "$heavy" = compose ] || [ "$heavy" = versions ]; then
    command -v npm >/dev/null || pm_packages_need npm
fi
if [ "$heavy" = package ]; then pm_packages_need "${PM_PACKAGES_PACKAGE[@]}"; fi
scratch=$(mktemp -d /tmp/pm-tests.XXXXXX)
chmod 755 "$scratch"
if [ "$recount_full" = yes ]; then
    run_recount_full
elif [ "$big_tables" = yes ]; then
    run_big_tables
elif [ "$simulator" = planted ]; then
    run_planted
elif [ "$simulator" = seeds ]; then
    run_seeds
elif [ -n "$heavy" ]; then
    run_heavy
elif [ -n "$name" ]; then
    run_named
else
    run_kinds
fi
conclude
