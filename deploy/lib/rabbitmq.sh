# shellcheck shell=bash
# rabbitmq.sh: a private RabbitMQ node in <dir>/rabbitmq. To be sourced after packages.sh and process.sh.
#
# Everything it has is its own: node name, cookie, name server (epmd), ports, data, logs, configuration. It listens on
# the loopback address only. Its one user is $PM_RABBITMQ_USER with $PM_RABBITMQ_PASSWORD, by default a random one that is
# kept in <dir>/rabbitmq/password. Nodes carry an address for a name, so that no name needs to be resolved. PM_RABBITMQ_BIN
# is where another version's programs are, PM_RABBITMQ_ERL_ARGS are further arguments of its runtime.

PM_RABBITMQ_USER=${PM_RABBITMQ_USER:-position_manager}
PM_RABBITMQ_BIN=${PM_RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}

pm_rabbitmq_port() { cat "$1/rabbitmq/port"; }
pm_rabbitmq_password() { cat "$1/rabbitmq/password"; }

# Exports the node's environment; to be called in a subshell.
pm_rabbitmq_environment() {
    local home
    home=$(readlink -f "$1/rabbitmq")
    local loopback='-kernel inet_dist_use_interface {127,0,0,1}'
    unset RABBITMQ_CONFIG_FILES RABBITMQ_ADVANCED_CONFIG_FILE RABBITMQ_LOGS NOTIFY_SOCKET
    export HOME=$home ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT RABBITMQ_NODE_PORT RABBITMQ_DIST_PORT RABBITMQ_NODENAME
    ERL_EPMD_PORT=$(cat "$home/epmd_port")
    RABBITMQ_NODE_PORT=$(cat "$home/port")
    RABBITMQ_DIST_PORT=$(cat "$home/dist_port")
    RABBITMQ_NODENAME="pm-$(cat "$home/name")@127.0.0.1"
    export RABBITMQ_USE_LONGNAME=true RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
    export RABBITMQ_MNESIA_BASE=$home/data RABBITMQ_LOG_BASE=$home/log RABBITMQ_PID_FILE=$home/pid
    export RABBITMQ_CONFIG_FILE=$home/rabbitmq RABBITMQ_CONF_ENV_FILE=$home/rabbitmq-env.conf
    export RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins RABBITMQ_GENERATED_CONFIG_DIR=$home/config
    # No spinning while idle: the processors are shared with the service.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback +sbwt none +sbwtdcpu none +sbwtdio none ${PM_RABBITMQ_ERL_ARGS:-}"
    export RABBITMQ_CTL_ERL_ARGS="$loopback" LC_ALL=C.UTF-8 LANG=C.UTF-8
}

pm_rabbitmq_make_home() {
    local home=$1/rabbitmq
    [ ! -f "$home/rabbitmq.conf" ] || return 0
    (
        umask 077
        mkdir -p "$home/data" "$home/log" "$home/config"
        printf '%s' "${PM_RABBITMQ_PASSWORD:-$(pm_secret)}" >"$home/password"
        pm_secret >"$home/.erlang.cookie"
        chmod 400 "$home/.erlang.cookie"
        pm_secret | cut -c 1-12 >"$home/name"
        : >"$home/rabbitmq-env.conf"
        echo '[].' >"$home/enabled_plugins"
        printf '%s\n' "default_user = $PM_RABBITMQ_USER" "default_pass = $(cat "$home/password")" \
            'disk_free_limit.absolute = 200MB' 'vm_memory_high_watermark.relative = 0.4' >"$home/rabbitmq.conf"
    )
}

pm_rabbitmq_choose_ports() {
    local home=$1/rabbitmq name port
    for name in port dist_port epmd_port; do
        port=$(cat "$home/$name" 2>/dev/null || pm_port_free)
        if pm_port_is_open "$port"; then port=$(pm_port_free); fi
        echo "$port" >"$home/$name"
    done
}

# The pid file is the node's own; before it is written there is none.
pm_rabbitmq_is_running() { pm_process_is "$1/rabbitmq/pid" "$(readlink -f "$1/rabbitmq")"; }

pm_rabbitmq_is_listening() { pm_port_is_open "$(pm_rabbitmq_port "$1")"; }

# Listening, or gone before it ever listened.
pm_rabbitmq_has_decided() {
    # By its id alone: just after the fork it still bears the name of this script.
    pm_rabbitmq_is_listening "$1" || ! pm_process_is "$1/rabbitmq/starter.pid"
}

# pm_rabbitmq_start <dir>: starts the node and waits until it takes connections.
pm_rabbitmq_start() {
    local dir=$1 home=$1/rabbitmq
    pm_rabbitmq_make_home "$dir" || return 1
    if pm_rabbitmq_is_running "$dir" && pm_rabbitmq_is_listening "$dir"; then return 0; fi
    pm_rabbitmq_stop "$dir"
    pm_rabbitmq_choose_ports "$dir"
    rm -f "$home/pid"
    (
        pm_rabbitmq_environment "$dir"
        cd "$home" || exit 1
        setsid epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null >"$HOME/epmd.log" 2>&1 &
        echo $! >"$HOME/epmd.pid"
        # Not by the wrapper in /usr/sbin, which becomes the user rabbitmq and writes to /var.
        setsid "$PM_RABBITMQ_BIN/rabbitmq-server" </dev/null >"$HOME/rabbitmq.log" 2>&1 &
        echo $! >"$HOME/starter.pid"
    )
    if ! pm_wait 180 pm_rabbitmq_has_decided "$dir" || ! pm_rabbitmq_is_listening "$dir"; then
        pm_say "RabbitMQ did not start; the end of its log:"
        tail -n 20 "$home/rabbitmq.log" >&2
        return 1
    fi
}

# pm_rabbitmq_stop <dir>: stops the node and its name server; data stays.
pm_rabbitmq_stop() {
    [ -d "$1/rabbitmq" ] || return 0
    pm_process_stop "$1/rabbitmq/pid" "$(readlink -f "$1/rabbitmq")" 60
    pm_process_stop "$1/rabbitmq/epmd.pid" "epmd" 5
}

# pm_rabbitmq_run <dir> <program> <arguments…>: one of the node's tools.
pm_rabbitmq_run() {
    local dir=$1 program=$2
    shift 2
    (pm_rabbitmq_environment "$dir" && cd "$HOME" && "$PM_RABBITMQ_BIN/$program" --longnames --quiet "$@")
}

# pm_rabbitmq_ctl <dir> <rabbitmqctl arguments…>
pm_rabbitmq_ctl() { pm_rabbitmq_run "$1" rabbitmqctl "${@:2}"; }

# pm_rabbitmq_purge <dir>: removes the stopped node with all its data.
pm_rabbitmq_purge() { rm -rf "$1/rabbitmq"; }
