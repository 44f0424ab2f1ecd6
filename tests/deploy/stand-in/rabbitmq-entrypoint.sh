#!/bin/bash
# rabbitmq-entrypoint.sh: as the official image's entry point, gives root up and starts the server.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
    find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq '{}' +
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
exec "$@"
