"""deploy/dead_letters.sh: what was refused is shown, given back, and counted once; or dropped into a file."""

import json
import subprocess

import pytest

from world import DEAD_LETTER_QUEUE, wait_until


@pytest.fixture
def letters(world, servers, root):
    environment = {"RABBITMQ_HOST": servers.amqp["host"], "RABBITMQ_PORT": servers.amqp["port"], "RABBITMQ_USER": servers.amqp["user"],
                   "RABBITMQ_PASSWORD": servers.amqp["password"], "RABBITMQ_VHOST": world.name, "PATH": "/usr/bin:/bin"}

    def call(*arguments, status=0):
        done = subprocess.run([root / "deploy/dead_letters.sh", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == status, done.stdout
        return done.stdout
    return call


def wait_for_letters(world, count):
    wait_until(lambda: world.broker.depth(DEAD_LETTER_QUEUE) == count, what=f"{count} dead letters")


def test_refused_executions_are_given_back_and_count_once(world, letters):
    strict = world.service({"POSITION_MANAGER_ASSET_PATTERN": "^BTCUSDT$"}).start()
    # One names itself; the other is told by nothing but the letter.
    world.broker.fill("ETHUSDT", "Buy", "1", "100")
    world.broker.fill("ETHUSDT", "Buy", "2", "100", execution_id=None)
    world.broker.fill("BTCUSDT", "Buy", "1", "-5")
    wait_for_letters(world, 3)
    assert strict.stop()[0] == 0

    listed = letters("list").splitlines()
    assert sorted(line.split()[1] for line in listed) == ["bad_asset", "bad_asset", "not_positive"]
    assert all("order-manager.order_executed" in line for line in listed)
    wait_for_letters(world, 3)  # looking takes nothing out

    taken = [world.broker.get(DEAD_LETTER_QUEUE) for _ in range(3)]
    for properties, body in taken * 2:  # each of them twice, as after a refeed that was cut off
        world.broker.channel.basic_publish("", DEAD_LETTER_QUEUE, body, properties)
    service = world.service().start()
    assert letters("refeed", "--reason", "bad_asset", "--contains", "ETHUSDT") == "4 fed back\n"
    service.expect("ETHUSDT", size="3.0", version=2)
    world.expect_queues_empty()
    assert service.position("ETHUSDT")["size"] == "3.0"
    assert service.stop()[0] == 0
    wait_for_letters(world, 2)


def test_what_will_never_be_right_is_dropped_into_a_file(world, letters, tmp_path):
    world.broker.channel.queue_purge(DEAD_LETTER_QUEUE)
    service = world.service().start()
    world.broker.publish("order-manager.order_executed", b"not json")
    world.broker.fill("BTCUSDT", "Buy", "1", "-5")
    wait_for_letters(world, 2)
    assert letters("drop", "--reason", "not_json", "--save", str(tmp_path / "saved")) == "1 dropped\n"
    (saved,) = [json.loads(line) for line in (tmp_path / "saved").read_text().splitlines()]
    assert saved["body"] == "not json" and saved["headers"]["x-reason"] == "not_json"
    wait_for_letters(world, 1)
    letters("drop", status=2)  # everything at once only by its reason
    assert "not exist" in letters("refeed", "--to", "no.such.queue", status=1)
    wait_for_letters(world, 1)
    assert service.stop()[0] == 0
