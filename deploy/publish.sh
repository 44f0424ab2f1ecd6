#!/bin/bash
# publish.sh: publishes an execution or market data through RabbitMQ to the service that deploy/local.sh started.
#
#   deploy/publish.sh fill BTCUSDT Buy 0.5 50000 [--fee 1.25] [--mode hedge] [--leg long|short] [--id ID]
#   deploy/publish.sh market BTCUSDT Buy 0.5 50000 51000 [--mode hedge]     size, average price, mark price
#   deploy/publish.sh demo [--rate 40] [--seconds N]                        a lively market until Ctrl-C
#
# RABBITMQ_* in the environment name another broker than that of .run/env.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
case "${1:-}" in
fill | market | demo) ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
if [ -z "${RABBITMQ_PORT:-}" ]; then
    if [ ! -r "$root/.run/env" ]; then
        echo "Nothing was started here yet: run deploy/local.sh first." >&2
        exit 1
    fi
    set -a
    # shellcheck disable=SC1091
    . "$root/.run/env"
    set +a
fi
exec /usr/bin/python3 "$root/deploy/lib/publish.py" "$@"
