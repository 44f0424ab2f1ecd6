"""One fault at a time: whatever dies, stalls or lies, nothing is lost, nothing counts twice, and everything is announced."""

import faults_network
import faults_postgres
import faults_rabbitmq
import faults_service
import pytest
from scene import Outcome

FAULTS = {**faults_service.FAULTS, **faults_postgres.FAULTS, **faults_rabbitmq.FAULTS, **faults_network.FAULTS}


@pytest.fixture(autouse=True)
def well(neighbours):
    yield
    neighbours.running()


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "PostgreSQL: disk full"])
def test_nothing_is_lost_or_counted_twice(scene, record, rounds, name):
    record(scene.suffer(name, FAULTS[name](scene), rounds))


def test_a_full_disk_loses_nothing(scene, record, rounds):
    scene.run()
    fault = faults_postgres.DiskFull(scene)
    obstacle = fault.prepare()
    try:
        if obstacle is not None:
            record(Outcome("PostgreSQL: disk full", note=obstacle, confirmed=1))
            return
        record(scene.suffer("PostgreSQL: disk full", fault, rounds))
    finally:
        fault.unmake()
