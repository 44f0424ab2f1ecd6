"""What the pages tell RabbitMQ: the rights of the service's user, and the copies for a shadow of the Python service."""

import subprocess
from pathlib import Path

import pika
import pytest

from documents import blocks
from world import DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, PORTFOLIO_QUEUE, POSITION_QUEUE, SNAPSHOT_QUEUE, Broker, wait_until

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "asked-for-by-add_user"
QUEUES = (MARKET_QUEUE, ORDER_QUEUE)


def block_of(page, test):
    """The commands of the page that this test runs."""
    (block,) = [block for block in blocks(ROOT / "docs" / page, ROOT) if block.where == test]
    return block.text


@pytest.fixture
def follow(servers, tmp_path):
    """Runs commands with the tests' broker as the one that rabbitmqctl and rabbitmq-plugins speak with."""
    for name, word in (("rabbitmqctl", "ctl"), ("rabbitmq-plugins", "plugins")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec "{ROOT}/tests/tools/servers.sh" {word} "{servers.directory}" "$@"\n')
        (tmp_path / name).chmod(0o755)

    def run(text):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], input=PASSWORD + "\n", text=True, timeout=300,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin", "RABBITMQ_USER": servers.amqp["user"]})
        assert done.returncode == 0, done.stdout
    return run


@pytest.fixture
def broker(servers):
    """In the virtual host "/", which no other test uses; empty again afterwards."""
    broker = Broker(servers, "/")
    yield broker
    broker.connect()
    for queue in (*QUEUES, DEAD_LETTER_QUEUE, POSITION_QUEUE, PORTFOLIO_QUEUE, SNAPSHOT_QUEUE):
        for prefix in ("", "python.", "shadow."):
            broker.channel.queue_delete(prefix + queue)
        broker.channel.exchange_delete(f"copy.{queue}")
    broker.connection.close()


def test_the_rights_that_the_page_gives_are_enough_and_not_more(world, servers, broker, follow):
    follow(block_of("production.md", "test_the_rights_that_the_page_gives_are_enough_and_not_more"))
    try:
        service = world.service({"RABBITMQ_USER": "position_manager", "RABBITMQ_PASSWORD": PASSWORD, "RABBITMQ_VHOST": "/"}).start()
        broker.fill("RIGHTSUSDT", "Buy", "2", "100")
        broker.market("RIGHTSUSDT", markPrice="110")
        broker.publish(ORDER_QUEUE, b"nonsense")
        service.expect("RIGHTSUSDT", unrealized_pnl="20.00")
        assert service.http.post("/api/v1/positions/RIGHTSUSDT/snapshot").status_code == 201
        for queue in (POSITION_QUEUE, PORTFOLIO_QUEUE, SNAPSHOT_QUEUE, DEAD_LETTER_QUEUE):
            wait_until(lambda: broker.depth(queue) > 0, what=f"something in {queue}")  # noqa: B023
        assert service.stop()[0] == 0
        assert not [line for line in service.log() if line["level"] == "ERROR"]

        limited = pika.ConnectionParameters(servers.amqp["host"], int(servers.amqp["port"]), "/", pika.PlainCredentials("position_manager", PASSWORD))
        connection = pika.BlockingConnection(limited)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            connection.channel().queue_declare("somebody-elses")
        connection.close()
    finally:
        servers.erlang('rabbit_auth_backend_internal:delete_user(<<"position_manager">>, <<"tests">>).')


def test_copies_of_the_messages_reach_both_services(world, servers, broker, follow):
    for queue in QUEUES:
        broker.declare(queue)
        # As the comment in the commands says.
        broker.channel.exchange_declare(f"copy.{queue}", "fanout", durable=True)
        for reader in ("python", "shadow"):
            broker.declare(f"{reader}.{queue}")
            broker.channel.queue_bind(f"{reader}.{queue}", f"copy.{queue}")
    try:
        follow(block_of("replacing-the-python-service.md", "test_copies_of_the_messages_reach_both_services"))
        shadow = world.service({"RABBITMQ_VHOST": "shadow"}).start()
        fills = [broker.fill("SHADOWUSDT", "Buy", "1", "100") for _ in range(20)]
        event = broker.market("SHADOWUSDT", markPrice="130")
        shadow.expect("SHADOWUSDT", size="20.0", unrealized_pnl="600.00")
        wait_until(lambda: broker.depth(f"python.{ORDER_QUEUE}") == len(fills), what="the Python service's copies")
        wait_until(lambda: broker.depth(f"python.{MARKET_QUEUE}") == 1, what="the copy of the market data")
        assert event["trace_id"].encode() in broker.get(f"python.{MARKET_QUEUE}")[1]
        # Nothing is announced where the Python service announces.
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            broker.depth(POSITION_QUEUE)
        assert shadow.stop()[0] == 0
    finally:
        names = ", ".join(f'<<"{way}-{queue}">>' for way in ("copy", "shadow") for queue in QUEUES)
        servers.erlang(f'[rabbit_runtime_parameters:clear(<<"/">>, <<"shovel">>, Name, <<"tests">>) || Name <- [{names}]], '
                       'rabbit_vhost:delete(<<"shadow">>, <<"tests">>).')
        follow("rabbitmq-plugins disable rabbitmq_shovel")
