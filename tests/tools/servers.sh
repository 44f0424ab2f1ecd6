#!/bin/bash
# servers.sh: the private PostgreSQL and RabbitMQ that tests run against.
#
#   tests/tools/servers.sh start <dir>            starts both there and prints where they are, as NAME=value lines
#   tests/tools/servers.sh stop <dir>             stops both and removes what they left
#   tests/tools/servers.sh ctl <dir> <arguments>  rabbitmqctl of that node; plugins: its rabbitmq-plugins
#
# Nothing of a test has to survive a power cut, so PostgreSQL runs without fsync here, unless PM_TEST_FSYNC is on.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
export PM_RABBITMQ_USER=guest PM_RABBITMQ_PASSWORD=guest
for part in packages process postgres rabbitmq; do
    # shellcheck disable=SC1090
    . "$root/deploy/lib/$part.sh"
done

# Somebody else may take a port between the look at it and the listening, and a busy machine may be too slow once.
twice() {
    "$@" || {
        pm_say "once more: $*"
        "$@"
    }
}

start() {
    mkdir -p "$1"
    # The owner of the database cluster must be able to enter.
    chmod 755 "$1"
    twice pm_rabbitmq_start "$1" &
    local broker=$!
    twice pm_postgres_start "$1" "${PM_TEST_FSYNC:-off}"
    wait "$broker"
    printf '#!/bin/bash\nexec "%s/tests/tools/servers.sh" ctl "%s" "$@"\n' "$root" "$1" >"$1/rabbitmqctl"
    chmod 755 "$1/rabbitmqctl"
    cat <<END
PM_TEST_SERVERS=$1
PM_TEST_PG_HOST=127.0.0.1
PM_TEST_PG_PORT=$(pm_postgres_port "$1")
PM_TEST_PG_USER=$PM_POSTGRES_USER
PM_TEST_PG_PASSWORD=$(pm_postgres_password "$1")
PM_TEST_PG_DB=postgres
PM_TEST_AMQP_HOST=127.0.0.1
PM_TEST_AMQP_PORT=$(pm_rabbitmq_port "$1")
PM_TEST_AMQP_USER=guest
PM_TEST_AMQP_PASSWORD=guest
PM_TEST_RABBITMQ_PID=$(cat "$1/rabbitmq/pid")
PM_TEST_RABBITMQCTL=$1/rabbitmqctl
END
}

stop() {
    pm_rabbitmq_stop "$1"
    pm_postgres_stop "$1"
    pm_rabbitmq_purge "$1"
    pm_postgres_purge "$1"
    rm -f "$1/rabbitmqctl"
}

case "${1:-}" in
start) start "$2" ;;
stop) stop "$2" ;;
ctl) pm_rabbitmq_ctl "${@:2}" ;;
plugins) pm_rabbitmq_run "$2" rabbitmq-plugins "${@:3}" ;;
*) pm_die "usage: servers.sh start|stop|ctl|plugins <dir>" ;;
esac
