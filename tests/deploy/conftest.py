"""Tests of what the service is shipped with: image, compose file, package, manifests, rules, documents.

What takes minutes or an engine of its own is in heavy_*.py, which only a command of its own runs (tests/run.sh compose,
tests/run.sh package). The rest reads files and runs the built service (README.md).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from world import Servers, World  # noqa: E402


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
    directory = tempfile.mkdtemp(prefix="pm-deploy.", dir="/tmp")
    script = str(ROOT / "tests" / "tools" / "servers.sh")
    try:
        output = subprocess.run([script, "start", directory], check=True, stdout=subprocess.PIPE, text=True).stdout
        yield Servers(ROOT, dict(line.split("=", 1) for line in output.splitlines()))
    finally:
        subprocess.run([script, "stop", directory], check=False)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def world(servers, binary, request, tmp_path_factory):
    """A database and a virtual host that nobody else uses (tests/e2e/world.py)."""
    name = f"{request.module.__name__}_{os.getpid()}"
    servers.make_database(name)
    servers.make_vhost(name)
    world = World(servers, name, binary, tmp_path_factory.mktemp(name))
    yield world
    world.close()
