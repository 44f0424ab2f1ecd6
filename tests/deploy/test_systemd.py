"""The systemd unit: it is well formed and hardened, and the service speaks with systemd as the unit expects."""

import ctypes
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from world import wait_until

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "systemd" / "position-manager.service"
EXPOSURE_MAX = 1.5  # of 10; systemd calls up to 2 "OK"
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


class Unit(dict):
    """Each key's values, all of them: systemd lets a key stand more than once."""

    def __init__(self, path):
        super().__init__()
        for line in path.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, value = line.split("=", 1)
                self.setdefault(key, []).append(value)

    def one(self, key):
        assert len(self[key]) == 1, key
        return self[key][0]


@pytest.fixture
def unit():
    return Unit(UNIT)


@needs_analyze
def test_the_unit_is_well_formed(tmp_path):
    copy = tmp_path / UNIT.name
    # Only what is not installed here is put aside: the program's and the manual page's places.
    copy.write_text(re.sub(r"^Documentation=.*\n", "", UNIT.read_text(), flags=re.M).replace("/usr/bin/position-manager", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    complaints = [line for line in done.stdout.splitlines() if UNIT.name in line]
    assert done.returncode == 0 and not complaints, done.stdout


@needs_analyze
def test_the_unit_is_hardened():
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", str(UNIT)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found and float(found.group(1)) <= EXPOSURE_MAX, done.stdout


def test_the_units_times_fit_the_service(unit):
    assert unit.one("Type") == "notify"
    assert unit.one("Restart") == "always"
    assert int(unit.one("TimeoutStopSec")) > 10  # the contract's time for a stop
    assert int(unit.one("WatchdogSec")) > 2 * 10  # a thread counts as stuck after ten seconds
    assert int(unit.one("LimitNOFILE")) >= 10000 + 256  # connections, and the reserve that http/server.c keeps
    assert unit.one("EnvironmentFile") == unit.one("ConditionPathExists") == "/etc/position-manager/position-manager.env"


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def heard(self, seconds=0.0):
        """What came, line by line, until nothing more has come for that long."""
        lines = []
        self.socket.settimeout(max(seconds, 0.001))
        try:
            while True:
                lines += self.socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return lines

    def wait_for(self, line, seconds=60):
        lines, deadline = [], time.monotonic() + seconds
        while line not in lines:
            assert time.monotonic() < deadline, f"{line} did not come, but {lines}"
            lines += self.heard(0.05)
        return lines


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path)
    yield manager
    manager.socket.close()


def test_ready_is_told_when_positions_can_be_read_and_the_stop_when_it_begins(world, manager):
    service = world.service({"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "900000"}).start()
    lines = manager.wait_for("READY=1")
    assert service.get("/health/ready").status_code == 200
    if "STATUS=Serving" not in lines:  # it is told once
        manager.wait_for("STATUS=Serving")
    # Fed three times in the watchdog's time of 0.9 s; a busy machine may be late, but not each time.
    took = []
    while not took or took[-1] >= 6 * 0.9:
        assert len(took) < 5, took
        manager.heard()
        started, fed = time.monotonic(), 0
        while fed < 6:
            fed += manager.heard(0.05).count("WATCHDOG=1")
        took.append(time.monotonic() - started)
    assert service.stop()[0] == 0
    assert "STOPPING=1" in manager.heard()


def test_a_start_that_waits_for_the_database_is_not_given_up(world, manager):
    service = world.service({"NOTIFY_SOCKET": manager.path, "POSTGRES_PORT": "1"}).start(healthy=False)
    lines = manager.wait_for("STATUS=Starting: waiting for PostgreSQL")
    for _ in range(2):
        lines += manager.wait_for("EXTEND_TIMEOUT_USEC=60000000")
    assert "READY=1" not in lines
    assert service.stop()[0] == 0


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


class Stopped:
    """One thread of a process, stopped while the others go on."""

    def __init__(self, pid, name):
        tasks = Path(f"/proc/{pid}/task")
        self.thread = next(int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == name)
        self.libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(self, request):
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        assert self.libc.ptrace(request, self.thread, None, None) == 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        self.ptrace(PTRACE_SEIZE)
        self.ptrace(PTRACE_INTERRUPT)
        os.waitpid(self.thread, 0x40000000)  # __WALL: threads too

    def __exit__(self, *_):
        self.ptrace(PTRACE_DETACH)


def test_a_stuck_thread_starves_the_watchdog_although_others_still_answer(world, manager):
    service = world.service({"NOTIFY_SOCKET": manager.path, "POSITION_MANAGER_HTTP_THREADS": "1"}).start()
    manager.wait_for("READY=1")
    with Stopped(service.process.pid, "shard"):
        manager.wait_for("STATUS=Stuck: a thread does not go round")
        manager.heard()
        answer = service.get("/health/live")
        assert (answer.status_code, answer.json()["status"]) == (503, "stuck")
        time.sleep(1.5)
        assert "WATCHDOG=1" not in manager.heard()
    manager.wait_for("WATCHDOG=1")
    assert service.get("/health/live").status_code == 200
    wait_until(lambda: "thread_recovered" in [line["event"] for line in service.log()], what="the log line")
    events = [line["event"] for line in service.log()]
    assert events.count("thread_stuck") == 1 and events.count("thread_recovered") == 1
    assert service.stop()[0] == 0
