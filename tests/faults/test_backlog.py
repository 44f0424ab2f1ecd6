"""A backlog that waits when the service starts: it is worked off, nothing is lost, and memory does not grow with it.

PM_FAULTS_BACKLOG says how many executions wait; a million of them is a run of its own.
"""

import os
import time

from scene import Outcome
from watch import Watch
from world import wait_until

CHUNK = 20000


def test_memory_does_not_grow_with_a_backlog(scene, record):
    record(scene.tried(lambda: work_off_a_backlog(scene)))


def work_off_a_backlog(scene):
    count = int(os.environ.get("PM_FAULTS_BACKLOG", "20000"))
    outcome = Outcome(f"backlog of {count}", rounds=1)
    service = scene.run()
    stream = scene.stream()
    stream.records = None
    assert service.stop()[0] == 0
    for _ in range(0, count, CHUNK):
        stream.publish(min(CHUNK, count - len(stream.confirmed)))
    started = time.monotonic()
    service.start(healthy=False)
    watch = Watch(service).start()
    service.wait_healthy()
    connection = scene.neighbours.amqp(scene.name)
    wait_until(lambda: scene.depth(connection) == 0, 60 + count / 500, "the backlog being worked off", 0.5)
    seconds = time.monotonic() - started
    connection.close()
    scene.settle()
    outcome.recovery = scene.wait_normal(stream, time.monotonic())
    watch.stop()
    outcome.resident_mib = watch.rss_max_kib // 1024
    outcome.note = f"worked off in {seconds:.1f} s"
    scene.check(outcome, stream)
    return outcome
