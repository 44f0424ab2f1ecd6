"""PostgreSQL and RabbitMQ are stopped and started again for good (contract §2.3, §2.5, §9). With servers of its own."""

import json
import os
import subprocess

import pytest
from conftest import ROOT
from world import POSITION_QUEUE, private_servers, wait_until

LIBRARY = ROOT / "deploy" / "lib"


@pytest.fixture(scope="module")
def servers():
    with private_servers(ROOT, "pm-outage.") as started:
        yield started


def server(servers, command):
    sources = "; ".join(f". '{LIBRARY / part}.sh'" for part in ("packages", "process", "postgres", "rabbitmq"))
    versions = {name: value for name, value in os.environ.items() if name in ("PM_POSTGRES_BIN", "PM_RABBITMQ_BIN")}
    subprocess.run(["bash", "-c", f"set -e; {sources}; {command}"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**versions, "PM_RABBITMQ_USER": "guest", "PM_RABBITMQ_PASSWORD": "guest", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})


def stop_postgres(servers):
    server(servers, f"pm_postgres_stop {servers.directory}")


def start_postgres(servers):
    server(servers, f"pm_postgres_start {servers.directory} off")


def health(service):
    answer = service.get("/health")
    return answer.status_code, answer.json()


def events(service):
    return [line["event"] for line in service.log()]


@pytest.fixture(scope="module")
def service(world):
    """Losing a neighbour is an ERROR line, which the usual fixture would not have."""
    service = world.service().start()
    yield service
    world.expect_queues_empty()
    assert service.stop()[0] == 0


def test_postgresql_stopped_and_started(service, servers, world, broker, asset):
    broker.fill(asset, "Buy", "1", "100")
    held = service.expect(asset, version=1)
    stop_postgres(servers)
    # The broker is there; one that this machine held up counts as away, for a moment.
    wait_until(lambda: health(service)[1]["database_connected"] is False and health(service)[1]["queue_connected"] is True)
    status, body = health(service)
    assert status == 503 and body["status"] == "unhealthy"
    assert service.get("/health/live").status_code == service.get("/health/ready").status_code == 200
    for _ in range(200):
        broker.fill(asset, "Buy", "1", "100", fees="0.01")
    # Reads go on, and show what is committed.
    assert service.position(asset)["version"] == held["version"]
    for path in ("/api/v1/positions", "/api/v1/portfolio", "/api/v1/portfolio/exposure", "/api/v1/portfolio/pnl", "/metrics"):
        assert service.get(path).status_code == 200, path
    # What needs the database says so.
    for method, path in (("POST", "validate"), ("POST", "snapshot"), ("GET", "snapshots")):
        answer = service.http.request(method, f"/api/v1/positions/{asset}/{path}")
        assert answer.status_code == 503 and answer.json()["error_code"] == "UNAVAILABLE", (path, answer.text)
    wait_until(lambda: health(service)[1]["pending_commits"] > 0)
    wait_until(lambda: health(service)[1]["oldest_unacked_seconds"] > 0)
    start_postgres(servers)
    service.wait_healthy()
    service.expect(asset, version=201, size="201.0", fees_paid="2.00")
    wait_until(lambda: {"database_lost", "database_connected"} <= set(events(service)), what="both lines")
    world.db.connection.close()
    world.db.__init__(servers, world.name)
    assert world.db.row(asset)["size"] == 201
    wait_until(lambda: service.http.post(f"/api/v1/positions/{asset}/validate").status_code == 200)


def test_rabbitmq_and_then_both_stopped_and_started(service, servers, world, asset):
    broker = world.broker
    for _ in range(300):
        broker.fill(asset, "Buy", "1", "100", fees="0.01")
    server(servers, f"pm_rabbitmq_stop {servers.directory}")
    wait_until(lambda: health(service)[1]["queue_connected"] is False and health(service)[1]["database_connected"] is True)
    assert health(service)[0] == 503
    for path in ("/api/v1/positions", "/api/v1/portfolio", "/health/live", "/health/ready"):
        assert service.get(path).status_code == 200, path
    stop_postgres(servers)
    wait_until(lambda: not any(health(service)[1][field] for field in ("queue_connected", "database_connected")))
    assert service.get("/api/v1/portfolio").status_code == 200
    server(servers, f"pm_rabbitmq_start {servers.directory}")
    start_postgres(servers)
    service.wait_healthy()
    broker.connect()
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=301, size="301.0", fees_paid="3.00")
    wait_until(lambda: {"broker_lost", "broker_connected", "database_lost"} <= set(events(service)), what="all three lines")
    versions = []

    def last_is_there():
        versions.extend(event["version"] for event in (json.loads(body) for _, body in broker.drain(POSITION_QUEUE)) if event["asset"] == asset)
        return 301 in versions
    wait_until(last_is_there, what="the announcement of the last change")
