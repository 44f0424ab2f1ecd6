#!/bin/sh
# entrypoint.sh: makes RabbitMQ's definitions of definitions.json and the environment, then starts the image's own entry point.
#
# A definitions file holds no password but a hash of it: base64 of four bytes of salt and SHA-256 of salt and password. It is
# made here, from RABBITMQ_USER, RABBITMQ_PASSWORD and RABBITMQ_VHOST, and kept in memory only: nothing secret is in a file
# of the repository or of a volume's, and a new password takes effect at the next start. Needs nothing but coreutils.
set -eu

template=${DEFINITIONS_TEMPLATE:-/etc/position-manager/definitions.json}
target=${DEFINITIONS_TARGET:-/run/position-manager/definitions.json}

die() {
    printf 'entrypoint.sh: %s\n' "$*" >&2
    exit 1
}

# is_plain <text> <further characters>: whether it can stand in JSON and in sed's replacement as it is.
is_plain() {
    [ -n "$1" ] && [ -z "$(printf '%s' "$1" | tr -d "A-Za-z0-9._~$2-")" ]
}

# Hexadecimal digits on standard input to bytes on standard output.
bytes_of() {
    fold -w 2 | while read -r digits; do
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$(printf '%03o' "0x$digits")"
    done
}

hash_of() {
    salt=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
    digest=$({
        echo "$salt" | bytes_of
        printf '%s' "$1"
    } | sha256sum | cut -d ' ' -f 1)
    echo "$salt$digest" | bytes_of | base64 | tr -d '\n'
}

is_plain "${RABBITMQ_USER:-}" '' || die "RABBITMQ_USER may have letters, digits and . _ ~ - only"
is_plain "${RABBITMQ_VHOST:-}" '/' || die "RABBITMQ_VHOST may have letters, digits and . _ ~ - / only"
[ -n "${RABBITMQ_PASSWORD:-}" ] || die "RABBITMQ_PASSWORD is empty"

hash=$(hash_of "$RABBITMQ_PASSWORD")
(
    umask 077
    sed -e "s|@USER@|$RABBITMQ_USER|g" -e "s|@VHOST@|$RABBITMQ_VHOST|g" -e "s|@PASSWORD_HASH@|$hash|g" "$template" >"$target"
)
if [ "$(id -u)" = 0 ]; then chown rabbitmq "$target"; fi

# The server itself needs none of them.
unset RABBITMQ_USER RABBITMQ_PASSWORD RABBITMQ_VHOST
exec docker-entrypoint.sh "$@"
