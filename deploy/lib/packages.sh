# shellcheck shell=bash
# packages.sh: installs the Debian and Ubuntu packages that are missing, and nothing else. To be sourced.
#
# Installing a server package normally also starts a server, and does so again at the next boot. None of that is wanted
# here (the project starts private servers of its own), so for the time of the installation starts are forbidden, and the
# units of packages that this installation brought are switched off. What was there before is not touched.

# shellcheck disable=SC2034 # used by whoever sources this
PM_PACKAGES_RUN=(gcc libc6-dev cmake ninja-build pkg-config libpq-dev librabbitmq-dev libjson-c-dev libh2o-evloop-dev
    libck-dev libcurl4-openssl-dev libssl-dev libxxhash-dev libsystemd-dev postgresql rabbitmq-server openssl curl python3-pika)
# shellcheck disable=SC2034
PM_PACKAGES_TEST=(libcriterion-dev python3-psycopg2 python3-pytest python3-pytest-xdist python3-httpx python3-h2 clang libclang-rt-dev
    clang-format shellcheck prometheus nghttp2-client docker-compose python3-yaml dpkg-dev file
    systemd man-db)
# shellcheck disable=SC2034
PM_PACKAGES_COMPOSE=(docker.io docker-compose debootstrap)
# shellcheck disable=SC2034
PM_PACKAGES_PACKAGE=(debootstrap systemd-container lintian)

# pm_say <words…>: one line for the person who waits, on standard error.
pm_say() { printf '%s\n' "$*" >&2; }

# pm_die <words…>: says why and ends the script.
pm_die() {
    pm_say "$*"
    exit 1
}

# pm_as_root <command…>: runs it as root, by sudo where we are somebody else.
pm_as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        pm_die "Installing packages needs root or sudo."
    fi
}

pm_package_is_installed() {
    # Any version of the server will do, whatever its package is called.
    if [ "$1" = postgresql ]; then
        compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
        return
    fi
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# pm_packages_missing <package…>: prints those that are not installed.
pm_packages_missing() {
    local package
    for package in "$@"; do
        pm_package_is_installed "$package" || printf '%s\n' "$package"
    done
}

# Runs as root in a shell of its own: installs the packages named, without a server being started or made.
pm_packages_install_script() {
    cat <<'SCRIPT'
set -eu
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d
made=()
dirs=()
restore() {
    for file in "${made[@]}"; do rm -f "$file"; done
    for dir in "${dirs[@]}"; do rmdir "$dir" 2>/dev/null || true; done
}
trap restore EXIT
if [ ! -e "$policy" ]; then
    made+=("$policy")
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
for dir in /etc/postgresql-common "$clusters"; do
    if [ ! -d "$dir" ]; then
        dirs=("$dir" "${dirs[@]}")
        mkdir "$dir"
    fi
done
made+=("$clusters/zz-position-manager.conf")
echo 'create_main_cluster = false' >"$clusters/zz-position-manager.conf"
export DEBIAN_FRONTEND=noninteractive
# Somebody else's update may be under way, or a mirror out of breath.
persistently() {
    for pause in 3 10 20; do
        if "$@"; then return 0; fi
        sleep "$pause"
    done
    "$@"
}
persistently apt-get -q -o Acquire::Retries=3 update
persistently apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
if command -v systemctl >/dev/null; then
    for package in "$@"; do
        case "$package" in
        postgresql | rabbitmq-server | prometheus)
            systemctl --quiet disable "$package.service" 2>/dev/null || true ;;
        docker.io) systemctl --quiet disable docker.service docker.socket containerd.service 2>/dev/null || true ;;
        esac
    done
fi
SCRIPT
}

# pm_packages_need <package…>: installs what is missing of them. Does nothing, quickly, when all is there.
pm_packages_need() {
    local missing id="" like="" version=0
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        pm_die "This script installs packages on Debian 12 and newer and on Ubuntu only; elsewhere install the" \
            "equivalents of: $*"
    fi
    mapfile -t missing < <(pm_packages_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    # shellcheck disable=SC1091
    id=$(. /etc/os-release && echo "$ID") like=$(. /etc/os-release && echo "${ID_LIKE:-}")
    # shellcheck disable=SC1091
    version=$(. /etc/os-release && echo "${VERSION_ID:-99}")
    case " $id $like " in
    *" debian "* | *" ubuntu "*) ;;
    *) pm_die "This script knows Debian 12 and newer and Ubuntu; here install the equivalents of: ${missing[*]}" ;;
    esac
    if [ "$id" = debian ] && [ "${version%%.*}" -lt 12 ]; then
        pm_die "Debian 12 or newer is needed, this is Debian $version."
    fi
    pm_say "Installing: ${missing[*]}"
    pm_as_root bash -c "$(pm_packages_install_script)" install "${missing[@]}" >&2 ||
        pm_die "apt-get could not install: ${missing[*]}"
    mapfile -t missing < <(pm_packages_missing "$@")
    [ "${#missing[@]}" = 0 ] || pm_die "Still missing after the installation: ${missing[*]}"
}
