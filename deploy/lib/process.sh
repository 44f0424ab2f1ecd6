# shellcheck shell=bash
# process.sh: ports, process ids and waiting, for the scripts that start private servers. To be sourced.
#
# Everything is stopped by the process id that was noted when it was started, and only while that process is still the one
# that was started: after a reboot the number may be somebody else's.

# pm_port_is_open <port>: whether something listens on that port of the loopback address.
pm_port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# pm_port_from <first>: prints the first port from there on where nobody listens.
pm_port_from() {
    local port=$1
    while pm_port_is_open "$port"; do port=$((port + 1)); done
    printf '%s\n' "$port"
}

# pm_port_free: prints a free port below those that the kernel gives to clients, chosen at random so that several runs
# at once do not meet.
pm_port_free() {
    local port
    while :; do
        port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
        pm_port_is_open "$port" || break
    done
    printf '%s\n' "$port"
}

# pm_pid_is <pid> [<word>]: whether that process lives and its command line has the word in it.
pm_pid_is() {
    [ -n "$1" ] || return 1
    kill -0 "$1" 2>/dev/null || [ -d "/proc/$1" ] || return 1
    # A zombie has ended: only its parent has not looked yet.
    if [ -r "/proc/$1/stat" ] && grep -q ') Z ' "/proc/$1/stat" 2>/dev/null; then return 1; fi
    [ $# -lt 2 ] || [ ! -r "/proc/$1/cmdline" ] || grep -qaF -- "$2" "/proc/$1/cmdline" 2>/dev/null
}

pm_pid_is_gone() { ! pm_pid_is "$@"; }

# pm_process_is <pid file> [<word>]: the same for a process noted in a file.
pm_process_is() {
    local file=$1
    shift
    pm_pid_is "$(head -n 1 "$file" 2>/dev/null)" "$@"
}

# pm_wait <seconds> <command…>: tries the command every fifth of a second until it succeeds; fails after that long.
pm_wait() {
    local tries=$(($1 * 5))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.2
    done
}

# pm_process_stop <pid file> <word> <seconds>: SIGTERM, and SIGKILL if it is still there after that long.
pm_process_stop() {
    local pid
    # Read once: some servers empty their file before they have ended.
    pid=$(head -n 1 "$1" 2>/dev/null) || true
    if pm_pid_is "$pid" "$2"; then
        kill -TERM "$pid" 2>/dev/null
        if ! pm_wait "$3" pm_pid_is_gone "$pid" "$2"; then
            pm_say "process $pid ($2) did not stop within $3 s and is killed"
            kill -KILL "$pid" 2>/dev/null
            pm_wait 5 pm_pid_is_gone "$pid" "$2" || return 1
        fi
    fi
    rm -f "$1"
}

# pm_secret: prints 48 random hexadecimal digits.
pm_secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
