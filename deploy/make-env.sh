#!/bin/bash
# make-env.sh: makes deploy/.env for the compose file: env.example with secrets of its own, readable by its owner only, and
# deploy/.env.grafana with the password of Grafana's administrator (admin).
#
#   deploy/make-env.sh [directory]     the directory (default: deploy) gets .env and .env.grafana; what exists is kept
#
# Values with a dollar sign stand as comments (they are defaults): versions of Compose differ in what they make of it. One
# that has to be there is written in single quotes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
directory=${1:-$here}
umask 077

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

settings() {
    sed -e "s|^POSITION_MANAGER_API_KEY=.*|POSITION_MANAGER_API_KEY=$(secret)|" \
        -e "s|^POSTGRES_USER=.*|POSTGRES_USER=position_manager|" \
        -e "s|^POSTGRES_PASSWORD=.*|POSTGRES_PASSWORD=$(secret)|" \
        -e "s|^RABBITMQ_USER=.*|RABBITMQ_USER=position_manager|" \
        -e "s|^RABBITMQ_PASSWORD=.*|RABBITMQ_PASSWORD=$(secret)|" \
        -e '/^[A-Z_]*=.*\$/s/^/#/' "$here/env.example"
    cat <<'END'

# The rest is for docker-compose.yml, with its defaults: where ports are published (RabbitMQ's is RABBITMQ_PORT, the
# service's POSITION_MANAGER_PORT), how much memory and how many processors each may have, how fast the demo is.
#PUBLISH_ADDRESS=127.0.0.1
#RABBITMQ_MANAGEMENT_PORT=15672
#PROMETHEUS_PORT=9090
#GRAFANA_PORT=3000
#SERVICE_MEMORY=1g
#SERVICE_CPUS=1.0
#POSTGRES_MEMORY=1g
#POSTGRES_CPUS=1.0
#RABBITMQ_MEMORY=1g
#RABBITMQ_CPUS=1.0
#PROMETHEUS_MEMORY=512m
#PROMETHEUS_CPUS=0.5
#PROMETHEUS_RETENTION=30d
#PROMETHEUS_SIZE=5GB
#GRAFANA_MEMORY=512m
#GRAFANA_CPUS=0.5
#DEMO_RATE=40
#IMAGE_TAG=local
#IMAGE_BASE=debian:bookworm-slim
#IMAGE_REVISION=unknown
END
}

# make <file> <command>: by a file of another name, so that half a file is never taken for one.
make() {
    if [ -e "$1" ]; then
        echo "$1 is there already and stays as it is."
        return
    fi
    "$2" >"$1.new"
    mv "$1.new" "$1"
    echo "Made $1."
}

grafana() { echo "GF_SECURITY_ADMIN_PASSWORD=$(secret)"; }

make "$directory/.env" settings
make "$directory/.env.grafana" grafana
