"""What the tests see of the world: servers, a broker connection, a database connection, a running service."""

import contextlib
import ctypes
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pika
import pika.exceptions
import psycopg2

MARKET_QUEUE = "ws-gateway.position"
ORDER_QUEUE = "order-manager.order_executed"
DEAD_LETTER_QUEUE = "position-manager.dead_letter"
POSITION_QUEUE = "position-manager.position_updated"
PORTFOLIO_QUEUE = "position-manager.portfolio_updated"
SNAPSHOT_QUEUE = "position-manager.position_snapshot_created"
API_KEY = "e2e-key-0123456789"
TIMEOUT_SECONDS = float(os.environ.get("PM_E2E_TIMEOUT", "60"))
PORTS = range(30000, 32768)  # above those of the private servers, below those that the kernel gives to clients


def wait_until(condition, timeout=TIMEOUT_SECONDS, what="the condition", interval=0.02):
    """Calls condition until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout} s"
        time.sleep(interval)


def seed_of_run(variable):
    """
    The seed of a random test: the same in every run, so that no change is refused for what chance found in it. The variable names another,
    or "fresh" for one that nobody has tried; the runs that look for new ones set that (tests/run.sh).
    """
    said = os.environ.get(variable, "1")
    return random.SystemRandom().randrange(10**9) if said == "fresh" else int(said)


def rfc3339(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text):
    """The time that an RFC 3339 text names. Fractions are trimmed, so the texts themselves do not sort by time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


_port_locks = None
_ports_taken = set()


def free_port():
    """A port that nobody has, nor takes while this process lives: neither a client's connection, nor the tests of another process."""
    global _port_locks
    if _port_locks is None:
        _port_locks = open(f"/tmp/pm-test-ports-{os.getuid()}", "ab")
    while True:
        port = random.SystemRandom().choice(PORTS)
        if port in _ports_taken:
            continue
        try:
            # Of one byte, given back by the kernel when the process has ended.
            fcntl.lockf(_port_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            continue
        _ports_taken.add(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def die_with_the_tests():
    """Runs in the child before the service: tests that are killed leave no service behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Servers:
    def __init__(self, root, environment):
        self.root = root
        self.directory = environment["PM_TEST_SERVERS"]
        self.pg = {"host": environment["PM_TEST_PG_HOST"], "port": environment["PM_TEST_PG_PORT"],
                   "user": environment["PM_TEST_PG_USER"], "password": environment["PM_TEST_PG_PASSWORD"]}
        self.amqp = {"host": environment["PM_TEST_AMQP_HOST"], "port": environment["PM_TEST_AMQP_PORT"],
                     "user": environment["PM_TEST_AMQP_USER"], "password": environment["PM_TEST_AMQP_PASSWORD"]}

    def make_database(self, name):
        connection = psycopg2.connect(dbname="postgres", **self.pg)
        connection.autocommit = True
        connection.cursor().execute(f'create database "{name}"')
        connection.close()

    def ctl(self, *arguments):
        script = str(self.root / "tests" / "tools" / "servers.sh")
        return subprocess.run([script, "ctl", self.directory, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    def erlang(self, expression):
        """What an expression gives in the broker's node, as text. rabbitmqctl would take a second for each."""
        node = Path(self.directory) / "rabbitmq"
        name, cookie, epmd = ((node / file).read_text().strip() for file in ("name", ".erlang.cookie", "epmd_port"))
        command = ["erl_call", "-r", "-name", f"pm-{name}@127.0.0.1", "-c", cookie, "-e"]

        def ask():
            # Two that ask in the same moment may bear the same name, and one of them is sent away.
            done = subprocess.run(command, input=expression + "\n", text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  env={**os.environ, "ERL_EPMD_PORT": epmd, "HOME": str(node)})
            return done.stdout if done.returncode == 0 else None
        return wait_until(ask, what="an answer of the broker's node", interval=0.1)

    def make_vhost(self, name):
        everything = '<<".*">>'
        done = self.erlang(f'rabbit_vhost:add(<<"{name}">>, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
                           f'<<"{self.amqp["user"]}">>, <<"{name}">>, {everything}, {everything}, {everything}, <<"tests">>).')
        assert done.startswith("{ok, ok}"), done

    def queue_counts(self, vhost):
        """{queue: (ready, unacknowledged)}"""
        # A tuple each: a list of small numbers would be shown as a text.
        expression = ('[list_to_tuple([binary_to_list(element(4, amqqueue:get_name(Q))) | [N || {_, N} <- rabbit_amqqueue:info(Q, '
                      f'[messages_ready, messages_unacknowledged])]]) || Q <- rabbit_amqqueue:list(<<"{vhost}">>)].')

        def ask():
            # A queue that goes away meanwhile, or does not answer in time, makes it an error, which is no empty list.
            output = self.erlang(expression)
            return output if output.startswith("{ok, [") else None
        output = wait_until(ask, what="the counts of the queues", interval=0.1)
        return {name: (int(ready), int(unacknowledged)) for name, ready, unacknowledged in re.findall(r'\{"([^"]+)", (\d+), (\d+)\}', output)}


@contextlib.contextmanager
def private_servers(root, prefix):
    """Servers of one's own, gone at the end."""
    directory = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    script = str(root / "tests" / "tools" / "servers.sh")
    try:
        output = subprocess.run([script, "start", directory], check=True, stdout=subprocess.PIPE, text=True).stdout
        yield Servers(root, dict(line.split("=", 1) for line in output.splitlines()))
    finally:
        subprocess.run([script, "stop", directory], check=False)
        shutil.rmtree(directory, ignore_errors=True)


class Broker:
    """Publishes what upstream services publish, and reads what the service publishes."""

    def __init__(self, servers, vhost):
        self.parameters = pika.ConnectionParameters(
            host=servers.amqp["host"], port=int(servers.amqp["port"]), virtual_host=vhost, heartbeat=0,
            credentials=pika.PlainCredentials(servers.amqp["user"], servers.amqp["password"]))
        self.connect()

    def connect(self):
        self.connection = pika.BlockingConnection(self.parameters)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def publish(self, queue, body, message_id=None, headers=None):
        """body: bytes as they are, or an object. Returns the bytes that were sent."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties = pika.BasicProperties(delivery_mode=2, content_type="application/json", message_id=message_id, headers=headers)
        self.channel.basic_publish("", queue, data, properties, mandatory=True)
        return data

    def declare(self, queue, **arguments):
        self.channel.queue_declare(queue, durable=True, **arguments)

    def get(self, queue):
        """(properties, body) of the next message, or None. It is taken out."""
        method, properties, body = self.channel.basic_get(queue, auto_ack=True)
        return None if method is None else (properties, body)

    def drain(self, queue):
        messages = []
        while (message := self.get(queue)) is not None:
            messages.append(message)
        return messages

    def depth(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def fill(self, asset, side, quantity, price, queue=ORDER_QUEUE, message_id=None, **fields):
        event = fill_event(asset, side, quantity, price, **fields)
        self.publish(queue, event, message_id)
        return event

    def nested(self, asset, side, filled, average, order_id, **fields):
        event = nested_event(asset, side, filled, average, order_id, **fields)
        self.publish(ORDER_QUEUE, event)
        return event

    def market(self, asset, at=None, **data):
        event = market_event(asset, at, **data)
        self.publish(MARKET_QUEUE, event)
        return event


def without_none(event):
    return {key: value for key, value in event.items() if value is not None}


def fill_event(asset, side, quantity, price, fees="0", mode="one-way", **fields):
    """Flat, incremental. A field given as None is left out."""
    event = {"event_type": "order_executed", "execution_id": str(uuid.uuid4()), "order_id": str(uuid.uuid4()), "asset": asset,
             "side": side, "execution_quantity": quantity, "execution_price": price, "execution_fees": fees, "mode": mode,
             "executed_at": rfc3339(time.time()), "trace_id": str(uuid.uuid4())}
    event.update(fields)
    return without_none(event)


def nested_event(asset, side, filled, average, order_id, fees="0", event_type="partially_filled", event_id=None, **order):
    """Nested, cumulative."""
    inner = {"order_id": order_id, "asset": asset, "side": side, "filled_quantity": filled, "average_price": average, "fees": fees,
             "executed_at": rfc3339(time.time()), "is_dry_run": False}
    inner.update(order)
    return {"event_type": event_type, "event_id": event_id or str(uuid.uuid4()), "timestamp": rfc3339(time.time()),
            "trace_id": str(uuid.uuid4()), "order": without_none(inner)}


def market_event(asset, at=None, **data):
    """at: the inner timestamp in seconds (now), False for none."""
    inner = {"symbol": asset}
    if at is not False:
        inner["timestamp"] = rfc3339(time.time() if at is None else at)
    inner.update(data)
    return {"event_type": "position", "channel": "position", "trace_id": str(uuid.uuid4()), "timestamp": rfc3339(time.time()),
            "data": inner}


class Database:
    def __init__(self, servers, name):
        self.arguments = dict(dbname=name, **servers.pg)
        self.connection = psycopg2.connect(**self.arguments)
        self.connection.autocommit = True

    def query(self, sql, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def row(self, asset, mode="one-way"):
        """The row of a position as {column: value}, or None."""
        with self.connection.cursor() as cursor:
            cursor.execute("select * from positions where asset = %s and mode = %s", (asset, mode))
            found = cursor.fetchone()
            return None if found is None else dict(zip([column.name for column in cursor.description], found))

    def other_session(self):
        """A connection of its own, in a transaction, to hold locks with."""
        return psycopg2.connect(**self.arguments)


def seconds_without_processor(pid):
    """{thread: how long it has been ready to run and was not let}; empty where the kernel does not say."""
    found = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        pass  # it has ended, or one of its threads
    return found


class Service:
    """The service as a process."""

    def __init__(self, world, settings):
        self.world = world
        self.port = free_port()
        servers = world.servers
        self.environment = {
            "PATH": os.environ["PATH"],
            # For binaries of the sanitizer builds: the first finding ends the service, which fails the test.
            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1",
            "LSAN_OPTIONS": f"suppressions='{servers.root}/tests/race/lsan.supp':print_suppressions=0",
            "TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:report_thread_leaks=0:"
                            f"suppressions='{servers.root}/tests/race/tsan.supp'",
            "POSITION_MANAGER_API_KEY": API_KEY,
            "POSITION_MANAGER_HOST": "127.0.0.1",
            "POSITION_MANAGER_PORT": str(self.port),
            "POSITION_MANAGER_RATE_LIMIT_ENABLED": "false",
            "POSITION_MANAGER_SNAPSHOT_INTERVAL": "0",
            "POSITION_MANAGER_VALIDATION_INTERVAL": "0",
            # Nobody answers there: a test never asks a real exchange.
            "POSITION_MANAGER_PRICE_API_URL": "http://127.0.0.1:9/v5/market/tickers",
            "POSITION_MANAGER_PRICE_API_RETRIES": "1",
            "POSITION_MANAGER_PRICE_API_TIMEOUT": "1",
            "POSTGRES_HOST": servers.pg["host"], "POSTGRES_PORT": servers.pg["port"], "POSTGRES_DB": world.name,
            "POSTGRES_USER": servers.pg["user"], "POSTGRES_PASSWORD": servers.pg["password"],
            "RABBITMQ_HOST": servers.amqp["host"], "RABBITMQ_PORT": servers.amqp["port"], "RABBITMQ_USER": servers.amqp["user"],
            "RABBITMQ_PASSWORD": servers.amqp["password"], "RABBITMQ_VHOST": world.name,
        }
        self.environment.update({key: str(value) for key, value in settings.items()})
        self.log_path = world.directory / f"service-{self.port}.log"
        self.process = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers={"X-API-Key": API_KEY}, timeout=TIMEOUT_SECONDS)

    def start(self, healthy=True):
        assert self.process is None or self.process.poll() is not None, "already running"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(self.world.binary)], env=self.environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_the_tests)
        self.world.services.append(self)
        if healthy:
            self.wait_healthy()
        return self

    def wait_answering(self, timeout=TIMEOUT_SECONDS):
        def answers():
            assert self.process.poll() is None, f"the service ended with {self.process.returncode}\n{self.log_tail()}"
            try:
                return self.http.get("/health/live").status_code == 200
            except httpx.TransportError:
                return False
        wait_until(answers, timeout, "the service answering")

    def wait_healthy(self, timeout=TIMEOUT_SECONDS):
        self.wait_answering(timeout)
        try:
            wait_until(lambda: self.http.get("/health").status_code == 200, timeout, "the service being healthy")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.http.get('/health').text}\n{self.log_tail()}") from None
        return self

    def stop(self):
        """
        SIGTERM; returns (exit status, seconds it took). Less what the machine kept a thread of it waiting for a processor, by the kernel's
        account: that is no fault of the service.
        """
        started, before, waited = time.monotonic(), seconds_without_processor(self.process.pid), 0.0
        self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None and time.monotonic() - started - waited < 20:
            for thread, seconds in seconds_without_processor(self.process.pid).items():
                waited = max(waited, seconds - before.get(thread, 0.0))
            time.sleep(0.01)
        status = self.process.poll()
        self.kill()
        return status, time.monotonic() - started - waited

    def kill(self):
        """kill -9"""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self):
        """Every line of the log that is a JSON object."""
        lines = []
        for line in self.log_path.read_text(errors="replace").split("\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                lines.append(value)
        return lines

    def log_tail(self):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-25:])

    def get(self, path, **parameters):
        return self.http.get(path, params=parameters or None)

    def position(self, asset, mode="one-way"):
        """The position as an object, or None where there is none."""
        answer = self.http.get(f"/api/v1/positions/{asset}", params={"mode": mode})
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()

    def expect(self, asset, mode="one-way", **fields):
        """Waits until the position has all these fields, and returns it."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            position = self.position(asset, mode)
            if position is not None and all(position[key] == value for key, value in fields.items()):
                return position
            if time.monotonic() > deadline:
                shown = None if position is None else {key: position[key] for key in fields}
                raise AssertionError(f"{asset} {mode}: expected {fields}, is {shown} (of {position})\n{self.log_tail()}")
            time.sleep(0.01)

    def metric(self, pattern):
        """The sum of the samples whose name and labels match the regular expression."""
        total = 0.0
        for line in self.http.get("/metrics").text.splitlines():
            if not line.startswith("#") and re.search(pattern, line.rsplit(" ", 1)[0]):
                total += float(line.rsplit(" ", 1)[1])
        return total


class World:
    def __init__(self, servers, name, binary, directory):
        self.servers = servers
        self.name = name
        self.binary = binary
        self.directory = directory
        self.services = []
        self.broker = Broker(servers, name)
        self.db = Database(servers, name)

    def service(self, settings=None):
        return Service(self, settings or {})

    def expect_queues_empty(self, timeout=TIMEOUT_SECONDS):
        """Nothing waits in the inbound queues and nothing is unacknowledged."""
        def is_empty():
            counts = self.servers.queue_counts(self.name)
            inbound = [counts.get(queue, (0, 0)) for queue in (ORDER_QUEUE, MARKET_QUEUE)]
            return all(count == (0, 0) for count in inbound) and sum(count[1] for count in counts.values()) == 0
        wait_until(is_empty, timeout, "empty queues", 0.1)

    def close(self):
        for service in self.services:
            service.kill()
            service.http.close()
        self.db.connection.close()
        if self.broker.connection.is_open:
            self.broker.connection.close()


class Proxy:
    """Stands between the service and a server, so that a test can make the server vanish and come back."""

    def __init__(self, host, port):
        self.target = (host, int(port))
        self.port = free_port()
        self.listener = None
        self.sockets = []
        self.lock = threading.Lock()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def close(self):
        """No connection any more, neither those there are nor new ones."""
        if self.listener is not None:
            # accept() in the other thread keeps a closed socket listening until it returns.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        self.cut()

    def cut(self):
        """Ends the connections there are; new ones are taken."""
        with self.lock:
            sockets, self.sockets = self.sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
