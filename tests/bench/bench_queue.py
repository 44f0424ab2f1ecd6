"""From a filled queue until all is committed, announced and acknowledged, against a bare consumer."""

import statistics
import time

from bench_messages import executions, make_template, market_events
from bench_world import MARKET_QUEUE, ORDER_QUEUE, Service, cpu_seconds, memory_kib

PREFETCH = 4000
QUEUE_TYPES = {"classic": None, "classic, version 2": {"x-queue-version": 2}, "quorum": {"x-queue-type": "quorum"}}


def events_in_queue(report):
    """Enough for some ten seconds, so that the start and the last wait for announcements are a small part."""
    return 40000 if report.quick else 300000


def cpu_by_process(world, service):
    return {"service": cpu_seconds(service.pid), **{name: cpu_seconds(pid) for name, pid in world.pids.items()}}


def wait_acknowledged(service, count, timeout_s=300):
    """
    (seconds, messages in them, metrics) between the first delivery seen and the last acknowledgement. A page of metrics
    costs the service as much as a hundred events or so, so it is asked for seldom: half of what is left lies between
    two questions.
    """
    name = "deliveries_acknowledged_total"
    first = service.metrics()
    while first.get("deliveries_total", 0) == 0:
        time.sleep(0.01)
        first = service.metrics()
    started = time.monotonic()
    while True:
        now = service.metrics()
        took = time.monotonic() - started
        done = now.get(name, 0) - first.get(name, 0)
        if now.get(name, 0) >= count:
            return took, count - first.get(name, 0), now
        if took > timeout_s:
            raise RuntimeError(f"{now.get(name)} of {count} acknowledged after {timeout_s} s")
        left = (count - now.get(name, 0)) * took / done if done > 0 else 0
        time.sleep(min(max(left / 2, 0.02), 1))


def drain(world, records, count, template, log_level="WARNING", watch=None, queue_arguments=None, **settings):
    """Fills the queue, starts the service, and waits until it has done everything."""
    world.empty_broker(queue_arguments)
    world.make_database("bench", template)
    world.fill(records)
    world.sql("checkpoint")
    before = {name: cpu_seconds(pid) for name, pid in world.pids.items()}
    service = Service(world, "bench", log_level, **settings)
    if watch:
        watch(service)
    seconds, done, metrics = wait_acknowledged(service, count)
    cpu = cpu_by_process(world, service)
    peak = memory_kib(service.pid, "VmHWM")
    service.stop()
    left = world.depth(ORDER_QUEUE) + world.depth(MARKET_QUEUE)
    if left:
        raise RuntimeError(f"{left} messages are left")
    for name, value in before.items():
        cpu[name] -= value
    return {"rate": done / seconds, "cpu": cpu, "metrics": metrics, "peak_kib": peak, "count": count}


def bare(world, records, count, queue, queue_arguments=None):
    world.empty_broker(queue_arguments)
    world.fill(records)
    result = world.run_json("bench_consumer", *world.amqp_arguments(), queue, count, PREFETCH)
    return result["messages"] / result["seconds"]


def rates(runs):
    return [run["rate"] for run in runs]


def describe(run):
    """How the work was cut: what a commit and an announcement cover."""
    metrics = run["metrics"]
    commits = metrics.get("commits_total", 0)
    announced = metrics.get('messages_published_total{queue="position_updated"}', 0)
    rows = metrics.get("commit_rows_sum", 0)
    return (f"{run['count'] / max(commits, 1):.0f} events and {rows / max(commits, 1):.0f} rows a commit, "
            f"{run['count'] / max(announced, 1):.1f} events an announcement, peak {run['peak_kib'] / 1024:.0f} MiB")


def add_cpu(report, name, runs):
    for process in runs[0]["cpu"]:
        per_million = [run["cpu"][process] / run["count"] * 1e6 for run in runs]
        report.add(f"{name}: CPU of {process}", "s/million", per_million)


def measure_executions(world, report):
    """executions over 500 assets, with CPU seconds by process, and on one asset"""
    count = events_in_queue(report)
    template = make_template(world, 500)
    records, single = executions(world, count, 500), executions(world, count, 1)
    many, one, ceiling = report.interleave(lambda: drain(world, records, count, template),
                                           lambda: drain(world, single, count, template),
                                           lambda: bare(world, records, count, ORDER_QUEUE))
    report.add("executions, 500 assets", "1/s", rates(many), ceiling, at_least=0.60, aim=0.90, note=describe(many[-1]))
    report.add("executions, one asset against 500", "1/s", rates(one), rates(many), at_least=0.8, aim=1.0,
               note=describe(one[-1]))
    add_cpu(report, "executions", many)


def measure_market(world, report):
    """market events over 500 assets, with CPU seconds by process"""
    count = events_in_queue(report)
    template = make_template(world, 500)
    records = market_events(world, count, 500)
    runs, ceiling = report.interleave(lambda: drain(world, records, count, template),
                                      lambda: bare(world, records, count, MARKET_QUEUE))
    report.add("market events, 500 assets", "1/s", rates(runs), ceiling, at_least=0.75, aim=0.95, note=describe(runs[-1]))
    add_cpu(report, "market events", runs)


def measure_large(world, report):
    """executions with 100,000 positions stored: over 500 of them, and over all"""
    count = 40000 if report.quick else 150000
    small, large = make_template(world, 500), make_template(world, 100000)
    few, all_of_them = executions(world, count, 500), executions(world, count, 100000)
    base, stored, spread = report.interleave(lambda: drain(world, few, count, small),
                                             lambda: drain(world, few, count, large),
                                             lambda: drain(world, all_of_them, count, large))
    report.add("executions over 500 of 100,000 positions", "1/s", rates(stored), rates(base), at_least=0.8, aim=1.0,
               note=describe(stored[-1]))
    report.add("executions over all 100,000 positions", "1/s", rates(spread), rates(base),
               note="no two events share a row; " + describe(spread[-1]))


def measure_queue_types(world, report):
    """both kinds of events from a classic queue, one of version 2, and a quorum queue"""
    count = events_in_queue(report)
    template = make_template(world, 500)
    for kind, records, queue in (("executions", executions(world, count, 500), ORDER_QUEUE),
                                 ("market events", market_events(world, count, 500), MARKET_QUEUE)):
        for name, arguments in QUEUE_TYPES.items():
            runs, ceiling = report.interleave(lambda: drain(world, records, count, template, queue_arguments=arguments),
                                              lambda: bare(world, records, count, queue, arguments))
            broker = statistics.median(run["cpu"]["rabbitmq"] / count * 1e6 for run in runs)
            report.add(f"{kind}, {name} queue", "1/s", rates(runs), ceiling,
                       note=f"CPU of rabbitmq {broker:.0f} s/million; {describe(runs[-1])}")


def measure_log_level(world, report):
    """executions with the log level INFO against WARNING"""
    count = 40000 if report.quick else 150000
    template = make_template(world, 500)
    records = executions(world, count, 500)
    info, warning = report.interleave(lambda: drain(world, records, count, template, "INFO"),
                                      lambda: drain(world, records, count, template))
    report.add("executions, logged at INFO against WARNING", "1/s", rates(info), rates(warning))


GROUPS = {"executions": measure_executions, "market": measure_market, "large": measure_large,
          "queue_types": measure_queue_types, "log_level": measure_log_level}
