"""The image and the compose file on a real Docker Engine: tests/run.sh compose. Takes minutes, root, and Debian's packages
docker.io, docker-compose and debootstrap.

A clean clone is brought up with the demo while a second, recorded stream is published; each container's main process is
killed in turn, then everything goes down and up again. At the end the recorded stream is folded by SQL that knows nothing of
the service (tests/e2e/recount.sql) and compared with the rows, digit for digit, and the service's own --verify is run.

The engine is started for this test, with all its data below one directory, and is gone afterwards. Official images cannot be
pulled where no registry is reached: compose.stand-in.yml names local ones. PM_COMPOSE_DIRECTORY keeps engine and images
between runs. Lines that start with "compose: " are figures for README.md.

PM_COMPOSE_PICTURES=/somewhere lets the demo go on for PM_COMPOSE_MINUTES (10) and then keeps pictures of both dashboards there,
as the stack's own Prometheus answers their queries; that needs the packages chromium, fonts-dejavu-core and pngquant.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from pathlib import Path

import pika
import pytest
from observed import Asked, dashboards, filled_in, panels
from recount_stream import Stream, encode
from screenshots import draw
from world import MARKET_QUEUE, ORDER_QUEUE, free_port, wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAND_IN = "position-manager-stand-in"
LINTER = "dockerfile-utils@0.16.3"
SERVERS = ("postgres", "rabbitmq", "prometheus", "grafana")
ALL = ("position-manager", *SERVERS, "demo")
QUEUES = {"executions": ORDER_QUEUE, "market": MARKET_QUEUE}
FIGURES = ("size", "average_entry_price", "current_price", "unrealized_pnl", "realized_pnl", "fees_paid", "long_size", "short_size",
           "long_avg_price", "short_avg_price")
SECRETS = ("POSITION_MANAGER_API_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD")
SEED = int(os.environ.get("PM_RECOUNT_SEED", "20261122"))
RATE = 60


def say(*words):
    print("compose:", *words, flush=True)


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert not check or done.returncode == 0, f"{' '.join(str(word) for word in command)}\n{done.stdout[-4000:]}"
    return done.stdout


class Engine:
    """A Docker Engine of its own."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.host = f"unix://{self.directory}/docker.sock"
        self.environment = {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0",
                            "COMPOSE_PROJECT_NAME": "pmcompose", "COMPOSE_HTTP_TIMEOUT": "300"}
        self.process = None
        self.had_bridge = Path("/sys/class/net/docker0").exists()
        self.forwards = "-P FORWARD ACCEPT" in run("iptables", "-S", "FORWARD", check=False)

    def answers(self):
        return subprocess.run(["docker", "version"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def start(self):
        if self.answers():
            return
        log = open(self.directory / "dockerd.log", "ab")
        self.process = subprocess.Popen(
            ["dockerd", "--data-root", self.directory / "data", "--exec-root", self.directory / "exec", "--pidfile",
             self.directory / "docker.pid", "--host", self.host], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(self.answers, 60, "the engine answering", 0.5)
        except AssertionError:
            raise AssertionError((self.directory / "dockerd.log").read_text()[-3000:]) from None

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            # An engine leaves these behind.
            if self.forwards:
                run("iptables", "-P", "FORWARD", "ACCEPT", check=False)
            if not self.had_bridge:
                run("ip", "link", "delete", "docker0", check=False)

    def docker(self, *arguments, **options):
        return run("docker", *arguments, env=self.environment, **options)

    def inspect(self, name):
        return json.loads(self.docker("inspect", name))[0]

    def has_image(self, name):
        return subprocess.run(["docker", "image", "inspect", name], env=self.environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def make_base(self):
        """Debian 12 without documents, as the slim image is."""
        if self.has_image(f"{STAND_IN}:base"):
            return
        tree = self.directory / "base"
        shutil.rmtree(tree, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "bookworm", tree)
        for pattern in ("usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "var/cache/apt/*", "var/lib/apt/lists/*"):
            for path in tree.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        run("sh", "-c", f"tar -C {tree} -c . | docker import - {STAND_IN}:base", env=self.environment)
        shutil.rmtree(tree)

    def make_stand_ins(self):
        for name in SERVERS:
            self.docker("build", "--target", name, "--build-arg", f"BASE={STAND_IN}:base", "--tag", f"{STAND_IN}:{name}", HERE / "stand-in")


class Stack:
    """The compose file's containers, from a clean clone."""

    def __init__(self, engine, clone):
        self.engine = engine
        self.clone = clone
        run("git", "-c", f"safe.directory={ROOT}", "clone", "--quiet", ROOT, clone)
        run(clone / "deploy" / "make-env.sh")
        self.environment = {**engine.environment, "IMAGE_BASE": f"{STAND_IN}:base",
                            "IMAGE_REVISION": run("git", "-C", clone, "rev-parse", "--short=12", "HEAD").strip()}
        self.settings = {}
        self._write_env()

    def _write_env(self):
        path = self.clone / "deploy" / ".env"
        lines = path.read_text()
        for name, value in {"POSITION_MANAGER_PORT": free_port(), "RABBITMQ_PORT": free_port(),
                            "POSITION_MANAGER_RATE_LIMIT_ENABLED": "false",
                            # So that the panels of the limit have something to show.
                            "POSITION_MANAGER_PORTFOLIO_MAX_EXPOSURE_USDT": "150000",
                            # Nobody answers there: a test never asks a real exchange.
                            "POSITION_MANAGER_PRICE_API_URL": "http://127.0.0.1:9/v5/market/tickers"}.items():
            lines, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", lines)
            assert count == 1, name
        for name in ("RABBITMQ_MANAGEMENT_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"):
            lines += f"{name}={free_port()}\n"
        path.write_text(lines)
        self.settings = dict(line.split("=", 1) for line in lines.splitlines() if line and not line.startswith("#"))

    def compose(self, *arguments, **options):
        files = ("-f", self.clone / "deploy" / "docker-compose.yml", "-f", self.clone / "tests" / "deploy" / "compose.stand-in.yml")
        return run("docker-compose", *files, "--profile", "demo", *arguments, env=self.environment, **options)

    def container(self, name):
        return f"pmcompose_{name}_1"

    def state(self, name):
        return self.engine.inspect(self.container(name))["State"]

    def is_well(self, name):
        state = self.state(name)
        return state["Running"] and state.get("Health", {"Status": "healthy"})["Status"] == "healthy"

    def wait_well(self, names=ALL, timeout=240):
        for name in names:
            try:
                wait_until(lambda: self.is_well(name), timeout, f"{name} being well", 0.5)  # noqa: B023
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.engine.docker('logs', '--tail', '30', self.container(name), check=False)}") from None

    def exec(self, name, *command, **options):
        return self.engine.docker("exec", *(("-i",) if "input" in options else ()), self.container(name), *command, **options)

    def ask(self, port, path, headers=()):
        request = urllib.request.Request(f"http://127.0.0.1:{self.settings[port]}{path}", headers=dict(headers))
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()

    def service(self, path):
        return json.loads(self.ask("POSITION_MANAGER_PORT", path, {"X-API-Key": self.settings["POSITION_MANAGER_API_KEY"]})[1])

    def is_ready(self):
        try:
            return self.ask("POSITION_MANAGER_PORT", "/health/ready")[0] == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def management(self, path):
        word = base64.b64encode(f"{self.settings['RABBITMQ_USER']}:{self.settings['RABBITMQ_PASSWORD']}".encode()).decode()
        return json.loads(self.ask("RABBITMQ_MANAGEMENT_PORT", path, {"Authorization": f"Basic {word}"})[1])

    def sql(self, database, statement):
        return self.exec("postgres", "psql", "-U", self.settings["POSTGRES_USER"], "-d", database, "-v", "ON_ERROR_STOP=1", "-qAt",
                         "-F", "|", input=statement)

    def messages_waiting(self):
        queues = {queue["name"]: queue for queue in self.management("/api/queues")}
        return sum(queues[name].get("messages", 1) for name in (MARKET_QUEUE, ORDER_QUEUE))


class Recorder(threading.Thread):
    """Publishes the stream of the recount at a steady pace, each message until the broker has confirmed it, and keeps it."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.stack = stack
        self.stream = Stream(SEED, around_crashes=True)
        self.messages = []
        self.ending = threading.Event()
        self.retries = 0
        self.channel = None
        self.failure = None

    def _messages(self):
        yield from self.stream.openings()
        while True:
            yield self.stream.execution()
            yield self.stream.market()

    def _connect(self):
        settings = self.stack.settings
        credentials = pika.PlainCredentials(settings["RABBITMQ_USER"], settings["RABBITMQ_PASSWORD"])
        parameters = pika.ConnectionParameters("127.0.0.1", int(settings["RABBITMQ_PORT"]), credentials=credentials, socket_timeout=5)
        self.channel = pika.BlockingConnection(parameters).channel()
        self.channel.confirm_delivery()

    def _publish(self, message):
        queue, message_id, body, _ = message
        properties = pika.BasicProperties(delivery_mode=2, content_type="application/json", message_id=message_id)
        while True:
            try:
                if self.channel is None:
                    self._connect()
                self.channel.basic_publish("", QUEUES[queue], encode(body).encode(), properties, mandatory=True)
                return
            except (pika.exceptions.AMQPError, OSError):
                self.channel = None
                self.retries += 1
                time.sleep(0.3)

    def run(self):
        try:
            started = time.monotonic()
            for message in self._messages():
                if self.ending.is_set():
                    break
                self._publish(self.stream.remember(message))
                self.messages.append(message)
                time.sleep(max(0.0, min(1 / RATE, started + len(self.messages) / RATE - time.monotonic())))
        except Exception as error:  # noqa: BLE001 # told by the test that joins
            self.failure = error

    def finish(self):
        self.ending.set()
        self.join(60)
        assert self.failure is None and not self.is_alive(), self.failure

    def table(self):
        rows = ("\t".join((str(seq), queue, message_id or "\\N", encode(body), planted or "\\N"))
                for seq, (queue, message_id, body, planted) in enumerate(self.messages))
        return "copy published from stdin;\n" + "\n".join(rows) + "\n\\.\n"


@pytest.fixture(scope="module")
def engine():
    kept = os.environ.get("PM_COMPOSE_DIRECTORY")
    directory = kept or tempfile.mkdtemp(prefix="pm-compose.", dir="/tmp")
    engine = Engine(directory)
    try:
        engine.start()
        engine.make_base()
        engine.make_stand_ins()
        yield engine
    finally:
        engine.stop()
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def stack(engine, tmp_path_factory):
    stack = Stack(engine, tmp_path_factory.mktemp("compose") / "clone")
    started = time.monotonic()
    stack.compose("build")
    say(f"images built in {time.monotonic() - started:.0f} s")
    try:
        started = time.monotonic()
        stack.compose("up", "-d")
        stack.wait_well()
        say(f"everything up and healthy in {time.monotonic() - started:.0f} s")
        yield stack
    finally:
        stack.compose("down", "-v", "-t", "20", check=False)


@pytest.fixture(scope="module")
def recorder(stack):
    recorder = Recorder(stack)
    recorder.start()
    yield recorder
    recorder.ending.set()


def test_the_image_is_small_and_holds_only_what_runs(engine, stack):
    image = engine.inspect("position-manager:local")
    base = engine.inspect(f"{STAND_IN}:base")["Size"]
    say(f"image: {image['Size'] / 1e6:.1f} MB, of which {base / 1e6:.1f} MB are the base; demo {engine.inspect('position-manager-demo:local')['Size'] / 1e6:.1f} MB")
    assert image["Size"] - base < 20e6
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == stack.environment["IMAGE_REVISION"]
    assert f"{labels['org.opencontainers.image.version']} ({stack.environment['IMAGE_REVISION']})" in stack.exec("position-manager", "position-manager", "--version")
    assert image["Config"]["User"] == "10001:10001"
    tools = stack.exec("position-manager", "sh", "-c", "ls /usr/bin | grep -E '^(gcc|cc|cmake|ninja|git|curl|python3.*)$' || true")
    assert tools == "" and stack.exec("position-manager", "sh", "-c", "ls /source /usr/include/openssl 2>/dev/null || true") == ""


def test_the_process_is_not_root_and_can_write_nowhere(engine, stack):
    status = dict(line.split(":\t", 1) for line in stack.exec("position-manager", "cat", "/proc/1/status").splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    host = engine.inspect(stack.container("position-manager"))["HostConfig"]
    assert host["ReadonlyRootfs"] and not host["Privileged"] and not host["Binds"]
    for path in ("/tmp/x", "/usr/x", "/x"):
        written = subprocess.run(["docker", "exec", stack.container("position-manager"), "touch", path], env=engine.environment, capture_output=True)
        assert written.returncode != 0 and b"Read-only file system" in written.stderr
    assert engine.docker("diff", stack.container("position-manager")) == ""


def test_every_container_has_its_limits_and_a_log_that_ends(engine, stack):
    for name in ALL:
        host = engine.inspect(stack.container(name))["HostConfig"]
        assert host["Memory"] > 0 and host["NanoCpus"] > 0 and host["PidsLimit"] > 0, name
        assert host["LogConfig"]["Type"] == "json-file" and {"max-size", "max-file"} <= set(host["LogConfig"]["Config"]), name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name


def secrets_of(stack):
    grafana = (stack.clone / "deploy" / ".env.grafana").read_text().split("=", 1)[1].strip()
    return [stack.settings[name] for name in SECRETS] + [grafana]


def test_no_secret_is_anywhere_but_in_the_environment(engine, stack):
    secrets = secrets_of(stack)
    assert all(len(secret) == 48 for secret in secrets)
    for image in ("position-manager:local", "position-manager-demo:local"):
        archive = stack.clone.parent / "image.tar"
        engine.docker("save", "-o", archive, image)
        for words in (*secrets, "POSITION_MANAGER_API_KEY="):
            found = subprocess.run(["grep", "-acF", words, archive], stdout=subprocess.PIPE, text=True).stdout.strip()
            # The program has the example of the settings in it, with nothing behind the sign.
            assert found == "0" or (words.endswith("=") and words not in engine.docker("history", "--no-trunc", image)), (image, words)
        archive.unlink()
        history = engine.docker("history", "--no-trunc", image)
        assert not any(secret in history for secret in secrets)
    for name in ALL:
        told = engine.inspect(stack.container(name))
        environment = told["Config"].pop("Env")
        assert not any(secret in json.dumps(told) for secret in secrets), name
        mine = {secret for secret in secrets if any(secret in entry for entry in environment)}
        allowed = {"position-manager": secrets[:3], "postgres": secrets[1:2], "rabbitmq": secrets[2:3], "demo": secrets[2:3], "grafana": secrets[3:]}
        assert mine <= set(allowed.get(name, ())), name
        logs = engine.docker("logs", stack.container(name))
        assert not any(secret in logs for secret in secrets), name
    # What RabbitMQ was told has the hash only, and is in memory.
    rendered = stack.exec("rabbitmq", "cat", "/run/position-manager/definitions.json")
    assert "password_hash" in rendered and not any(secret in rendered for secret in secrets)
    assert " tmpfs " in stack.exec("rabbitmq", "grep", "/run/position-manager", "/proc/mounts")


def test_the_broker_has_the_queues_the_user_and_the_policy(stack):
    assert [user["name"] for user in stack.management("/api/users")] == [stack.settings["RABBITMQ_USER"]]
    wait_until(lambda: all("messages" in queue for queue in stack.management("/api/queues")), 30, "the broker counting")
    policies = {queue["name"]: queue.get("policy") for queue in stack.management("/api/queues")}
    bounded = {name for name, policy in policies.items() if policy}
    assert bounded == {f"position-manager.{name}" for name in ("position_updated", "portfolio_updated", "position_snapshot_created")}
    assert set(policies) - bounded == {MARKET_QUEUE, ORDER_QUEUE, "position-manager.dead_letter"}


class Callers(threading.Thread):
    """What a few callers of the interface ask, until they are told to end."""

    PATHS = ("/api/v1/portfolio", "/api/v1/positions", "/api/v1/positions/BTCUSDT", "/api/v1/portfolio/exposure", "/api/v1/positions/NOUSDT")

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.stack = stack
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(0.1):
            for path in self.PATHS:
                try:
                    self.stack.service(path)
                except OSError:  # an HTTP error too: nobody holds NOUSDT
                    pass


@pytest.fixture
def callers(stack):
    callers = Callers(stack)
    callers.start()
    yield
    callers.ending.set()
    callers.join(30)


def lines_of(prometheus, panel, seconds):
    """Every line of a panel, as the points of its last seconds."""
    return [points for target in panel["targets"] for _, points in prometheus.query_range(filled_in(target["expr"]), seconds, 5)]


# What may stand still for minutes while all is well and the machine is quick.
STILL = {"Refused, by reason", "Repeats", "Conflicts", "Discrepancies", "Connections lost", "Prices asked for", "Mailboxes between threads",
         "File descriptors", "Memory", "Waiting inside", "Age of the oldest unsettled delivery", "Positions in a commit", "Positions"}


def test_figures_move_in_every_panel_of_both_dashboards(stack, callers):
    """With the demo alone, as whoever tries it sees them. The stack's own Prometheus is asked what Grafana would ask it."""
    prometheus, moved = Asked(stack.settings["PROMETHEUS_PORT"]), 0
    for name, dashboard in dashboards(stack.clone).items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                wait_until(lambda: [one for one in prometheus.query(filled_in(target["expr"])) if one[1] == one[1]], 90,  # noqa: B023
                           f"something to show in {name}, {panel['title']}: {target['expr']}", 1)
            if panel["type"] == "timeseries" and panel["title"] not in STILL:
                enough = all if panel["title"].endswith("by asset") else any
                wait_until(lambda: enough(len({value for _, value in points}) > 1 for points in lines_of(prometheus, panel, 60)), 90,  # noqa: B023
                           f"lines that move in {name}, {panel['title']}", 1)
                moved += 1
    shown = sum(len(panels(dashboard)) for dashboard in dashboards(stack.clone).values())
    say(f"dashboards: {shown} panels, each with something to show, and lines that move in {moved} of them")
    assert moved >= 15
    if "PM_COMPOSE_PICTURES" in os.environ:
        seconds = float(os.environ.get("PM_COMPOSE_MINUTES", "10")) * 60
        time.sleep(seconds)
        draw(prometheus, Path(os.environ["PM_COMPOSE_PICTURES"]).resolve(), seconds)


def test_figures_move_and_prometheus_sees_them(stack, recorder):
    def asked(query):
        answer = stack.ask("PROMETHEUS_PORT", "/api/v1/query?" + urllib.parse.urlencode({"query": query}))[1]
        result = json.loads(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def demo_figures():
        return {**stack.service("/api/v1/portfolio?asset=BTCUSDT"), "calculated_at": None}
    before = demo_figures()
    assert before["open_positions_count"] <= 1
    wait_until(lambda: demo_figures() != before, 60, "figures that move", 0.5)
    wait_until(lambda: asked('up{job="position-manager"}') == 1, 60, "a scrape", 1)
    wait_until(lambda: asked('up{job="rabbitmq"}') == 1, 60, "a scrape of the broker", 1)
    first = asked("sum(position_manager_executions_total)")
    wait_until(lambda: asked("sum(position_manager_executions_total)") > first, 90, "a series that moves", 1)
    assert json.loads(stack.ask("GRAFANA_PORT", "/api/health")[1])["database"] == "ok"


def seconds_of(stamp):
    return datetime.fromisoformat(re.sub(r"\.(\d{6})\d*Z", r".\1+00:00", stamp)).timestamp()


def test_each_container_is_killed_in_turn_and_comes_back(stack, recorder):
    """The main process is killed from outside: `docker kill` would count as a stop, after which nothing is started again."""
    for name in ALL:
        # The demo may just be waiting to be started again: it ends when its broker goes. A process 0 would be this whole group.
        wait_until(lambda: stack.state(name)["Pid"] > 0, 90, f"{name} running", 0.1)  # noqa: B023
        before = stack.engine.inspect(stack.container(name))
        published = len(recorder.messages)
        assert before["State"]["Pid"] > 1
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: stack.engine.inspect(stack.container(name))["RestartCount"] > before["RestartCount"], 60, f"{name} restarting", 0.1)  # noqa: B023
        stack.wait_well([name])
        say(f"{name}: killed, well again after {time.monotonic() - killed:.1f} s")
        wait_until(lambda: len(recorder.messages) > published + RATE, 60, "the stream going on", 0.2)  # noqa: B023
        wait_until(stack.is_ready, 60, "the service being ready")
    stack.wait_well()
    say(f"{len(recorder.messages)} messages recorded, {recorder.retries} times tried again")


def comparable(stack):
    """What must be the same after a restart: not the age of things, nor whether it is too old."""
    positions = stack.service("/api/v1/positions")["positions"]
    for position in positions:
        del position["time_held_minutes"], position["price_stale"]
    portfolio = stack.service("/api/v1/portfolio")
    del portfolio["calculated_at"]
    return positions, portfolio


def test_figures_are_intact_after_the_kills_and_after_all_went_down_and_up(stack, recorder):
    recorder.finish()
    stack.compose("stop", "-t", "20", "demo")
    wait_until(lambda: stack.messages_waiting() == 0, 240, "everything being taken", 1)
    # The broker's figures are some seconds old.
    time.sleep(6)
    assert stack.messages_waiting() == 0
    compare_with_recount(stack, recorder)
    before = comparable(stack)

    memory = stack.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").replace("pmcompose_", "").splitlines()
    say("memory:", "; ".join(line.strip() for line in memory))
    stack.compose("stop", "-t", "20", "position-manager")
    ended = stack.state("position-manager")
    took = seconds_of(ended["FinishedAt"]) - seconds_of(ended["StartedAt"])
    assert ended["ExitCode"] == 0 and took > 0
    stack.compose("down", "-t", "60")
    assert stack.engine.docker("ps", "-aq", "--filter", "label=com.docker.compose.project=pmcompose") == ""

    started = time.monotonic()
    stack.compose("up", "-d", *[name for name in ALL if name != "demo"])
    stack.wait_well([name for name in ALL if name != "demo"])
    say(f"all down, and up and healthy again in {time.monotonic() - started:.0f} s")
    assert comparable(stack) == before
    compare_with_recount(stack, recorder)


def compare_with_recount(stack, recorder):
    verified = stack.exec("position-manager", "position-manager", "--verify")
    say("--verify:", verified.strip().splitlines()[-1])
    database = stack.settings["POSTGRES_DB"]
    stack.sql("postgres", "drop database if exists recount")
    stack.sql("postgres", "create database recount")
    stack.sql("recount", (ROOT / "tests" / "e2e" / "recount.sql").read_text() + recorder.table() + "select recount();")
    figures = ", ".join(FIGURES)
    # The demo's assets are other ones.
    expected = stack.sql("recount", f"select asset, mode, {figures} from recounted order by 1, 2").splitlines()
    stored = f"select asset, mode, {figures} from positions where asset ~ '^R[0-9]{{3}}USDT$' order by 1, 2"
    found = stack.sql(database, stored).splitlines()
    assert len(expected) > 400
    # One digit that is wrong would be seen.
    planted = stack.sql(database, "begin; update positions set realized_pnl = realized_pnl + 0.00000001 where asset = 'R001USDT';" + stored + "; rollback")
    assert planted.splitlines() != expected
    assert found == expected, [pair for pair in zip(found, expected) if pair[0] != pair[1]][:5]
    say(f"recount: {len(recorder.messages)} messages, {len(expected)} positions, every digit equal")
    stack.sql("postgres", "drop database recount")


def test_the_service_starts_and_stops_quickly(stack):
    starts, stops = [], []
    for _ in range(5):
        began = time.monotonic()
        stack.engine.docker("stop", "-t", "15", stack.container("position-manager"))
        stops.append(time.monotonic() - began)
        assert stack.state("position-manager")["ExitCode"] == 0
        stack.engine.docker("start", stack.container("position-manager"))
        wait_until(stack.is_ready, 30, "the service being ready", 0.01)
        starts.append(time.time() - seconds_of(stack.state("position-manager")["StartedAt"]))
    say(f"start: ready {min(starts):.2f} to {max(starts):.2f} s after the engine started the process; stop {min(stops):.2f} to {max(stops):.2f} s")
    assert max(starts) < 15 and max(stops) < 10


# The Dockerfiles

@pytest.fixture(scope="module")
def linter(tmp_path_factory):
    """hadolint is in no registry reached here; this is the linter of the editors' Docker extensions."""
    directory = tmp_path_factory.mktemp("linter")
    installed = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", directory, LINTER],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert installed.returncode == 0, installed.stdout
    return directory / "node_modules" / ".bin" / "dockerfile-utils"


def lint(linter, path):
    return subprocess.run([linter, "lint", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


def test_the_linter_has_nothing_to_say(linter, tmp_path):
    for path in (ROOT / "Dockerfile", ROOT / "tests" / "deploy" / "stand-in" / "Dockerfile"):
        assert lint(linter, path).strip() == ""
    broken = tmp_path / "Dockerfile"
    broken.write_text((ROOT / "Dockerfile").read_text().replace("EXPOSE 4800", "EXPOSE port\nMAINTAINER nobody"))
    assert lint(linter, broken).strip() != "", "the linter no longer barks"
