# shellcheck shell=bash
# postgres.sh: a private PostgreSQL cluster in <dir>/postgres. To be sourced after packages.sh and process.sh.
#
# It listens on a loopback port (password in <dir>/postgres/password) and on a Unix socket that only its owner and root
# can reach. PostgreSQL does not run as root: started by root, the cluster belongs to the user postgres, and where that
# user cannot reach <dir>, <dir>/postgres is a link to a directory below /var/tmp. PM_POSTGRES_BIN is where another version's
# programs are; without it the newest that is installed is taken.

PM_POSTGRES_USER=position_manager

pm_postgres_bin() {
    local initdb
    if [ -n "${PM_POSTGRES_BIN:-}" ]; then
        printf '%s\n' "$PM_POSTGRES_BIN"
        return
    fi
    initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)
    dirname "$initdb"
}

# Runs a command as the owner of the cluster.
pm_postgres_as_owner() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && HOME=/ setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
    else
        "$@"
    fi
}

pm_postgres_port() { cat "$1/postgres/port"; }
pm_postgres_password() { cat "$1/postgres/password"; }
pm_postgres_socket() { cat "$1/postgres/socket"; }

pm_postgres_is_running() {
    pm_process_is "$1/postgres/data/postmaster.pid" "$(readlink -f "$1/postgres")/data"
}

# Makes <dir>/postgres, reachable for the owner of the cluster.
pm_postgres_make_home() {
    local dir=$1 home
    [ ! -e "$dir/postgres" ] || return 0
    mkdir -p "$dir"
    if [ "$(id -u)" != 0 ]; then
        (umask 077 && mkdir "$dir/postgres")
    elif pm_postgres_as_owner test -x "$dir"; then
        install -d -m 700 -o postgres -g postgres "$dir/postgres"
    else
        home=$(mktemp -d /var/tmp/position-manager-postgres.XXXXXX)
        chown postgres:postgres "$home"
        ln -s "$home" "$dir/postgres"
    fi
}

pm_postgres_make_cluster() {
    local dir=$1 home bin
    home=$(readlink -f "$dir/postgres")
    bin=$(pm_postgres_bin)
    [ ! -f "$home/data/PG_VERSION" ] || return 0
    (umask 077 && pm_secret >"$home/password")
    # A socket's path may have 107 characters.
    if [ "${#home}" -lt 80 ]; then echo "$home/socket" >"$home/socket_path"; else
        mktemp -d -u /tmp/pm-socket.XXXXXX >"$home/socket_path"
    fi
    mv "$home/socket_path" "$home/socket"
    if [ "$(id -u)" = 0 ]; then chown postgres:postgres "$home/password" "$home/socket"; fi
    sed -i 's#/socket$#/s#' "$home/socket"
    pm_postgres_as_owner "$bin/initdb" -D "$home/data" -U "$PM_POSTGRES_USER" --pwfile="$home/password" -E UTF8 \
        --locale=C --auth-local=trust --auth-host=scram-sha-256 >"$home/initdb.log" 2>&1 || {
        cat "$home/initdb.log" >&2
        return 1
    }
}

# pm_postgres_start <dir> [fsync on|off]: starts the cluster, making it first if need be, and waits until it answers.
pm_postgres_start() {
    local dir=$1 fsync=${2:-on} home bin port options
    pm_postgres_make_home "$dir" && pm_postgres_make_cluster "$dir" || return 1
    ! pm_postgres_is_running "$dir" || return 0
    home=$(readlink -f "$dir/postgres")
    bin=$(pm_postgres_bin)
    port=$(cat "$home/port" 2>/dev/null || pm_port_free)
    if pm_port_is_open "$port"; then port=$(pm_port_free); fi
    echo "$port" >"$home/port"
    pm_postgres_as_owner mkdir -p -m 700 "$(cat "$home/socket")"
    # A pid file that a crash or a reboot left names a process that is not ours (asked above).
    rm -f "$home/data/postmaster.pid"
    options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$(cat "$home/socket")' -c fsync=$fsync"
    options+=" -c full_page_writes=$fsync -c log_min_messages=warning -c max_connections=100 -c shared_buffers=64MB"
    pm_postgres_as_owner "$bin/pg_ctl" -D "$home/data" -l "$home/postgres.log" -w -t 120 -o "$options" start \
        >"$home/start.log" 2>&1 || {
        tail -n 20 "$home/start.log" "$home/postgres.log" >&2
        return 1
    }
}

# pm_postgres_stop <dir>: a fast shutdown of that cluster; data stays.
pm_postgres_stop() {
    pm_postgres_is_running "$1" || return 0
    pm_postgres_as_owner "$(pm_postgres_bin)/pg_ctl" -D "$(readlink -f "$1/postgres")/data" -m fast -w -t 60 stop \
        >/dev/null
}

# pm_postgres_psql <dir> <psql arguments…>: psql as the cluster's superuser, by its socket.
pm_postgres_psql() {
    local dir=$1
    shift
    "$(pm_postgres_bin)/psql" -X -q -v ON_ERROR_STOP=1 -h "$(pm_postgres_socket "$dir")" -p "$(pm_postgres_port "$dir")" \
        -U "$PM_POSTGRES_USER" "$@"
}

# pm_postgres_purge <dir>: removes the stopped cluster with all its data.
pm_postgres_purge() {
    local home socket
    [ -e "$1/postgres" ] || return 0
    home=$(readlink -f "$1/postgres")
    socket=$(cat "$home/socket" 2>/dev/null || true)
    case "$socket" in /tmp/pm-socket.*) rm -rf "$socket" ;; esac
    rm -rf "$home" "$1/postgres"
}
