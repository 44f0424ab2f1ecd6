"""Black-box tests: the built service, a real PostgreSQL and a real RabbitMQ, and nothing but the contract between them.

tests/run.sh starts the servers and says where they are (PM_TEST_*); run alone, these tests start servers of their own.
Each test file gets a database, a virtual host and a service of its own; each test gets assets of its own.
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import Servers, World, private_servers  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def binary_path():
    return Path(os.environ.get("PM_BINARY", ROOT / "build" / "position-manager"))


@pytest.fixture(scope="session")
def servers():
    if "PM_TEST_SERVERS" in os.environ:
        yield Servers(ROOT, os.environ)
        return
    with private_servers(ROOT, "pm-e2e.") as started:
        yield started


@pytest.fixture(scope="module")
def world(servers, request, tmp_path_factory):
    """A database and a virtual host that nobody else uses."""
    name = f"{request.module.__name__}_{os.getpid()}"
    servers.make_database(name)
    servers.make_vhost(name)
    world = World(servers, name, binary_path(), tmp_path_factory.mktemp(name))
    yield world
    world.close()


@pytest.fixture(scope="module")
def settings():
    """Settings of the file's service; a test file overrides this."""
    return {}


@pytest.fixture(scope="module")
def service(world, settings):
    """The file's service. When the file is done nothing may be left in its queues, and it has to stop as it should."""
    service = world.service(settings).start()
    yield service
    world.expect_queues_empty()
    status, seconds = service.stop()
    assert status == 0, f"exit status {status}\n{service.log_tail()}"
    assert seconds < 10
    errors = [line for line in service.log() if line.get("level") in ("ERROR", "FATAL", "CRITICAL")]
    assert not errors, errors[:5]


@pytest.fixture(scope="module")
def broker(world):
    return world.broker


@pytest.fixture(scope="module")
def db(world):
    return world.db


_assets = iter(range(1, 10**6))


@pytest.fixture
def asset():
    """A trading pair nobody has used before."""
    return f"T{next(_assets):05d}USDT"


@pytest.fixture
def other_asset():
    return f"T{next(_assets):05d}USDT"


@pytest.fixture
def instead(world, service):
    """Runs a service with other settings in place of the file's service, which is started again afterwards."""
    others = []

    def start(settings, prepare=None):
        assert service.stop()[0] == 0
        other = world.service(settings)
        others.append(other)
        if prepare is not None:
            prepare(other)
        return other.start()

    yield start
    for other in others:
        other.kill()
    if service.process.poll() is not None:
        service.start()
