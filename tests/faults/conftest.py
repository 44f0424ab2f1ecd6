"""Fault tests: real servers that die, stall and lie, under a stream of confirmed executions, and an audit afterwards.

They kill their neighbours, so they never use servers that others use: they start their own. The table of all faults is
printed at the end and kept in build/test-logs/faults.txt.

  PM_FAULTS_ROUNDS    rounds of every fault (1)
  PM_FAULTS_LONG      1: faults last longer, and there are some more
  PM_FAULTS_STORM     rounds of random kills (5); PM_FAULTS_SEED repeats a storm
  PM_FAULTS_BACKLOG   executions that wait at the start (20000); a million is a run of its own
  PM_FAULTS_PATIENCE  multiplies the limits in time, for machines that are busy with something else (1)
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from neighbours import ROOT, Neighbours  # noqa: E402
from scene import Scene  # noqa: E402
from table import render  # noqa: E402

OUTCOMES = []


@pytest.fixture(scope="session")
def neighbours():
    directory = tempfile.mkdtemp(prefix="pm-faults.", dir="/tmp")
    neighbours = None
    try:
        neighbours = Neighbours(directory)
        yield neighbours
    finally:
        if neighbours is not None:
            neighbours.destroy()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def scene(neighbours, tmp_path_factory):
    """A database, a virtual host and a service. At the end nothing may be left anywhere, and it has to stop well."""
    name = f"faults_{os.getpid()}"
    binary = Path(os.environ.get("PM_BINARY", ROOT / "build" / "position-manager"))
    scene = Scene(neighbours, name, binary, tmp_path_factory.mktemp(name), float(os.environ.get("PM_FAULTS_PATIENCE", "1")))
    yield scene
    neighbours.running()
    scene.run()
    scene.settle()
    counts = scene.servers.queue_counts(name)
    assert all(unacked == 0 for _, unacked in counts.values()), counts
    assert scene.service.stop()[0] == 0
    scene.close()


@pytest.fixture
def record(scene):
    """Takes an outcome into the table, and judges it."""
    def take(outcome):
        OUTCOMES.append(outcome)
        scene.judge(outcome)
    return take


@pytest.fixture
def rounds():
    return int(os.environ.get("PM_FAULTS_ROUNDS", "1"))


def pytest_terminal_summary(terminalreporter):
    if not OUTCOMES:
        return
    text = render(OUTCOMES)
    terminalreporter.write_line("")
    terminalreporter.write_line(text)
    directory = ROOT / "build" / "test-logs"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "faults.txt").write_text(text + "\n")
