"""--check-health: what the image's health check runs beside the service, with the service's own environment."""

import subprocess
import time

import pytest
from world import wait_until


def check(world, environment):
    outcome = subprocess.run([world.binary, "--check-health"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return outcome.returncode, outcome.stdout, outcome.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=positions.example", "-keyout", directory / "key.pem", "-out", directory / "cert.pem"],
        check=True, stderr=subprocess.DEVNULL)
    return {"POSITION_MANAGER_TLS_CERT": str(directory / "cert.pem"), "POSITION_MANAGER_TLS_KEY": str(directory / "key.pem")}


def test_a_service_that_waits_for_its_database_is_not_ready_and_one_that_serves_is(world):
    waiting = world.service({"POSTGRES_PORT": "9"})
    assert check(world, waiting.environment) == (1, "", "not ready: no answer\n")
    waiting.start(healthy=False)
    waiting.wait_answering()
    wait_until(lambda: check(world, waiting.environment) == (1, "", "not ready: status 503\n"), what="an answer in time")
    waiting.kill()

    serving = world.service().start()
    wait_until(lambda: check(world, serving.environment) == (0, "ready\n", ""), what="an answer in time")
    serving.stop()
    assert check(world, serving.environment) == (1, "", "not ready: no answer\n")


def test_a_service_that_speaks_tls_is_asked_with_tls(world, certificate):
    secure = world.service(certificate)
    secure.http.close()
    secure.start(healthy=False)
    for _ in range(300):
        answer = check(world, secure.environment)
        if answer[0] == 0:
            break
        assert answer[2].startswith("not ready: ")
        time.sleep(0.1)
    assert answer == (0, "ready\n", "")
    # In cleartext it has nothing to say.
    plain = {name: value for name, value in secure.environment.items() if "_TLS_" not in name}
    assert check(world, plain)[0] == 1
    secure.stop()
