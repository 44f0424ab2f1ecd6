"""The service dies, loses a connection or stands still at a named point of its code, under a stream, and is audited afterwards."""

import json
import subprocess
import time

import faults_fail_points
import pytest
from audit import drain
from faults_fail_points import BREAKS, CRASHES, PAUSES, VARIABLE
from scene import Outcome, is_running
from stream import record as framed
from world import DEAD_LETTER_QUEUE, ORDER_QUEUE, SNAPSHOT_QUEUE, Service, wait_until

REFUSED = 40
SNAPSHOT_POSITIONS = 30


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_at_any_point_loses_nothing_and_counts_nothing_twice(scene, record, name):
    record(scene.endure(name, CRASHES[name]))


@pytest.mark.parametrize("name", BREAKS)
def test_a_connection_that_breaks_at_any_point_loses_nothing(scene, record, name):
    record(scene.endure(name, BREAKS[name]))


@pytest.mark.parametrize("name", PAUSES)
def test_a_thread_that_stands_still_loses_nothing(scene, record, name):
    record(scene.endure(name, PAUSES[name]))


def run_until_it_dies(scene, settings, act):
    """The service with a point armed until it has died; then it runs again, unarmed. Returns it and when that was."""
    service = scene.run(Service(scene, settings))
    act(service)
    wait_until(lambda: not is_running(service), 60, "the service dying")
    assert service.process.returncode == -9
    for name in settings:
        del service.environment[name]
    service.environment["POSITION_MANAGER_SNAPSHOT_INTERVAL"] = "0"
    service.start(healthy=False)
    return service, time.monotonic()


@pytest.mark.parametrize("point", ["before_dead_letter", "dead_letter_confirmed"])
def test_what_is_refused_is_neither_lost_nor_kept_back(scene, record, point):
    record(scene.tried(lambda: refused_around_a_crash(scene, point)))


def refused_around_a_crash(scene, point):
    outcome = Outcome(f"fail point: crash at {point}", rounds=1)
    scene.run()
    stream = scene.stream()
    bodies = [json.dumps({"event_type": "no such word", "execution_id": f"{stream.prefix}-{i}"}) for i in range(REFUSED)]

    def act(service):
        data = b"".join(framed(ORDER_QUEUE, json.loads(body)) for body in bodies)
        stream.send([data], 0, 30)
        stream.publish(50)
    service, since = run_until_it_dies(scene, {VARIABLE: f"{point}:crash:{REFUSED // 2}"}, act)
    outcome.recovery = scene.wait_normal(stream, since)
    scene.settle()
    connection = scene.neighbours.amqp(scene.name)
    found = [body.decode() for body in drain(connection, DEAD_LETTER_QUEUE)]
    connection.close()
    outcome.unannounced = len(set(bodies) - set(found))
    outcome.note = f"{REFUSED} refused, {len(found)} copies"
    assert set(found) <= set(bodies), "something else was refused"
    scene.check(outcome, stream)
    return outcome


@pytest.mark.parametrize("point, count", [("snapshot_taken", 1), ("snapshot_confirmed", SNAPSHOT_POSITIONS // 2)])
def test_every_stored_snapshot_is_announced(scene, record, point, count):
    record(scene.tried(lambda: snapshots_around_a_crash(scene, point, count)))


def snapshots_around_a_crash(scene, point, count):
    outcome = Outcome(f"fail point: crash at {point}", rounds=1)
    scene.run()
    stream = scene.stream()
    stream.assets = [f"{stream.prefix}S{i}USDT" for i in range(SNAPSHOT_POSITIONS)]
    stream.publish(SNAPSHOT_POSITIONS * 5)
    scene.settle()
    already = {row[0] for row in scene.sql("select id::text from position_snapshots")}
    settings = {VARIABLE: f"{point}:crash:{count}", "POSITION_MANAGER_SNAPSHOT_INTERVAL": "1"}
    service, since = run_until_it_dies(scene, settings, lambda service: None)
    outcome.recovery = scene.wait_normal(stream, since)
    wait_until(lambda: scene.sql("select count(*) from position_manager_outbox") == [(0,)], 60, "an empty outbox")
    stored = {row[0] for row in scene.sql("select id::text from position_snapshots")} - already
    connection = scene.neighbours.amqp(scene.name)
    announced = [json.loads(body)["snapshot_id"] for body in drain(connection, SNAPSHOT_QUEUE)]
    connection.close()
    assert stored, "no snapshot was taken before the crash"
    outcome.unannounced = len(stored - set(announced))
    outcome.note = f"{len(stored)} snapshots, {len(announced)} announcements"
    scene.check(outcome, stream)
    return outcome


@pytest.mark.parametrize("point, count", [("after_commit", 3), ("after_confirm", 4)])
def test_after_a_crash_the_portfolio_is_told_though_nothing_else_happens(scene, record, point, count):
    """Totals that changed just before a crash: what comes again changes none, so nothing else would make the service tell them."""
    record(scene.tried(lambda: portfolio_after_a_crash(scene, point, count)))


def portfolio_after_a_crash(scene, point, count):
    outcome = Outcome(f"fail point: crash at {point}, then nothing", rounds=1)
    scene.run()
    stream = scene.stream()
    settings = {VARIABLE: f"{point}:crash:{count}", "POSITION_MANAGER_PORTFOLIO_PUBLISH_INTERVAL_MS": "3000"}

    def act(service):
        """One at a time, each in a commit of its own: what was published last is in the one that ends it all."""
        for asset in stream.assets * 10:
            if not is_running(service):
                return
            stream.publish_one(asset)
            time.sleep(0.2)
    service, since = run_until_it_dies(scene, settings, act)
    service.wait_healthy()
    outcome.recovery = time.monotonic() - since
    scene.check(outcome, stream)
    return outcome


def test_a_point_that_is_none_stops_the_start(scene):
    for text in ("nowhere:crash", "after_commit", "after_commit:", "after_commit:jump", "after_commit:stop=", "after_commit:crash:0",
                 "after_commit:crash:1x"):
        service = Service(scene, {VARIABLE: text})
        done = subprocess.run([str(scene.binary)], env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=20, check=False)
        assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith("names no fail point"), (text, done)


def test_every_point_is_tried():
    header = (faults_fail_points.ROOT / "src" / "base" / "fail_point.c").read_text()
    names = [part.split('"')[1] for part in header.splitlines() if part.strip().startswith("[FAIL_POINT_")]
    names.remove("none")
    assert sorted(names) == sorted([*faults_fail_points.POINTS, "before_dead_letter", "dead_letter_confirmed", "snapshot_taken",
                                    "snapshot_confirmed"])
