#!/bin/bash
# run.sh: measures the service, and what it could at best be, on this machine.
#
#   tests/bench/run.sh                 everything (about three quarters of an hour)
#   tests/bench/run.sh --quick         everything, once and briefly: says whether it works, not how fast
#   tests/bench/run.sh executions http only these; --list says which there are
#
# Builds the release preset, starts private servers (with fsync), measures, prints a table, writes build-release/bench.json
# and stops what it started. NOTES.md says what each row means.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
export PM_RABBITMQ_USER=guest PM_RABBITMQ_PASSWORD=guest
for part in packages process postgres rabbitmq build; do
    # shellcheck disable=SC1090
    . "$root/deploy/lib/$part.sh"
done

case "${1:-}" in
--list) exec /usr/bin/python3 "$root/tests/bench/bench.py" --list ;;
-h | --help) exec sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
esac

pm_packages_need "${PM_PACKAGES_RUN[@]}" libcriterion-dev wrk nghttp2-client
pm_say "Building the release preset …"
programs=(position-manager pm_publish bench_consumer bench_visible bench_http bench_commit)
build=${PM_BENCH_BUILD:-$root/build-release}
mkdir -p "$build"
# Only the programs are built, not the tests. profile.sh wants frame pointers, and a directory of its own for that.
build_all() {
    if [ -n "${PM_BENCH_BUILD:-}" ]; then
        cmake --preset release -B "$build" -DPM_TESTS=ON -DCMAKE_C_FLAGS="${PM_BENCH_CFLAGS:-}" &&
            cmake --build "$build" --target "${programs[@]}"
    else
        pm_build "$root" release ON "${programs[@]}"
    fi
}
(cd "$root" && build_all) >"$build/bench-build.log" 2>&1 || {
    tail -n 40 "$build/bench-build.log" >&2
    pm_die "The build failed; all of it is in $build/bench-build.log"
}

dir=$(mktemp -d /tmp/pm-bench.XXXXXX)
# The owner of the database cluster must be able to enter.
chmod 755 "$dir"
finish() {
    pm_rabbitmq_stop "$dir" || true
    pm_postgres_stop "$dir" || true
    pm_rabbitmq_purge "$dir"
    pm_postgres_purge "$dir"
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

pm_say "Starting PostgreSQL and RabbitMQ in $dir …"
pm_postgres_start "$dir" on
pm_rabbitmq_start "$dir"
BENCH_DIR=$dir BENCH_BUILD=$build BENCH_REVISION=$(pm_build_revision "$root") \
    BENCH_PG_PORT=$(pm_postgres_port "$dir") BENCH_PG_PASSWORD=$(pm_postgres_password "$dir") \
    BENCH_PG_USER=$PM_POSTGRES_USER BENCH_AMQP_PORT=$(pm_rabbitmq_port "$dir") \
    BENCH_PG_PID=$(head -n 1 "$(readlink -f "$dir/postgres")/data/postmaster.pid") \
    BENCH_AMQP_PID=$(cat "$dir/rabbitmq/pid") \
    /usr/bin/python3 "$root/tests/bench/bench.py" "$@"
