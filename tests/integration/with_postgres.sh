#!/usr/bin/env bash
# Runs a command with a private, throwaway PostgreSQL:  tests/integration/with_postgres.sh <command> [<argument>…]
#
# The command finds the server by PM_TEST_PG_HOST (a socket directory), PM_TEST_PG_PORT, PM_TEST_PG_USER and PM_TEST_PG_DB.
# The cluster lives in a temporary directory and is stopped and removed when the command has ended, whatever became of it.
set -euo pipefail

bin=${PM_POSTGRES_BIN:-$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1)}
directory=$(mktemp -d "${TMPDIR:-/tmp}/pm-postgres.XXXXXX")
# The server refuses to run as root, so then it runs as its own user.
as_owner=()
if [[ $EUID -eq 0 ]]; then
    chown postgres "$directory"
    as_owner=(runuser -u postgres --)
fi

# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    "${as_owner[@]}" "$bin/pg_ctl" -D "$directory/data" -m immediate -s stop >/dev/null 2>&1 || true
    rm -rf "$directory"
}
trap cleanup EXIT

cd "$directory"
"${as_owner[@]}" "$bin/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$directory/initdb.log"
"${as_owner[@]}" "$bin/pg_ctl" -D "$directory/data" -s -w -l "$directory/server.log" \
    -o "-k $directory -c listen_addresses='' -c fsync=off -c max_connections=50" start
cd - >/dev/null

export PM_TEST_PG_HOST=$directory PM_TEST_PG_PORT=5432 PM_TEST_PG_USER=postgres PM_TEST_PG_DB=postgres
chmod 755 "$directory"
status=0
"$@" || status=$?
exit "$status"
