"""The Debian package in a bare Debian 12, and its unit under a real systemd (tests/run.sh package).

Needs root, debootstrap, systemd-nspawn and a Debian mirror. The bare system is made once a run; systemd boots in it as a
container that shares the machine's network, so that the service finds the tests' own PostgreSQL and RabbitMQ.
PM_PACKAGE names a package that is built already, PM_BARE_ROOT a bare system (it is copied).
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from test_systemd import Manager
from world import API_KEY, Broker, Database, free_port, wait_until

UNIT = "position-manager.service"
SETTINGS = "etc/position-manager/position-manager.env"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(*command, check=True, **more):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}"
    return done


@pytest.fixture(scope="module")
def package(root, tmp_path_factory):
    if "PM_PACKAGE" in os.environ:
        return Path(os.environ["PM_PACKAGE"])
    run("cmake", "--preset", "release", "-DPM_TESTS=OFF", "-DPM_FAIL_POINTS=OFF", cwd=root)
    run("cmake", "--build", "--preset", "release", "--target", "package", cwd=root)
    built = sorted((root / "build-release").glob("position-manager_*.deb"), key=lambda path: path.stat().st_mtime)
    return built[-1]


class Bare:
    """A Debian in a directory."""

    def __init__(self, path):
        self.path = path
        (path / "usr/sbin/policy-rc.d").unlink(missing_ok=True)

    def run(self, *command, check=True):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        return run("chroot", self.path, *command, check=check, env=environment)

    def apt(self, *arguments):
        return self.run("apt-get", "-q", "-y", *arguments)

    def install(self, package):
        shutil.copy(package, self.path / "tmp" / package.name)
        return self.apt("install", "--no-install-recommends", f"/tmp/{package.name}")

    def traces(self):
        """Files and users of ours, but for what apt and dpkg note about every package there ever was."""
        found = run("find", self.path, "-xdev", "-name", "*position-manager*", "-not", "-path", "*/tmp/*", "-not", "-path", "*/var/log/*",
                    "-not", "-path", "*/proc/*").stdout.split()
        users = [line for file in ("passwd", "group", "shadow") for line in (self.path / "etc" / file).read_text().splitlines()
                 if "position-manager" in line]
        return found + users


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp("bare") / "root"
    if "PM_BARE_ROOT" in os.environ:
        run("cp", "-a", "--one-file-system", os.environ["PM_BARE_ROOT"], path)
    else:
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", path)
    bare = Bare(path)
    bare.apt("update")
    yield bare
    shutil.rmtree(path, ignore_errors=True)


def test_it_installs_runs_and_leaves_nothing_in_a_bare_debian(bare, package):
    assert bare.traces() == []
    bare.install(package)
    assert bare.run("position-manager", "--version").stdout.startswith("position-manager ")
    checked = bare.run("position-manager", "--check-config", check=False)
    assert checked.returncode == 1 and "POSITION_MANAGER_API_KEY is required" in checked.stdout
    user = bare.run("getent", "passwd", "position-manager").stdout.strip().split(":")
    assert user[5:] == ["/nonexistent", "/usr/sbin/nologin"]
    assert oct((bare.path / SETTINGS).stat().st_mode & 0o7777) == "0o640"
    binary = (bare.path / "usr/bin/position-manager").read_bytes()
    assert b"before_dead_letter" not in binary, "fail points are for test builds"

    bare.apt("remove", "position-manager")
    assert (bare.path / SETTINGS).exists() and not (bare.path / "usr/bin/position-manager").exists()
    bare.apt("purge", "position-manager")
    assert bare.traces() == []


def test_lintian_has_nothing_to_say_but_what_is_meant(package):
    # Read by root only, since it has passwords in it. Called by hand, since deb-systemd-invoke would wait for the
    # database to be there.
    meant = ("non-standard-file-perm 0640", "maintainer-script-calls-systemctl", "command-with-path-in-maintainer-script")
    found = [line for line in run("lintian", "--allow-root", package, check=False).stdout.splitlines()
             if line[:2] in ("E:", "W:") and not any(word in line for word in meant)]
    assert not found, found


class Container:
    """systemd, booted in a bare Debian."""

    def __init__(self, bare, log):
        self.bare = bare
        self.log = open(log, "wb")
        self.process = subprocess.Popen(["systemd-nspawn", "--quiet", "--keep-unit", "--register=no", "--boot", "--console=pipe",
                                         f"--directory={bare.path}"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.leader = wait_until(self._leader, 30, "the container's first process")
        wait_until(lambda: self.systemctl("is-system-running", check=False).stdout.strip() in ("running", "degraded"), 60, "the boot", 0.5)

    def _leader(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return None

    def run(self, *command, check=True):
        return run("nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd", *command, check=check,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})

    def systemctl(self, *arguments, check=True):
        return self.run("systemctl", "--no-pager", *arguments, check=check)

    def show(self, name):
        return self.systemctl("show", UNIT, f"--property={name}", "--value").stdout.strip()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def container(bare, package, tmp_path_factory):
    bare.apt("install", "--no-install-recommends", "systemd", "systemd-sysv", "dbus")
    bare.install(package)
    container = Container(bare, tmp_path_factory.mktemp("boot") / "boot.log")
    yield container
    container.stop()


class Settled:
    """The service's settings, its address, and its neighbours."""

    def __init__(self, servers, name):
        self.port = free_port()
        self.broker, self.db = Broker(servers, name), Database(servers, name)
        self.values = {
            "POSITION_MANAGER_API_KEY": API_KEY, "POSITION_MANAGER_HOST": "127.0.0.1", "POSITION_MANAGER_PORT": self.port,
            "POSITION_MANAGER_PRICE_API_URL": "http://127.0.0.1:9/", "POSITION_MANAGER_SNAPSHOT_INTERVAL": 0,
            "POSTGRES_HOST": servers.pg["host"], "POSTGRES_PORT": servers.pg["port"], "POSTGRES_DB": name,
            "POSTGRES_USER": servers.pg["user"], "POSTGRES_PASSWORD": servers.pg["password"],
            "RABBITMQ_HOST": servers.amqp["host"], "RABBITMQ_PORT": servers.amqp["port"], "RABBITMQ_USER": servers.amqp["user"],
            "RABBITMQ_PASSWORD": servers.amqp["password"], "RABBITMQ_VHOST": name,
        }

    def write(self, bare):
        """Edits the package's file as a person would: what is there stays, but for the values."""
        path = bare.path / SETTINGS
        text = path.read_text()
        for key, value in self.values.items():
            text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.M)
            assert count == 1, key
        path.write_text(text)

    def get(self, path):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers={"X-API-Key": API_KEY}, timeout=5)

    def is_healthy(self):
        try:
            return self.get("/health").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def settled(servers, request):
    name = f"package_{os.getpid()}"
    servers.make_database(name)
    servers.make_vhost(name)
    return Settled(servers, name)


def test_the_installed_unit_is_in_order_and_neither_enabled_nor_started(container):
    verified = container.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{UNIT}")
    assert UNIT not in verified.stdout, verified.stdout
    assert container.show("UnitFileState") == "disabled" and container.show("ActiveState") == "inactive"


def test_without_an_api_key_it_says_why_and_gives_up_after_some_tries(container):
    container.systemctl("start", UNIT, check=False)
    wait_until(lambda: container.show("ActiveState") == "failed", 60, "the unit having failed", 0.5)
    said = container.run("journalctl", "--no-pager", "--unit", UNIT).stdout
    assert "POSITION_MANAGER_API_KEY is required" in said
    assert container.show("ExecMainStatus") == "1"
    container.systemctl("reset-failed", UNIT)


def test_enabled_it_is_ready_when_positions_can_be_read(container, settled, bare):
    settled.write(bare)
    container.systemctl("enable", "--now", UNIT)
    # The start returns when the service has said that it is ready, not before.
    assert settled.get("/health/ready").status_code == 200
    assert container.show("ActiveState") == "active"
    wait_until(settled.is_healthy, 30, "health")
    wait_until(lambda: container.show("StatusText") == "Serving", 10, "the status")
    settled.broker.fill("DEBUSDT", "Buy", "2", "100")
    wait_until(lambda: settled.get("/api/v1/positions/DEBUSDT").status_code == 200, 20, "the position")
    print(f"package: exposure {container.run('systemd-analyze', 'security', UNIT).stdout.splitlines()[-1].strip()}")


def policies_of(container):
    """{(name of a thread, its policy)} as the kernel counts them: "2" is SCHED_RR, "0" the ordinary one; field 41 of stat."""
    told = container.run("sh", "-c", f"cat /proc/{container.show('MainPID')}/task/*/stat").stdout.splitlines()
    return {(line.split()[1].strip("()"), line.split()[40]) for line in told}


def test_threads_that_answer_run_ahead_of_others_where_the_unit_may_give_the_right(container):
    limit = container.run("sh", "-c", f"grep 'Max realtime priority' /proc/{container.show('MainPID')}/limits").stdout.split()[3]
    print(f"package: realtime priority allowed to the unit here: {limit}")
    assert {policy for name, policy in policies_of(container) if name == "http"} == {"2" if limit == "1" else "0"}
    # Whether the unit's own fences let it through is seen by a right that this machine can give: in a namespace of users it is none.
    drop_ins = f"/etc/systemd/system/{UNIT}.d"
    container.run("mkdir", drop_ins)
    container.run("sh", "-c", f"printf '[Service]\\nPrivateUsers=no\\nCapabilityBoundingSet=CAP_SYS_NICE\\nAmbientCapabilities=CAP_SYS_NICE\\n' >{drop_ins}/ahead.conf")
    try:
        container.systemctl("daemon-reload")
        container.systemctl("restart", UNIT)
        policies = policies_of(container)
        assert {policy for name, policy in policies if name == "http"} == {"2"}, policies
        assert {policy for name, policy in policies if name != "http"} == {"0"}, policies
    finally:
        container.run("rm", "-r", drop_ins)
        container.systemctl("daemon-reload")
        container.systemctl("restart", UNIT)


def status_of(container, field):
    pid = container.show("MainPID")
    return container.run("sed", "-n", f"s/^{field}:[[:space:]]*//p", f"/proc/{pid}/status").stdout.strip()


def test_the_process_has_no_rights_and_sees_no_place_to_write(container):
    assert status_of(container, "NoNewPrivs") == "1"
    assert status_of(container, "Seccomp") == "2"
    assert int(status_of(container, "CapEff"), 16) == 0 and int(status_of(container, "CapBnd"), 16) == 0
    assert "0" not in status_of(container, "Uid").split()
    pid = container.show("MainPID")
    limits = container.run("cat", f"/proc/{pid}/limits").stdout
    assert re.search(r"^Max open files\s+16384\s+16384", limits, re.M), limits
    mounts = container.run("cat", f"/proc/{pid}/mounts").stdout
    assert re.search(r"^\S+ / \S+ ro[, ]", mounts, re.M), mounts


def restarts(container):
    return int(container.show("NRestarts"))


def test_killed_or_hanging_it_comes_back_with_the_same_figures(container, settled, bare):
    before = settled.get("/api/v1/positions/DEBUSDT").json()
    container.systemctl("kill", "--signal=SIGKILL", "--kill-who=main", UNIT)
    wait_until(lambda: restarts(container) == 1 and settled.is_healthy(), 40, "the first restart", 0.2)

    override = bare.path / f"etc/systemd/system/{UNIT}.d/override.conf"
    override.parent.mkdir(parents=True)
    override.write_text("[Service]\nWatchdogSec=3\n")
    container.systemctl("daemon-reload")
    container.systemctl("restart", UNIT)
    base = restarts(container)
    time.sleep(5)
    assert restarts(container) == base, "the watchdog is fed in its time, whatever that is"
    container.systemctl("kill", "--signal=SIGSTOP", "--kill-who=main", UNIT)
    wait_until(lambda: restarts(container) == base + 1 and settled.is_healthy(), 60, "the watchdog's restart", 0.2)
    after = settled.get("/api/v1/positions/DEBUSDT").json()
    assert (after["size"], after["version"]) == (before["size"], before["version"])


class Filler(threading.Thread):
    """Publishes fills of one unit, each until the broker has it, until it is told to end."""

    def __init__(self, servers, vhost):
        super().__init__(daemon=True)
        self.broker = Broker(servers, vhost)
        self.count = 0
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(0.005):
            self.broker.fill("DEBUSDT", "Buy", "1", "100")
            self.count += 1

    def finish(self):
        self.ending.set()
        self.join(30)
        assert not self.is_alive()
        return self.count


def test_an_upgrade_under_way_keeps_the_settings_and_loses_nothing(container, settled, servers, bare, package):
    text, pid = (bare.path / SETTINGS).read_text(), container.show("MainPID")
    before = settled.get("/api/v1/positions/DEBUSDT").json()
    shutil.copy(package, bare.path / "var" / package.name)
    filler = Filler(servers, settled.values["RABBITMQ_VHOST"])
    filler.start()
    wait_until(lambda: filler.count > 50, 30, "the stream")
    container.run("dpkg", "--install", f"/var/{package.name}")
    wait_until(lambda: container.show("MainPID") not in (pid, "0") and settled.is_healthy(), 60, "the new process", 0.2)
    there = filler.count
    wait_until(lambda: filler.count > there + 50, 30, "the stream after it")
    count = filler.finish()
    wanted = Decimal(before["size"]) + count
    wait_until(lambda: Decimal(settled.get("/api/v1/positions/DEBUSDT").json()["size"]) >= wanted, 60, "every fill", 0.2)
    after = settled.get("/api/v1/positions/DEBUSDT").json()
    assert (Decimal(after["size"]), after["version"]) == (wanted, before["version"] + count)
    print(f"package: upgraded under way, {count} fills meanwhile, each counted once")
    assert (bare.path / SETTINGS).read_text() == text
    (bare.path / "var" / package.name).unlink()


def test_the_options_run_with_the_units_settings(container):
    """As the manual page says."""
    done = container.run("systemd-run", "--pipe", "--wait", "--property=User=position-manager", f"--property=EnvironmentFile=/{SETTINGS}",
                         "position-manager", "--verify")
    assert "1 position" in done.stdout or "agree" in done.stdout, done.stdout


def test_a_stop_is_a_success_within_its_time(container):
    started = time.monotonic()
    container.systemctl("stop", UNIT)
    assert time.monotonic() - started < 12
    assert container.show("Result") == "success" and container.show("ExecMainStatus") == "0"


def test_removed_it_is_stopped_disabled_and_gone(container, settled, bare):
    container.systemctl("start", UNIT)
    container.run("apt-get", "-q", "-y", "remove", "position-manager")
    assert not settled.is_healthy()
    assert not (bare.path / f"etc/systemd/system/multi-user.target.wants/{UNIT}").is_symlink()
    container.run("apt-get", "-q", "-y", "purge", "position-manager")
    assert bare.traces() == []


def test_a_process_that_stood_still_as_a_whole_is_not_taken_for_stuck(world, tmp_path):
    """A machine that slept wakes up with every thread late, the watch included; none of them hangs."""
    manager = Manager(tmp_path)
    service = world.service({"NOTIFY_SOCKET": manager.path}).start()
    manager.wait_for("READY=1")
    os.kill(service.process.pid, signal.SIGSTOP)
    time.sleep(12)
    manager.heard()
    os.kill(service.process.pid, signal.SIGCONT)
    manager.wait_for("WATCHDOG=1")
    assert not [line for line in service.log() if line["event"] == "thread_stuck"]
    assert service.stop()[0] == 0
