#!/bin/bash
# Runs a command with a private, throwaway RabbitMQ:  tests/integration/with_rabbitmq.sh <command> [<argument>…]
#
# The command finds the broker by PM_TEST_AMQP_PORT (guest/guest, vhost /) and may call "$PM_TEST_RABBITMQCTL"; rabbitmq.sh lists
# all variables. Its exit code is passed on. The broker and its epmd are gone afterwards, also after an interrupt.
set -u

here=$(dirname "$(readlink -f "$0")")
# shellcheck source-path=SCRIPTDIR source=rabbitmq.sh
. "$here/rabbitmq.sh"

if [ $# -eq 0 ]; then
    echo "usage: $0 <command> [<argument>...]" >&2
    exit 2
fi

trap rabbitmq_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

rabbitmq_prepare
rabbitmq_start || exit 1
"$@"
