# shellcheck shell=bash
# A private, throwaway RabbitMQ for tests. To be sourced:
#
#   rabbitmq_prepare            makes directories, a cookie and a configuration below a new temporary directory, picks free ports
#   rabbitmq_start              starts epmd and the broker, and waits until it takes connections
#   rabbitmq_stop               ends the broker in good order (its data stays: rabbitmq_start goes on with them)
#   rabbitmq_kill               ends it with SIGKILL
#   rabbitmq_cleanup            stops whatever runs and removes everything
#
# Nothing is shared with another broker: own node name, AMQP port, distribution port, epmd on an own port, own data, own
# cookie, no plugins, loopback only. Works as root and as any user; needs no su. Processes are ended by their ids.
#
# Exported for whoever uses it: PM_TEST_AMQP_PORT (user guest, password guest, vhost /); PM_TEST_RABBITMQCTL (a program that
# runs rabbitmqctl on just this node); PM_TEST_RABBITMQ_PID (the broker's process, to be stopped and continued, or killed); and, for
# calling rabbitmqctl oneself, RABBITMQ_NODENAME, ERL_EPMD_PORT and PM_TEST_RABBITMQ_HOME (to be its HOME: the cookie is there).

rabbitmq_sbin=$(dirname "$(readlink -f "${RABBITMQ_SERVER_PROGRAM:-/usr/lib/rabbitmq/bin/rabbitmq-server}")")

rabbitmq_port_is_free() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

rabbitmq_pick_port() {
    local port
    while :; do
        port=$((RANDOM % 10000 + 21000))
        if rabbitmq_port_is_free "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
}

rabbitmq_write_config() {
    cat >"$rabbitmq_dir/rabbitmq.conf" <<CONFIG
listeners.tcp.1 = 127.0.0.1:$PM_TEST_AMQP_PORT
loopback_users.guest = true
log.file.level = info
log.console = false
disk_free_limit.absolute = 20MB
CONFIG
    : >"$rabbitmq_dir/enabled_plugins"
    printf 'PM%s' "$RANDOM$RANDOM$RANDOM$RANDOM" >"$rabbitmq_dir/home/.erlang.cookie"
    chmod 400 "$rabbitmq_dir/home/.erlang.cookie"
}

# One file with the environment, so that the broker and rabbitmqctl cannot differ.
rabbitmq_write_environment() {
    cat >"$rabbitmq_dir/environment" <<ENVIRONMENT
unset NOTIFY_SOCKET
export HOME=$rabbitmq_dir/home
export LC_ALL=C.UTF-8
export RABBITMQ_NODENAME=$RABBITMQ_NODENAME
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
export RABBITMQ_NODE_PORT=$PM_TEST_AMQP_PORT
export RABBITMQ_DIST_PORT=$rabbitmq_dist_port
export RABBITMQ_MNESIA_BASE=$rabbitmq_dir/mnesia
export RABBITMQ_LOG_BASE=$rabbitmq_dir/log
export RABBITMQ_CONFIG_FILE=$rabbitmq_dir/rabbitmq.conf
export RABBITMQ_CONF_ENV_FILE=$rabbitmq_dir/rabbitmq-env.conf
export RABBITMQ_ENABLED_PLUGINS_FILE=$rabbitmq_dir/enabled_plugins
export RABBITMQ_PID_FILE=$rabbitmq_dir/pid
export RABBITMQ_GENERATED_CONFIG_DIR=$rabbitmq_dir/generated
export RABBITMQ_ADVANCED_CONFIG_FILE=$rabbitmq_dir/advanced.config
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
export RUNNING_UNDER_SYSTEMD=true
export ERL_EPMD_PORT=$ERL_EPMD_PORT
export ERL_EPMD_ADDRESS=127.0.0.1
export ERL_CRASH_DUMP_SECONDS=0
ENVIRONMENT
    : >"$rabbitmq_dir/rabbitmq-env.conf"
    cat >"$PM_TEST_RABBITMQCTL" <<PROGRAM
#!/bin/bash
. "$rabbitmq_dir/environment"
exec "$rabbitmq_sbin/rabbitmqctl" "\$@"
PROGRAM
    chmod 755 "$PM_TEST_RABBITMQCTL"
}

rabbitmq_prepare() {
    rabbitmq_dir=$(mktemp -d "${TMPDIR:-/tmp}/pm-rabbitmq.XXXXXX")
    mkdir "$rabbitmq_dir/home" "$rabbitmq_dir/mnesia" "$rabbitmq_dir/log" "$rabbitmq_dir/generated"
    rabbitmq_pid=
    rabbitmq_epmd_pid=
    PM_TEST_AMQP_PORT=$(rabbitmq_pick_port)
    rabbitmq_dist_port=$(rabbitmq_pick_port)
    ERL_EPMD_PORT=$(rabbitmq_pick_port)
    RABBITMQ_NODENAME=pm-test-$$-$RANDOM@localhost
    PM_TEST_RABBITMQCTL=$rabbitmq_dir/rabbitmqctl
    PM_TEST_RABBITMQ_HOME=$rabbitmq_dir/home
    export PM_TEST_AMQP_PORT PM_TEST_RABBITMQCTL PM_TEST_RABBITMQ_HOME RABBITMQ_NODENAME ERL_EPMD_PORT
    rabbitmq_write_config
    rabbitmq_write_environment
}

# Waits until the process is gone, at most $2 tenths of a second.
rabbitmq_wait_gone() {
    local tenths
    for ((tenths = 0; tenths < $2; tenths++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

rabbitmq_start_epmd() {
    [ -n "$rabbitmq_epmd_pid" ] && return
    # In the foreground, so that its id is known; the broker finds it there and starts none.
    epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null >/dev/null 2>&1 &
    rabbitmq_epmd_pid=$!
}

rabbitmq_start() {
    local tenths
    rabbitmq_start_epmd
    (
        # shellcheck source=/dev/null
        . "$rabbitmq_dir/environment"
        exec "$rabbitmq_sbin/rabbitmq-server"
    ) </dev/null >>"$rabbitmq_dir/log/console" 2>&1 &
    rabbitmq_pid=$!
    export PM_TEST_RABBITMQ_PID=$rabbitmq_pid
    for ((tenths = 0; tenths < 900; tenths++)); do
        if ! kill -0 "$rabbitmq_pid" 2>/dev/null; then
            break
        fi
        if ! rabbitmq_port_is_free "$PM_TEST_AMQP_PORT"; then
            return 0
        fi
        sleep 0.1
    done
    echo "rabbitmq.sh: the broker did not start; its last words:" >&2
    tail -n 20 "$rabbitmq_dir/log/console" >&2
    return 1
}

rabbitmq_stop() {
    [ -n "$rabbitmq_pid" ] || return 0
    kill -CONT "$rabbitmq_pid" 2>/dev/null
    kill -TERM "$rabbitmq_pid" 2>/dev/null
    rabbitmq_wait_gone "$rabbitmq_pid" 150 || kill -KILL "$rabbitmq_pid" 2>/dev/null
    wait "$rabbitmq_pid" 2>/dev/null
    rabbitmq_pid=
    return 0
}

rabbitmq_kill() {
    [ -n "$rabbitmq_pid" ] || return 0
    kill -KILL "$rabbitmq_pid" 2>/dev/null
    wait "$rabbitmq_pid" 2>/dev/null
    rabbitmq_pid=
    return 0
}

rabbitmq_cleanup() {
    [ -n "${rabbitmq_dir:-}" ] || return 0
    rabbitmq_stop
    if [ -n "$rabbitmq_epmd_pid" ]; then
        kill -TERM "$rabbitmq_epmd_pid" 2>/dev/null
        wait "$rabbitmq_epmd_pid" 2>/dev/null
        rabbitmq_epmd_pid=
    fi
    rm -rf "$rabbitmq_dir"
    rabbitmq_dir=
    return 0
}
