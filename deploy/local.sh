#!/bin/bash
# local.sh: the whole thing on this machine, for trying out and for development.
#
#   deploy/local.sh [up]            installs what is missing, builds, starts PostgreSQL, RabbitMQ and the service
#   deploy/local.sh status          what runs, and what the service says of itself
#   deploy/local.sh logs            follows the service's log
#   deploy/local.sh demo            publishes lively market data and executions until Ctrl-C
#   deploy/local.sh down [--purge]  stops all three; --purge also removes their data
#
# Everything is below .run/: data, logs, process ids, and .run/env with the settings and secrets in use (readable by its
# owner only). Nothing else on the machine is touched but for the packages. Settings in the caller's environment
# (POSITION_MANAGER_LOG_LEVEL=DEBUG deploy/local.sh) reach the service when it is started.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
run=$root/.run
cd "$root"
# shellcheck source=deploy/lib/packages.sh
. deploy/lib/packages.sh
# shellcheck source=deploy/lib/process.sh
. deploy/lib/process.sh
# shellcheck source=deploy/lib/postgres.sh
. deploy/lib/postgres.sh
# shellcheck source=deploy/lib/rabbitmq.sh
. deploy/lib/rabbitmq.sh
# shellcheck source=deploy/lib/build.sh
. deploy/lib/build.sh

binary=$root/build/position-manager

# Prints one value of .run/env.
setting() { if [ -r "$run/env" ]; then sed -n "s/^$1=//p" "$run/env"; fi; }

service_is_running() { pm_process_is "$run/service.pid" position-manager; }

service_is_healthy() { curl -fsS -o /dev/null -m 2 "$(service_url)/health" 2>/dev/null; }

service_url() { echo "http://127.0.0.1:$(setting POSITION_MANAGER_PORT)"; }

write_env() {
    local key port
    key=$(setting POSITION_MANAGER_API_KEY)
    port=$(setting POSITION_MANAGER_PORT)
    if [ -z "$port" ] || pm_port_is_open "$port"; then port=$(pm_port_from 4800); fi
    (
        umask 077
        cat >"$run/env.new" <<END
POSITION_MANAGER_API_KEY=${key:-$(pm_secret)}
POSITION_MANAGER_HOST=127.0.0.1
POSITION_MANAGER_PORT=$port
POSTGRES_HOST=127.0.0.1
POSTGRES_PORT=$(pm_postgres_port "$run")
POSTGRES_DB=position_manager
POSTGRES_USER=$PM_POSTGRES_USER
POSTGRES_PASSWORD=$(pm_postgres_password "$run")
RABBITMQ_HOST=127.0.0.1
RABBITMQ_PORT=$(pm_rabbitmq_port "$run")
RABBITMQ_USER=$PM_RABBITMQ_USER
RABBITMQ_PASSWORD=$(pm_rabbitmq_password "$run")
RABBITMQ_VHOST=/
END
    )
    mv "$run/env.new" "$run/env"
}

start_servers() {
    pm_say "Starting PostgreSQL and RabbitMQ in .run/ …"
    pm_postgres_start "$run" || pm_die "PostgreSQL did not start; see .run/postgres/postgres.log"
    pm_rabbitmq_start "$run" || pm_die "RabbitMQ did not start; see .run/rabbitmq/rabbitmq.log"
    if [ -z "$(pm_postgres_psql "$run" -d postgres -Atc \
        "select 1 from pg_database where datname = 'position_manager'")" ]; then
        pm_postgres_psql "$run" -d postgres -c 'create database position_manager'
    fi
}

start_service() {
    write_env
    (
        set -a
        # shellcheck disable=SC1091
        . "$run/env"
        set +a
        setsid "$binary" </dev/null >>"$run/service.log" 2>&1 &
        echo $! >"$run/service.pid"
    )
}

wait_for_health() {
    local tries=150
    until service_is_healthy; do
        tries=$((tries - 1))
        # By its id alone: just after the fork it still bears the name of this script.
        if [ "$tries" = 0 ] || ! pm_process_is "$run/service.pid"; then
            pm_say "The service did not become healthy; the end of .run/service.log:"
            tail -n 20 "$run/service.log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

say_what_next() {
    local url
    url=$(service_url)
    cat <<END

The service answers on $url (log: deploy/local.sh logs, stop: deploy/local.sh down). To try next:

  . .run/env
  deploy/publish.sh fill BTCUSDT Buy 0.5 50000                # an execution, through RabbitMQ
  deploy/publish.sh market BTCUSDT Buy 0.5 50000 51000        # market data: size, average price, mark price
  curl -H "X-API-Key: \$POSITION_MANAGER_API_KEY" $url/api/v1/positions/BTCUSDT
  curl --http2-prior-knowledge -H "X-API-Key: \$POSITION_MANAGER_API_KEY" $url/api/v1/portfolio
  curl $url/health
  deploy/local.sh demo                                        # many of both, until Ctrl-C
END
}

up() {
    pm_packages_need "${PM_PACKAGES_RUN[@]}"
    pm_say "Building …"
    mkdir -p "$run"
    pm_build "$root" default OFF position-manager >"$run/build.log" 2>&1 || {
        tail -n 40 "$run/build.log" >&2
        pm_die "The build failed; all of it is in .run/build.log"
    }
    start_servers
    if service_is_running && [ "$binary" -nt "$run/service.pid" ]; then
        pm_say "The build is newer than the running service: restarting it."
        stop_service
    fi
    if service_is_running; then
        pm_say "The service is already up."
    else
        start_service
    fi
    wait_for_health
    say_what_next
}

stop_service() { pm_process_stop "$run/service.pid" position-manager 15; }

down() {
    if [ -d "$run" ]; then
        stop_service
        pm_rabbitmq_stop "$run"
        pm_postgres_stop "$run"
    fi
    if [ "${1:-}" = --purge ]; then
        pm_rabbitmq_purge "$run"
        pm_postgres_purge "$run"
        rm -rf "$run"
        pm_say "Stopped; data removed."
    else
        pm_say "Stopped; data kept in .run/ (down --purge removes it)."
    fi
}

say_state() { if "${@:2}" 2>/dev/null; then echo "$1: running"; else echo "$1: stopped"; fi; }

status() {
    say_state "service   " service_is_running
    say_state "PostgreSQL" pm_postgres_is_running "$run"
    say_state "RabbitMQ  " pm_rabbitmq_is_running "$run"
    service_is_running || return 1
    curl -sS -m 5 "$(service_url)/health" && echo
}

case "${1:-up}" in
up) up ;;
down) down "${2:-}" ;;
status) status ;;
logs) exec tail -n "${2:-50}" -F "$run/service.log" ;;
demo) exec deploy/publish.sh demo ;;
-h | --help | help) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
*) pm_die "usage: deploy/local.sh [up|status|logs|demo|down [--purge]]" ;;
esac
