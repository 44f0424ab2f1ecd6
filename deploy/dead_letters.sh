#!/bin/bash
# dead_letters.sh: looks at what position-manager refused, and gives it back to the queue that it came from.
#
#   deploy/dead_letters.sh list                                  what is there: reason, field, queue, time, body
#   deploy/dead_letters.sh refeed [--reason R] [--contains TEXT] [--to QUEUE]
#   deploy/dead_letters.sh drop    --reason R  [--contains TEXT] [--save FILE]
#
# RABBITMQ_HOST, _PORT, _USER, _PASSWORD and _VHOST say which broker; without them, that of .run/env. Each letter is taken
# out only when the broker has confirmed its copy (refeed) or it stands in the file (drop --save). What was counted before
# is not counted again, if it has an execution_id or event_id; do not also let the publisher send those without.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
case "${1:-}" in
list | refeed | drop) ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
if [ -z "${RABBITMQ_PORT:-}" ] && [ -r "$root/.run/env" ]; then
    set -a
    # shellcheck disable=SC1091
    . "$root/.run/env"
    set +a
fi
exec /usr/bin/python3 "$root/deploy/lib/dead_letters.py" "$@"
