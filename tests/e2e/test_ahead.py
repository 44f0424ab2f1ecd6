"""HTTP threads run ahead of others while they have little to do, where the kernel lets them; no flood of requests does."""

import contextlib
import os
import socket
import threading

import pytest
from world import API_KEY, TIMEOUT_SECONDS, Service, wait_until

REAL_TIME = os.SCHED_RR | os.SCHED_RESET_ON_FORK
STEPPED_BACK = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
PIPELINED = 2000


def may_run_ahead():
    """Whether this process may take real-time priority: then so may the service that it starts."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def policies(service):
    """{name of a thread: the policies of those that bear it}"""
    found = {}
    for task in os.listdir(f"/proc/{service.process.pid}/task"):
        with open(f"/proc/{service.process.pid}/task/{task}/comm", encoding="ascii") as comm:
            found.setdefault(comm.read().strip(), []).append(os.sched_getscheduler(int(task)))
    return found


@pytest.fixture(scope="module")
def settings():
    return {"POSITION_MANAGER_HTTP_THREADS": "2"}


def test_only_threads_for_http_run_ahead_and_only_where_they_may(service):
    expected = [REAL_TIME if may_run_ahead() else os.SCHED_OTHER] * 2
    wait_until(lambda: policies(service)["http"] == expected, what="both threads for HTTP running ahead")  # one may rest from the start
    found = policies(service)
    del found["http"]
    assert {policy for each in found.values() for policy in each} == {os.SCHED_OTHER}, found


def test_a_flood_of_requests_is_ahead_of_nobody(service):
    if not may_run_ahead():
        pytest.skip("no right to real-time priority here")
    over = threading.Event()
    request = f"GET /api/v1/portfolio HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\r\n".encode()

    def flood(port):
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
            def send():
                with contextlib.suppress(OSError):
                    while not over.is_set():
                        connection.sendall(request * PIPELINED)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            while not over.is_set():
                connection.recv(1 << 20)
            connection.shutdown(socket.SHUT_RDWR)
            sender.join()

    # Several connections, so that both threads get their part.
    clients = [threading.Thread(target=flood, args=(service.port,), daemon=True) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: STEPPED_BACK in policies(service)["http"], what="a thread for HTTP stepping back")
    finally:
        over.set()
        for client in clients:
            client.join()
    assert service.metric("http_stepped_back_total") >= 1
    wait_until(lambda: set(policies(service)["http"]) == {REAL_TIME}, what="the threads for HTTP coming again")


def test_without_the_right_it_serves_all_the_same(world, service, tmp_path):
    assert service.stop()[0] == 0
    wrapper = tmp_path / "position-manager"
    # Who is not root has no more than the limit gives.
    less = "prlimit --rtprio=0 " + ("setpriv --bounding-set=-sys_nice " if os.geteuid() == 0 else "")
    wrapper.write_text(f"#!/bin/sh\nexec {less}'{world.binary}'\n")
    wrapper.chmod(0o755)
    binary, world.binary = world.binary, wrapper
    try:
        other = Service(world, {}).start()
    finally:
        world.binary = binary
    assert set(policies(other)["http"]) == {os.SCHED_OTHER}
    assert other.get("/api/v1/portfolio").status_code == 200
    # A neighbour may be slow on a busy machine, and is told of then.
    told = [line for line in other.log() if line["level"] in ("WARNING", "ERROR")]
    assert not [line for line in told if not line["event"].startswith(("database_", "broker_"))], told
    assert other.stop()[0] == 0
    service.start()
