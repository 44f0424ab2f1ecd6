"""Tests of what the service is shipped with: image, compose file, package, manifests, rules, documents.

What takes minutes or an engine of its own is in heavy_*.py, which only a command of its own runs (tests/run.sh compose,
tests/run.sh package). The rest reads files and runs the built service (README.md).
"""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from world import Servers, World, private_servers  # noqa: E402


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def binary():
    return Path(os.environ.get("PM_BINARY", ROOT / "build" / "position-manager"))


@pytest.fixture(scope="session")
def servers():
    """A private PostgreSQL and RabbitMQ, only for tests that ask for them."""
    if "PM_TEST_SERVERS" in os.environ:
        yield Servers(ROOT, os.environ)
        return
    with private_servers(ROOT, "pm-deploy.") as started:
        yield started


@pytest.fixture(scope="module")
def world(servers, binary, request, tmp_path_factory):
    """A database and a virtual host that nobody else uses (tests/e2e/world.py)."""
    name = f"{request.module.__name__}_{os.getpid()}"
    servers.make_database(name)
    servers.make_vhost(name)
    world = World(servers, name, binary, tmp_path_factory.mktemp(name))
    yield world
    world.close()
