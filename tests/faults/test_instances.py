"""Two instances started by mistake on the same tables and queues: one works, the other waits and says so."""

import signal
import time

import pytest
from scene import AFTERWARDS_SECONDS, Outcome, is_running
from world import Service, wait_until


@pytest.fixture
def second(scene):
    second = Service(scene, {})
    yield second
    if second.process is not None and second.process.poll() is None:
        second.process.send_signal(signal.SIGCONT)
    second.kill()
    scene.service = None


def said(service, event):
    return [line for line in service.log() if line.get("event") == event]


def start_waiting(second):
    second.start(healthy=False)
    second.wait_answering()
    wait_until(lambda: said(second, "instance_waiting"), 60, "the second instance saying that it waits")
    health = second.get("/health")
    assert health.status_code == 503, health.text
    assert second.get("/health/ready").status_code == 503


def take_over(scene, outcome, stream, second, since):
    """The second one works now; the stream ends and is audited."""
    scene.service = second
    outcome.recovery = scene.wait_normal(stream, since, 60)
    time.sleep(AFTERWARDS_SECONDS)
    stream.stop()
    outcome.rounds = 1
    scene.check(outcome, stream)


def stop_stream(stream):
    if not stream.stopping.is_set():
        stream.stop()


@pytest.mark.parametrize("end", ["SIGTERM", "kill -9"])
def test_the_second_waits_until_the_first_is_gone(scene, second, record, end):
    outcome = Outcome(f"two instances: first ends by {end}")
    first = scene.run()
    stream = scene.stream().start()
    try:
        start_waiting(second)
        time.sleep(1)
        wait_until(lambda: first.get("/health").status_code == 200, what="the first one's health")
        assert second.get("/health").status_code == 503
        if end == "SIGTERM":
            assert first.stop()[0] == 0
        else:
            first.kill()
        take_over(scene, outcome, stream, second, time.monotonic())
    finally:
        stop_stream(stream)
    record(outcome)
    assert second.stop()[0] == 0


def test_one_that_was_overtaken_in_its_sleep_writes_nothing_any_more(scene, second, record):
    """SIGSTOP, its sessions end (a server's keep-alives do that), another takes over; then it wakes up."""
    outcome = Outcome("two instances: overtaken while asleep")
    first = scene.run()
    stream = scene.stream().start()
    try:
        start_waiting(second)
        first.process.send_signal(signal.SIGSTOP)
        scene.neighbours.end_sessions(scene.name)
        second.wait_healthy()
        time.sleep(1)
        first.process.send_signal(signal.SIGCONT)
        since = time.monotonic()
        wait_until(lambda: not is_running(first), 30, "the overtaken instance ending")
        outcome.note = f"ended after {time.monotonic() - since:.1f} s with status {first.process.returncode}"
        assert first.process.returncode != 0
        take_over(scene, outcome, stream, second, time.monotonic())
    finally:
        first.process.send_signal(signal.SIGCONT)
        first.kill()
        stop_stream(stream)
    record(outcome)
    assert second.stop()[0] == 0
