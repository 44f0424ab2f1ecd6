"""Nothing is shown that a crash could take back: HTTP and messages know committed state only (contract §2, §3)."""

import json
import time

import pytest
from world import DEAD_LETTER_QUEUE, POSITION_QUEUE, wait_until


@pytest.fixture(scope="module")
def service(world):
    service = world.service().start()
    yield service
    world.expect_queues_empty()
    assert service.stop()[0] == 0


@pytest.fixture
def held(db):
    """Another session holds every commit back until it is told to let go."""
    session = db.other_session()
    session.cursor().execute("lock table position_manager_journal, positions in share mode")
    yield session
    session.close()


def wait_for_held_commits(service):
    wait_until(lambda: service.get("/health").json()["pending_commits"] >= 1, what="a commit that is held back")


def announced_versions(broker, asset):
    events = (json.loads(body) for _, body in broker.drain(POSITION_QUEUE))
    return [event["version"] for event in events if event["asset"] == asset]


def test_a_held_commit_is_seen_by_nobody_until_it_is_through(service, broker, db, asset):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    wait_until(lambda: announced_versions(broker, asset) == [1])
    portfolio = service.get("/api/v1/portfolio", asset=asset).json()
    session = db.other_session()
    session.cursor().execute("lock table position_manager_journal, positions in share mode")
    broker.fill(asset, "Buy", "1", "200")
    wait_for_held_commits(service)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        # A read that waited for the database would not come back: the lock is held until this loop is over.
        assert service.position(asset)["version"] == 1
        assert announced_versions(broker, asset) == []
        now = service.get("/api/v1/portfolio", asset=asset).json()
        assert now["by_asset"] == portfolio["by_asset"]
        time.sleep(0.05)
    assert service.get("/health").json()["pending_commits"] >= 1
    session.rollback()
    service.expect(asset, version=2, average_entry_price="150.00")
    wait_until(lambda: announced_versions(broker, asset) == [2])
    session.close()


def test_a_new_position_is_not_there_before_its_commit(service, broker, held, asset):
    broker.fill(asset, "Buy", "1", "100")
    wait_for_held_commits(service)
    time.sleep(0.5)
    assert service.position(asset) is None
    held.rollback()
    service.expect(asset, version=1)


def test_killed_while_the_commit_is_held_back_it_counts_once(service, broker, held, asset):
    for _ in range(50):
        broker.fill(asset, "Buy", "1", "100")
    wait_for_held_commits(service)
    time.sleep(0.5)
    service.kill()
    held.rollback()
    service.start()
    service.expect(asset, version=50, size="50.0")
    assert broker.get(DEAD_LETTER_QUEUE) is None
