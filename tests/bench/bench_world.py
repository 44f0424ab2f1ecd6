"""The private servers, the service as a process, and the programs it is measured against."""

import http.client
import json
import os
import re
import signal
import subprocess
import time

import pika
import psycopg2

API_KEY = "bench-key-0123456789"
ORDER_QUEUE = "order-manager.order_executed"
MARKET_QUEUE = "ws-gateway.position"
OUT_QUEUES = ("position-manager.position_updated", "position-manager.portfolio_updated",
              "position-manager.position_snapshot_created", "position-manager.dead_letter")
CORES = os.cpu_count() or 1
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_tree(pid):
    """The process and all below it."""
    pids = [pid]
    for found in pids:
        try:
            for task in os.listdir(f"/proc/{found}/task"):
                with open(f"/proc/{found}/task/{task}/children", encoding="ascii") as children:
                    pids += [int(child) for child in children.read().split()]
        except OSError:
            continue
    return pids


def cpu_seconds(pid):
    """Of a process, those below it, and those below it that ended."""
    ticks = 0
    for each in process_tree(pid):
        try:
            with open(f"/proc/{each}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def memory_kib(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(rf"{what}:\s+(\d+) kB", status.read())[1])


class World:
    def __init__(self):
        environment = os.environ
        self.directory = environment["BENCH_DIR"]
        self.build = environment["BENCH_BUILD"]
        self.pg = {"host": "127.0.0.1", "port": environment["BENCH_PG_PORT"], "user": environment["BENCH_PG_USER"],
                   "password": environment["BENCH_PG_PASSWORD"]}
        self.amqp_port = environment["BENCH_AMQP_PORT"]
        self.pids = {"postgres": int(environment["BENCH_PG_PID"]), "rabbitmq": int(environment["BENCH_AMQP_PID"])}
        self.started = []
        self.templates = set()  # databases that are complete

    # The database

    def sql(self, statement, database="postgres"):
        connection = psycopg2.connect(dbname=database, **self.pg)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else None
        connection.close()
        return rows

    def make_database(self, name, template=None):
        self.sql(f"drop database if exists {name} with (force)")
        self.sql(f"create database {name}" + (f" template {template}" if template else ""))

    def pg_string(self, database):
        return " ".join(f"{key}={value}" for key, value in self.pg.items()) + f" dbname={database}"

    # The broker

    def channel(self):
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(self.amqp_port), heartbeat=0))
        return connection, connection.channel()

    def empty_broker(self, queue_arguments=None):
        """Leaves nothing but the two inbound queues, empty, made with these arguments."""
        connection, channel = self.channel()
        for queue in OUT_QUEUES + ("bench.hop", ORDER_QUEUE, MARKET_QUEUE):
            channel.queue_delete(queue)
        for queue in (ORDER_QUEUE, MARKET_QUEUE):
            channel.queue_declare(queue, durable=True, arguments=queue_arguments)
        connection.close()

    def depth(self, queue):
        connection, channel = self.channel()
        count = channel.queue_declare(queue, durable=True, passive=True).method.message_count
        connection.close()
        return count

    def amqp_arguments(self):
        return ["127.0.0.1", self.amqp_port, "guest", "guest", "/"]

    def fill(self, records):
        with open(records, "rb") as source:
            subprocess.run([f"{self.build}/pm_publish", *self.amqp_arguments()], stdin=source, check=True,
                           stdout=subprocess.DEVNULL)

    # Programs

    def run_json(self, program, *arguments):
        output = subprocess.run([f"{self.build}/{program}", *map(str, arguments)], check=True, stdout=subprocess.PIPE)
        return json.loads(output.stdout)

    def start(self, arguments, **options):
        process = subprocess.Popen(arguments, start_new_session=True, **options)
        self.started.append(process)
        return process

    def stop_all(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def certificate(self):
        cert, key = f"{self.directory}/cert.pem", f"{self.directory}/key.pem"
        if not os.path.exists(cert):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                            "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                           check=True, stderr=subprocess.DEVNULL)
        return cert, key


class Service:
    def __init__(self, world, database, log_level="WARNING", tls=False, **settings):
        self.world, self.port = world, free_port()
        environment = {"PATH": os.environ["PATH"], "POSITION_MANAGER_API_KEY": API_KEY,
                       "POSITION_MANAGER_HOST": "127.0.0.1", "POSITION_MANAGER_PORT": str(self.port),
                       "POSITION_MANAGER_LOG_LEVEL": log_level, "POSITION_MANAGER_RATE_LIMIT_ENABLED": "false",
                       # Nothing periodic falls into a run, and nobody outside is asked.
                       "POSITION_MANAGER_SNAPSHOT_INTERVAL": "0", "POSITION_MANAGER_VALIDATION_INTERVAL": "0",
                       "POSITION_MANAGER_PRICE_API_URL": "http://127.0.0.1:1/none",
                       "POSITION_MANAGER_PRICE_STALENESS_THRESHOLD": "31536000",
                       "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": world.pg["port"], "POSTGRES_DB": database,
                       "POSTGRES_USER": world.pg["user"], "POSTGRES_PASSWORD": world.pg["password"],
                       "RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": world.amqp_port, "RABBITMQ_USER": "guest",
                       "RABBITMQ_PASSWORD": "guest"}
        if tls:
            cert, key = world.certificate()
            environment.update(POSITION_MANAGER_TLS_CERT=cert, POSITION_MANAGER_TLS_KEY=key)
        environment.update({f"POSITION_MANAGER_{name.upper()}": str(value) for name, value in settings.items()})
        self.tls, self.connection = tls, None
        self.log = open(f"{world.directory}/service.log", "wb")
        self.started_at = time.monotonic()
        self.process = world.start([f"{world.build}/position-manager"], env=environment, stdout=self.log,
                                   stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def get(self, path):
        """(status, body), over one connection that stays; (0, b"") where nobody answers."""
        is_new = self.connection is None
        answer = self.try_get(path)
        # The service ends connections that were idle for ten seconds.
        return answer if answer[0] or is_new else self.try_get(path)

    def try_get(self, path):
        import ssl
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10) if not self.tls else \
                    http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10,
                                                context=ssl._create_unverified_context())
            self.connection.request("GET", path, headers={"X-API-Key": API_KEY})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection = None
            return 0, b""

    def metrics(self):
        """{name with labels: value}"""
        text = self.get("/metrics")[1].decode()
        return {name: float(value) for name, value in re.findall(r"^position_manager_(\S+) (\S+)$", text, re.M)}

    def wait_ready(self, path="/health", timeout=60):
        """Seconds from the start until it answers 200."""
        while self.get(path)[0] != 200:
            if self.process.poll() is not None or time.monotonic() - self.started_at > timeout:
                with open(self.log.name, encoding="utf-8", errors="replace") as log:
                    raise RuntimeError(f"the service did not become ready: {log.read()[-2000:]}")
            time.sleep(0.002)
        return time.monotonic() - self.started_at

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.log.close()
        if code != 0:
            raise RuntimeError(f"the service ended with {code}")
