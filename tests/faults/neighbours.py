"""The PostgreSQL and the RabbitMQ of the fault tests: servers of their own, which may be killed at any time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pika
import psycopg2

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from world import Servers  # noqa: E402

# No setting that a fault makes holds for the sessions of the tests.
OPTIONS = "-c statement_timeout=0 -c default_transaction_read_only=off -c synchronous_commit=off"
LIBRARIES = ("packages", "process", "postgres", "rabbitmq")


class Neighbours:
    """Both servers: where they are, and how they are killed, stopped and started."""

    def __init__(self, directory):
        self.directory = str(directory)
        script = str(ROOT / "tests" / "tools" / "servers.sh")
        output = subprocess.run([script, "start", self.directory], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.servers = Servers(ROOT, dict(line.split("=", 1) for line in output.splitlines()))

    def shell(self, function, *arguments, check=True, environment=None):
        """Runs one function of deploy/lib."""
        sources = "".join(f'. "{ROOT}/deploy/lib/{library}.sh"; ' for library in LIBRARIES)
        script = f'set -euo pipefail; export PM_RABBITMQ_USER=guest PM_RABBITMQ_PASSWORD=guest; {sources} "$@"'
        return subprocess.run(["bash", "-c", script, "bash", function, *map(str, arguments)], check=check, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, **(environment or {})}).stdout

    def destroy(self):
        subprocess.run([str(ROOT / "tests" / "tools" / "servers.sh"), "stop", self.directory], check=False)

    # ---- PostgreSQL ----

    def postgres_data(self):
        return os.path.join(os.path.realpath(os.path.join(self.directory, "postgres")), "data")

    def postgres_stop(self, mode):
        """mode: immediate (as a crash) or fast."""
        self.shell("pm_postgres_as_owner", self.postgres_bin("pg_ctl"), "-D", self.postgres_data(), "-m", mode, "-w", "-t", "60", "stop")

    def postgres_signal(self, number):
        """To all processes of the server, the postmaster first."""
        postmaster = int(Path(self.postgres_data(), "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, number)
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            try:
                os.kill(int(child), number)
            except ProcessLookupError:
                pass

    def postgres_start(self, fsync="off", environment=None):
        self.shell("pm_postgres_start", self.directory, fsync, environment=environment)

    def postgres_bin(self, program):
        return os.path.join(self.shell("pm_postgres_bin").strip(), program)

    def sql(self, statement, *values, database="postgres"):
        """One statement in a session of its own; its rows."""
        connection = psycopg2.connect(dbname=database, options=OPTIONS, **self.servers.pg)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def postgres_set(self, name, value):
        """A setting of the whole server, in force when this returns; None: as it was."""
        self.sql(f"alter system reset {name}" if value is None else f"alter system set {name} = '{value}'")
        self.sql("select pg_reload_conf()")
        time.sleep(0.1)

    def end_sessions(self, database):
        self.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()", database)

    # ---- RabbitMQ ----

    def rabbitmq_signal(self, number):
        os.kill(int(Path(self.directory, "rabbitmq", "pid").read_text().split()[0]), number)

    def rabbitmq_kill(self):
        self.rabbitmq_signal(signal.SIGKILL)

    def rabbitmq_start(self):
        """
        Where it was. A node that was killed while it started may fail to start once more, a busy machine may take too long, and somebody
        else's server may have the port for a while: then the node would listen elsewhere, and no service would find it.
        """
        port = Path(self.directory, "rabbitmq", "port")
        for tries_left in reversed(range(4)):
            try:
                self.shell("pm_rabbitmq_start", self.directory)
            except subprocess.CalledProcessError as error:
                print(f"RabbitMQ did not start: {error.stdout}", file=sys.stderr)
                if tries_left == 0:
                    raise
                continue
            if port.read_text().strip() == self.servers.amqp["port"]:
                return
            print(f"RabbitMQ came up on port {port.read_text().strip()} instead of {self.servers.amqp['port']}", file=sys.stderr)
            self.shell("pm_rabbitmq_stop", self.directory)
            port.write_text(self.servers.amqp["port"] + "\n")
            time.sleep(2)
        raise AssertionError(f"somebody else has RabbitMQ's port {self.servers.amqp['port']}")

    def rabbitmqctl(self, *arguments):
        return self.shell("pm_rabbitmq_ctl", self.directory, *arguments)

    def amqp(self, vhost):
        """A connection to be closed by the caller."""
        amqp = self.servers.amqp
        return pika.BlockingConnection(pika.ConnectionParameters(
            host=amqp["host"], port=int(amqp["port"]), virtual_host=vhost, heartbeat=0,
            credentials=pika.PlainCredentials(amqp["user"], amqp["password"])))

    def running(self):
        """Starts what is not running."""
        self.postgres_start()
        self.rabbitmq_start()
