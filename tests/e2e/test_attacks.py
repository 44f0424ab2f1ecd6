"""Clients that mean harm (attackers.py): memory and CPU stay bounded, others are served, the attacker's connections end.

The attacker is a process of the lowest priority: it takes what CPU time nobody else wants, since in the world it has a machine
of its own. What it makes the service do is not lowered by that. Where the machine left it next to nothing, so that it attacked nobody,
it is given more at the next try. The others are four connections of HTTP/1.1 that ask for one
position again and again; their rate is measured in slices before, during and after the attack, and the upper quartiles are
compared: what else the machine does only ever lowers a slice, and takes from the attacker what it would attack with. For the same
reason a measurement that fails is done again, a few times at most and each time for longer; a service that holds others up does so each
time. README.md keeps a table of what was measured.
"""

import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import attackers
import pytest
from world import API_KEY, TIMEOUT_SECONDS, World, wait_until

SCRIPT = Path(__file__).with_name("attackers.py")
ATTACK_SECONDS = 2.0
SLICE_SECONDS = 0.25
TRIES = 6
NICENESS = (19, 15, 10, 5, 0, 0)  # of the attacker, by how often it got nowhere
MEMORY_KIB_MAX = 96 * 1024
# Sanitizers and their shadow memory, or a build without optimization, are not what the figures are about.
IS_MEASURED = "PM_E2E_TIMEOUT" not in os.environ
RESULTS = os.environ.get("PM_ATTACK_RESULTS")  # a file that gets a line of figures for each attack

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """What the kernel says of the service."""

    def __init__(self, pid):
        self.path = Path("/proc") / str(pid)

    def status(self, name):
        for line in (self.path / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise KeyError(name)

    def forget_peak(self):
        (self.path / "clear_refs").write_text("5")

    def cpu_seconds(self):
        fields = (self.path / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def usual(rates):
    return statistics.quantiles(rates, n=4)[2]


class Others:
    """A closed loop of a few connections."""

    def __init__(self, port, path="/api/v1/positions/QUIETUSDT", count=4):
        self.request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\r\n".encode()
        self.port, self.count = port, count
        self.open()

    def open(self):
        self.selector = selectors.DefaultSelector()
        for _ in range(self.count):
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS)
            self.selector.register(connection, selectors.EVENT_READ)
            connection.sendall(self.request)

    def open_again(self):
        """After a pause, which on a busy machine may be longer than the service lets a connection be silent."""
        self.close()
        self.open()

    def rate(self, seconds=SLICE_SECONDS):
        count, begun = 0, time.monotonic()
        while (now := time.monotonic()) < begun + seconds:
            for key, _ in self.selector.select(begun + seconds - now):
                answer = key.fileobj.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
                count += 1
                key.fileobj.sendall(self.request)
        return count / (time.monotonic() - begun)

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


@pytest.fixture(scope="module")
def quiet(service, broker):
    broker.fill("QUIETUSDT", "Buy", "1", "100")
    service.expect("QUIETUSDT", version=1)
    return service


def start_attack(name, port, seconds, niceness=19):
    process = subprocess.Popen([sys.executable, str(SCRIPT), name, str(port), str(seconds)], stdout=subprocess.PIPE, text=True,
                               preexec_fn=lambda: os.nice(niceness))
    assert process.stdout.readline() == "go\n"
    return process


def finish_attack(process, timeout):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0
    return json.loads(output)


def measure(name, port, pid, seconds, niceness):
    """What one attack does, as a dictionary."""
    kernel, others = Process(pid), Others(port)
    try:
        kernel.forget_peak()
        memory_before = kernel.status("VmRSS")
        rates = {"before": [others.rate() for _ in range(3)]}
        process = start_attack(name, port, seconds, niceness)
        others.open_again()
        cpu_before = kernel.cpu_seconds()
        rates["during"] = [others.rate() for _ in range(int(seconds / SLICE_SECONDS))]
        cpu = (kernel.cpu_seconds() - cpu_before) / seconds
        # The last connection has half a second to be ended, without a new one.
        attacked = finish_attack(process, 120)
        others.open_again()
        rates["after"] = [others.rate() for _ in range(3)]
    finally:
        others.close()
    attacked["memory_kib"] = kernel.status("VmHWM") - memory_before
    attacked["cpu"] = cpu
    attacked["quiet"] = usual(rates["before"] + rates["after"])
    attacked["during"] = usual(rates["during"])
    attacked["share"] = attacked["during"] / attacked["quiet"]
    return attacked


def expect_idle(pid):
    """The service comes to rest: nothing of the attack is still being worked on."""
    kernel = Process(pid)

    def is_idle():
        before = kernel.cpu_seconds()
        time.sleep(0.5)
        return kernel.cpu_seconds() - before <= 0.1
    wait_until(is_idle, TIMEOUT_SECONDS, "the service being idle again", 0)


def record(name, attacked):
    if RESULTS:
        with open(RESULTS, "a") as file:
            print(f"| {name} | {attacked['opened']} | {attacked['memory_kib'] / 1024:.1f} MiB | {attacked['cpu']:.0%} | "
                  f"{attacked['quiet']:.0f} | {attacked['during']:.0f} | {attacked['share']:.2f} |", file=file)


class Waiting:
    """Slow writers and readers that do not read. They go on while the other attacks are run; the last test but a few collects them."""

    def __init__(self, port):
        self.port = port
        self.process = None

    def start(self):
        self.stop()
        # It says how long it was let, so it must be on time; what it does is little.
        self.process = start_attack("patient", self.port, 90, niceness=0)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def waiting(quiet):
    waiting = Waiting(quiet.port)
    yield waiting
    waiting.stop()


def test_who_only_waits_holds_up_nobody(quiet, waiting):
    kernel = Process(quiet.process.pid)
    for attempt in range(TRIES):
        waiting.stop()
        others = Others(quiet.port)
        kernel.forget_peak()
        memory_before = kernel.status("VmRSS")
        quiet_rate = usual([others.rate() for _ in range(6)])
        waiting.start()
        others.open_again()
        during = usual([others.rate() for _ in range(8)])
        others.close()
        memory = kernel.status("VmHWM") - memory_before
        if not IS_MEASURED or during >= quiet_rate / 2:
            break
    record("patient", {"opened": len(attackers.PATIENT) * attackers.PATIENT_EACH, "memory_kib": memory, "cpu": 0, "quiet": quiet_rate,
                       "during": during, "share": during / quiet_rate})
    if IS_MEASURED:
        assert memory <= MEMORY_KIB_MAX
        assert during >= quiet_rate / 2


@pytest.mark.parametrize("name", attackers.ATTACKS)
def test_an_attack_is_ended_and_others_are_served(quiet, name):
    pid = quiet.process.pid
    starved = 0
    for attempt in range(TRIES):
        attacked = measure(name, quiet.port, pid, ATTACK_SECONDS * (1 + attempt), NICENESS[starved])
        # The time may be over before the last connection has sent enough.
        was_ended = attacked["opened"] >= 1 and attacked["ended"] >= max(1, attacked["opened"] - 1)
        starved += not was_ended
        expect_idle(pid)
        if was_ended and (not IS_MEASURED or attacked["share"] >= 0.5):
            break
    assert was_ended, attacked
    record(name, attacked)
    if IS_MEASURED:
        assert attacked["memory_kib"] <= MEMORY_KIB_MAX, attacked
        assert attacked["share"] >= 0.5, attacked
    assert quiet.position("QUIETUSDT")["version"] == 1


def test_what_was_cut_is_counted_and_told(quiet):
    """One line a second at most, however many there were."""
    def told():
        return [line for line in quiet.log() if line["event"] == "http_connection_cut"]

    before, lines_before, started = quiet.metric("http_connections_refused_total"), len(told()), time.monotonic()
    ended = 0
    for attempt in range(TRIES):
        ended += finish_attack(start_attack("ping_flood", quiet.port, 1 + attempt, NICENESS[attempt]), 120)["ended"]
        if ended:
            break
    assert ended
    wait_until(lambda: quiet.metric("http_connections_refused_total") - before >= ended, what="the count of those that were cut")
    wait_until(lambda: any("frames" in line["reason"] for line in told()), what="a line that tells of it")
    lines = told()
    assert all(line["reason"] and line["level"] == "WARNING" for line in lines)
    # One a second for each loop, and each may have owed one from before.
    loops = next(line["threads"] for line in quiet.log() if line["event"] == "http_listening")
    assert len(lines) - lines_before <= loops * (2 + time.monotonic() - started)


def test_http2_clients_are_told_that_it_is_too_much(quiet):
    """GOAWAY with ENHANCE_YOUR_CALM, not just an end."""
    with socket.create_connection(("127.0.0.1", quiet.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(attackers.PREFACE + attackers.settings())
        heard = b""
        try:
            # The allowance grows by a hundred a second: so many are too many for a service that is held up, too.
            connection.sendall(attackers.frame(attackers.PING, 0, 0, b"12345678") * 3000)
        except OSError:
            pass
        try:
            while data := connection.recv(65536):
                heard += data
        except ConnectionResetError:
            pass
    assert b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b" in heard, heard[-200:]


def test_who_only_waited_was_not_waited_for(quiet, waiting):
    """Each kind was ended within the time that the service gives it."""
    if waiting.process is None:
        waiting.start()
    attacked = finish_attack(waiting.process, 120)
    assert attacked["ended"] == attacked["opened"], attacked
    limits = {"silent": 10, "half_a_preface": 10, "http2_head": 10, "http2_window_of_zero_with_pings": 60}
    for kind, seconds in attacked["longest_seconds"].items():
        assert seconds <= limits.get(kind, 30) + 5 + attacked["held_up_seconds"], (kind, attacked)
    expect_idle(quiet.process.pid)


@pytest.fixture
def small(servers, world, tmp_path):
    """A service of its own that may have 1,024 descriptors, so 768 connections."""
    name = f"{tmp_path.name[:30]}_{world.name}"
    servers.make_database(name)
    servers.make_vhost(name)
    binary = tmp_path / "position-manager"
    binary.write_text(f"#!/bin/sh\nulimit -n 1024\nexec '{world.binary}'\n")
    binary.chmod(0o755)
    other = World(servers, name, binary, tmp_path)
    yield other.service().start()
    other.close()


def measure_crowd(small, seconds, niceness):
    others = Others(small.port)
    quiet_rate = usual([others.rate() for _ in range(6)])
    process = start_attack("crowd", small.port, seconds, niceness)
    others.open_again()
    fresh, during = 0, []
    deadline = time.monotonic() + seconds - 0.5
    while time.monotonic() < deadline:
        during.append(others.rate())
        with socket.create_connection(("127.0.0.1", small.port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 "), "a newcomer is served among the crowd"
            fresh += 1
    others.close()
    attacked = finish_attack(process, 120)
    is_crowd = fresh >= 5 and attacked["opened"] > 1000 and attacked["ended"] > 200
    return {**attacked, "is_crowd": is_crowd, "memory_kib": 0, "cpu": 0, "quiet": quiet_rate, "during": usual(during), "share": usual(during) / quiet_rate}


def test_a_crowd_of_slow_connections_keeps_nobody_out(small):
    """More connections than there may be: the oldest of those that ask for nothing make room."""
    small.world.broker.fill("QUIETUSDT", "Buy", "1", "100")
    small.expect("QUIETUSDT", version=1)
    starved = 0
    for attempt in range(TRIES):
        attacked = measure_crowd(small, 3 * (1 + attempt), NICENESS[starved])
        starved += not attacked["is_crowd"]
        assert len(os.listdir(f"/proc/{small.process.pid}/fd")) < 1024
        expect_idle(small.process.pid)
        if attacked["is_crowd"] and (not IS_MEASURED or attacked["share"] >= 0.5):
            break
    record("crowd", attacked)
    assert attacked["is_crowd"], attacked
    if IS_MEASURED:
        assert attacked["share"] >= 0.5, attacked
    assert small.stop()[0] == 0


def test_a_header_block_that_goes_on_after_goaway_is_no_endless_work(small):
    """CONTINUATION frames behind the last GOAWAY, while an answer is still due, made libh2o 2.2.5 spin for ever."""
    half = attackers.frame(attackers.HEADERS, 0, 3, attackers.GET)
    with socket.create_connection(("127.0.0.1", small.port), timeout=TIMEOUT_SECONDS) as connection:
        # The answer to the first request cannot be sent, so that the connection is still busy when the service stops.
        connection.sendall(attackers.PREFACE + attackers.settings(window=0) + attackers.request(1) + half)
        time.sleep(0.3)
        kernel = Process(small.process.pid)
        small.process.send_signal(signal.SIGTERM)
        cpu_before, begun = kernel.cpu_seconds(), time.monotonic()
        try:
            for _ in range(20):
                connection.sendall(attackers.frame(attackers.CONTINUATION, 0, 3, b"\x90"))
                time.sleep(0.1)
        except OSError:
            pass
        if small.process.poll() is None:
            assert kernel.cpu_seconds() - cpu_before <= 0.5 * (time.monotonic() - begun)
        assert small.process.wait(timeout=10) == 0
