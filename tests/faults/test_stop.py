"""SIGTERM under full load (contract §9)."""

import json
import time

import httpx
from scene import SETTLE_SECONDS, Outcome, is_running
from world import ORDER_QUEUE, wait_until

BACKLOG = 20000
TRIES = 3


def test_sigterm_under_full_load_gives_nothing_back_that_was_settled(scene, record):
    record(scene.tried(lambda: stop_under_full_load(scene)))


def stop_under_full_load(scene):
    outcome = Outcome("service: SIGTERM under full load", rounds=1)
    for attempt in range(1, TRIES + 1):
        service = scene.run()
        stream = scene.stream()
        assert service.stop()[0] == 0
        backlog = BACKLOG * attempt
        stream.publish(backlog)
        service.start(healthy=False)
        wait_until(lambda: applied(service, stream) > 500, what="the load being worked on", interval=0.005)
        status, seconds = service.stop()
        assert status == 0 and seconds < 10, (status, seconds)
        settled = counted(scene, stream)
        if settled < backlog:
            break  # else the service was done before this machine let the signal through
    assert 0 < settled < backlog, f"{settled} of {backlog} were settled: it was not stopped under load"
    left, redelivered = what_is_left(scene, stream)
    outcome.note = f"ended in {seconds:.1f} s with {settled} of {backlog} settled, {redelivered} of the others came twice"
    known = {row[0] for row in journal(scene, stream)}
    assert not [one for one in left if f"x:{one}" in known], "a settled execution is still in the queue"
    started = time.monotonic()
    service.start()
    # What is published now stands behind all that is left: that the first of these is seen says that all works again.
    wait_until(lambda: counted(scene, stream) > settled, what="what was left being worked on", interval=0.01)
    outcome.recovery = time.monotonic() - started
    scene.wait_normal(stream, started, SETTLE_SECONDS)
    scene.check(outcome, stream)
    assert service.metric(r"executions_total.*repeated") == 0, "settled executions came again"
    return outcome


def applied(service, stream):
    assert is_running(service), service.log_tail()
    try:
        positions = service.get("/api/v1/positions").json().get("positions", [])
    except httpx.TransportError:
        return 0  # it does not listen yet
    return sum(one["version"] for one in positions if one["asset"].startswith(stream.prefix))


def journal(scene, stream):
    return scene.sql("select identity from position_manager_journal where asset like %s and identity is not null", stream.prefix + "%")


def counted(scene, stream):
    return len(journal(scene, stream))


def what_is_left(scene, stream):
    """The executions that wait in the queue, and how many of them were delivered before. They stay where they are."""
    connection = scene.neighbours.amqp(scene.name)
    channel = connection.channel()
    count = channel.queue_declare(ORDER_QUEUE, passive=True).method.message_count
    left, redelivered = [], 0
    for method, _, body in channel.consume(ORDER_QUEUE, inactivity_timeout=5):
        if method is None:
            break
        left.append(json.loads(body)["execution_id"])
        redelivered += method.redelivered
        if len(left) == count:
            break
    connection.close()  # what was not acknowledged goes back
    return left, redelivered
