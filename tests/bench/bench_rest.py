"""Memory, start-up, idleness, the database's own rate, and profiles."""

import os
import signal
import subprocess
import time

from bench_messages import executions, make_template, market_events
from bench_queue import drain
from bench_world import Service, cpu_seconds, memory_kib

BASE_KIB_MAX = 40 * 1024


def resident(world, positions):
    """(KiB, seconds until ready) of a service that just started with so many positions."""
    template = make_template(world, positions)
    world.empty_broker()
    world.make_database("bench", template)
    service = Service(world, "bench")
    ready_s = service.wait_ready("/health/ready")
    service.wait_ready("/health")
    time.sleep(0.5)
    kib = memory_kib(service.pid)
    service.stop()
    return kib, ready_s


def measure_memory(world, report):
    """resident memory and time until ready, empty and with 500 and 100,000 positions"""
    empty, few, many = report.interleave(lambda: resident(world, 0), lambda: resident(world, 500),
                                         lambda: resident(world, 100000))
    report.add("memory, no position", "KiB", [kib for kib, _ in empty], at_most=BASE_KIB_MAX, aim=BASE_KIB_MAX / 2)
    report.add("memory, 500 positions", "KiB", [kib for kib, _ in few])
    report.add("memory, 100,000 positions", "KiB", [kib for kib, _ in many])
    report.add("memory a position", "bytes", [(more[0] - less[0]) * 1024 / 100000 for more, less in zip(many, empty)],
               at_most=1024, aim=512)
    report.add("ready, no position", "s", [seconds for _, seconds in empty])
    report.add("ready, 100,000 positions", "s", [seconds for _, seconds in many], at_most=1.0, aim=0.3)


def measure_backlog(world, report):
    """peak memory behind a backlog, and behind one four times and one sixteen times as long"""
    template = make_template(world, 500)
    short = 20000 if report.quick else 60000

    def peak(count):
        return drain(world, executions(world, count, 500), count, template)["peak_kib"]

    peaks = report.interleave(lambda: peak(short), lambda: peak(short * 4), lambda: peak(short * 16))
    report.add("peak memory, backlog four times as long", "KiB", peaks[1], peaks[0], at_most=1.1, aim=1.0)
    report.add("peak memory, backlog sixteen times as long", "KiB", peaks[2], peaks[0], at_most=1.1, aim=1.0)


def measure_idle(world, report):
    """CPU of a service that has nothing to do"""
    seconds = 3 if report.quick else 20
    world.empty_broker()
    world.make_database("bench", make_template(world, 500))
    service = Service(world, "bench")
    service.wait_ready()
    time.sleep(1)
    before = cpu_seconds(service.pid)
    time.sleep(seconds)
    report.add("idle: share of a core", "%", (cpu_seconds(service.pid) - before) / seconds * 100, at_most=0.5, aim=0.1)
    service.stop()


def measure_commit(world, report):
    """the committer's statements without the service, in groups of several sizes"""
    seconds = 1 if report.quick else 5
    template = make_template(world, 500)
    for positions, entries in ((1, 1), (100, 200), (500, 500), (500, 2000)):
        world.make_database("bench", template)
        world.sql("checkpoint")
        result = world.run_json("bench_commit", world.pg_string("bench"), positions, entries, seconds)
        report.add(f"statements alone: {positions} rows, {entries} entries", "entries/s", result["entries_per_second"],
                   note=f"a commit takes p50 {result['p50_ms']:.2f} ms, p99 {result['p99_ms']:.2f} ms")


def record(world, make_records, tool, out):
    """One drain of a filled queue with a tool that watches the service."""
    count = 150000
    watchers = []

    def watch(service):
        time.sleep(0.3)  # the start is not what is looked for
        watchers.append(subprocess.Popen([*tool, "-o", out, "-p", str(service.pid)], stderr=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL))

    drain(world, make_records(world, count, 500), count, make_template(world, 500), watch=watch)
    for watcher in watchers:
        if watcher.poll() is None:
            watcher.send_signal(signal.SIGINT)
        watcher.wait()


def profile(world, make_records):
    directory = f"{world.build}/profile"
    os.makedirs(directory, exist_ok=True)
    record(world, make_records, ["perf", "record", "-F", "997", "-g"], f"{directory}/perf.data")
    record(world, make_records, ["strace", "-f", "-c"], f"{directory}/syscalls.txt")


def profile_executions(world, _report):
    """perf and strace of the service under executions (profile.sh)"""
    profile(world, executions)


def profile_market(world, _report):
    """perf and strace of the service under market events (profile.sh)"""
    profile(world, market_events)


# Only on request: they measure nothing.
PROFILES = {"profile_executions": profile_executions, "profile_market": profile_market}
GROUPS = {"memory": measure_memory, "backlog": measure_backlog, "idle": measure_idle, "commit": measure_commit}
