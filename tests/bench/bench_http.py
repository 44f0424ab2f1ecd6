"""Requests a second and delays over HTTP, against a bare libh2o handler with bodies of the same size."""

import os
import re
import statistics
import subprocess
import time

from bench_messages import executions, make_template
from bench_queue import wait_acknowledged
from bench_world import API_KEY, CORES, Service, cpu_seconds, free_port

# path, and what is promised over HTTP/1.1 and HTTP/2
ROUTES = {"position": ("/api/v1/positions/A000007USDT", 0.85, 0.75), "portfolio": ("/api/v1/portfolio", 0.85, 0.75),
          "exposure": ("/api/v1/portfolio/exposure", 0.85, 0.75), "pnl": ("/api/v1/portfolio/pnl", 0.85, 0.75),
          "positions (500)": ("/api/v1/positions", 0.5, 0.5)}
UNITS = {"us": 0.001, "ms": 1, "s": 1000}


def wrk(url, seconds):
    """(requests a second, p99 in ms) over HTTP/1.1 with 32 connections."""
    text = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-H", f"X-API-Key: {API_KEY}", url],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), float(p99[1]) * UNITS[p99[2]]


def read_log(path):
    """The delays in an h2load log, in ms, sorted."""
    with open(path, encoding="ascii") as log:
        delays = sorted(int(line.split()[2]) / 1000 for line in log)
    os.unlink(path)
    return delays


def quantile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))] if sorted_values else None


def real_time():
    """What runs a command ahead of all others, so that a client's own waiting for a processor is not measured; [] where
    that is not allowed."""
    command = ["chrt", "--rr", "1"]
    return command if subprocess.run([*command, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0 else []


def h2load(world, url, seconds, *options, log=False, ahead=()):
    """(requests a second, delays) over HTTP/2 with 16 connections of 32 streams, unless options say otherwise."""
    path = f"{world.directory}/h2load.log"
    arguments = [*ahead, "h2load", "-t1", f"-D{seconds}", "-H", f"X-API-Key: {API_KEY}", *(options or ("-c16", "-m32"))]
    text = subprocess.run([*arguments, *([f"--log-file={path}"] if log else []), url], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", text)
    if int(done[2]) or not int(done[1]):
        raise RuntimeError(text)
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", text)[1]), read_log(path) if log else []


def start_bare(world, tls):
    port = free_port()
    process = world.start([f"{world.build}/bench_http", str(port), str(CORES), *(world.certificate() if tls else ())])
    time.sleep(0.3)
    return process, port


def bare_path(path, body_len):
    """As long as the service's: libh2o reads and decodes that too."""
    size = f"/{body_len}-"
    return size + path[len(size):]


def with_cpu(pid, load):
    """(what load returns, CPU microseconds of the process for a request)"""
    before, started = cpu_seconds(pid), time.monotonic()
    result = load()
    return result, (cpu_seconds(pid) - before) / (result[0] * (time.monotonic() - started)) * 1e6


def measure_route(report, world, name, ours, bare, tls):
    """ours, bare: (process id, URL)"""
    _, least_1, least_2 = ROUTES[name]
    seconds = 1 if report.quick else 3
    suffix = " TLS" if tls else ""
    for version, load, least in (("HTTP/1.1", lambda url: wrk(url, seconds), least_1),
                                 ("HTTP/2", lambda url: h2load(world, url, seconds), least_2)):
        runs, bare_runs = report.interleave(lambda: with_cpu(ours[0], lambda: load(ours[1])),
                                            lambda: with_cpu(bare[0], lambda: load(bare[1])))
        label = f"GET {name} {version}{suffix}"
        report.add(label, "1/s", [run[0][0] for run in runs], [run[0][0] for run in bare_runs], at_least=least,
                   aim=(0.95 if version == "HTTP/1.1" else 0.9) if least > 0.5 else 0.9)
        report.add(f"{label}, CPU a request", "us", [run[1] for run in runs], [run[1] for run in bare_runs])
        p99, bare_p99 = ([run[0][1] for run in each] for each in (runs, bare_runs))
        if version == "HTTP/2":  # its log costs too much to be written while the rate is measured
            p99, bare_p99 = (quantile(h2load(world, url, 1, log=True)[1], 0.99) for _, url in (ours, bare))
        report.add(f"{label}, p99", "ms", p99, bare_p99)


def measure_http(world, report):
    """every GET over HTTP/1.1 and HTTP/2, without and with TLS"""
    world.empty_broker()
    world.make_database("bench", make_template(world, 500))
    for tls in (False, True):
        service = Service(world, "bench", tls=tls)
        service.wait_ready()
        bare, bare_port = start_bare(world, tls)
        scheme = "https" if tls else "http"
        for name, (path, _, _) in ROUTES.items():
            status, body = service.get(path)
            if status != 200:
                raise RuntimeError(f"GET {path}: {status}")
            measure_route(report, world, name, (service.pid, f"{scheme}://127.0.0.1:{service.port}{path}"),
                          (bare.pid, f"{scheme}://127.0.0.1:{bare_port}{bare_path(path, len(body))}"), tls)
        bare.terminate()
        bare.wait()
        service.stop()


def reads(world, service, seconds, connections, rate=None):
    """
    (requests a second, delays in ms, sorted) of GET position, each connection waiting for its answer before it asks
    again; rate: requests a second of all of them, None: as many as are answered. In the field the client has another
    machine, so it runs ahead of all others here.
    """
    url = f"http://127.0.0.1:{service.port}/api/v1/positions/A000007USDT"
    pace = [] if rate is None else [f"--rps={rate // connections}"]
    return h2load(world, url, seconds, "--h1", f"-c{connections}", "-m1", *pace, log=True, ahead=real_time())


def measure_reads(world, report):
    """GET position while events come at full speed: 1,000 a second, and half of what can be answered"""
    count, seconds = (80000, 1) if report.quick else (300000, 3)
    template, records = make_template(world, 500), executions(world, count, 500)

    def once():
        world.empty_broker()
        world.make_database("bench", template)
        service = Service(world, "bench")
        service.wait_ready()
        quiet = reads(world, service, seconds, 8, 1000)[1]
        most, all_quiet = reads(world, service, seconds, 32)
        service.stop()
        world.fill(records)
        world.sql("checkpoint")
        service = Service(world, "bench")
        service.wait_ready()
        busy = reads(world, service, seconds, 8, 1000)[1]
        half_busy = reads(world, service, seconds, 32, int(most / 2))[1]
        cut_short = service.metrics().get("deliveries_acknowledged_total", 0) >= count
        wait_acknowledged(service, count)
        service.stop()
        return quiet, busy, all_quiet, half_busy, cut_short

    runs = report.interleave(once)[0]
    note = "the queue was empty before the reads ended" if any(run[4] for run in runs) else ""
    for name, (before, after) in {"reads at full speed of events against quiet": (0, 1),
                                  "half of all possible reads at full speed of events against all quiet": (2, 3)}.items():
        for share, word, most in ((0.5, "p50", None), (0.99, "p99", 2.0)):
            report.add(f"{name}, {word}", "ms", [quantile(run[after], share) for run in runs],
                       [quantile(run[before], share) for run in runs], at_most=most, aim=1.2 if most else None, note=note)


def median_of(results, key):
    return statistics.median(result[key] for result in results)


def measure_delay(world, report):
    """from publish to visible over HTTP at 1,000 executions a second, against one hop and one commit"""
    seconds = 3 if report.quick else 15
    rate = 1000
    template = make_template(world, 500)

    def visible():
        world.empty_broker()
        world.make_database("bench", template)
        service = Service(world, "bench")
        service.wait_ready()
        result = world.run_json("bench_visible", "http", *world.amqp_arguments(), rate, seconds, service.port, API_KEY)
        service.stop()
        return result

    def hop():
        world.empty_broker()
        return world.run_json("bench_visible", "hop", *world.amqp_arguments(), rate, seconds, "bench.hop")

    def commit():
        world.make_database("bench", template)
        return world.run_json("bench_commit", world.pg_string("bench"), 1, 1, seconds)

    ours, hops, commits = report.interleave(visible, hop, commit)
    for key, word, most, aim in (("p50_ms", "p50", 3, 1.5), ("p99_ms", "p99", 5, 2), ("p999_ms", "p99.9", None, None)):
        report.add(f"publish to visible at 1,000/s, {word}", "ms", [result[key] for result in ours],
                   [one[key] + other[key] for one, other in zip(hops, commits)], at_most=most, aim=aim,
                   note=f"hop {median_of(hops, key):.2f} + commit {median_of(commits, key):.2f}")


GROUPS = {"http": measure_http, "reads": measure_reads, "delay": measure_delay}
