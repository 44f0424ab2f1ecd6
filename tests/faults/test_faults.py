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


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_or_counted_twice(scene, record, rounds, name):
    record(scene.endure(name, FAULTS[name], rounds))


@pytest.mark.parametrize("name", faults_postgres.BAD_DISKS)
def test_a_bad_disk_loses_nothing(scene, record, rounds, name):
    scene.run()
    fault = faults_postgres.BAD_DISKS[name](scene)
    try:
        obstacle = fault.prepare()
        if obstacle is None:
            outcome = scene.endure(name, lambda _: fault, rounds)
        else:
            outcome = Outcome(name, note=obstacle)
    finally:
        fault.unmake()
    record(outcome)
