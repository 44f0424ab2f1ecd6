"""Who may ask, how often, and under which trace (contract §2.1, §2.2)."""

import json
import socket
import time

import httpx
import pytest
from world import API_KEY, DEAD_LETTER_QUEUE, ORDER_QUEUE, POSITION_QUEUE, TIMEOUT_SECONDS, fill_event, wait_until

OTHER_KEY = "other-key-0123456789"
SMALL_KEY = "small-key-0123456789"
SECRETS = (API_KEY, OTHER_KEY, SMALL_KEY)
LIMIT_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
PUBLIC_PATHS = ["/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"]


@pytest.fixture(scope="module")
def settings():
    return {"POSITION_MANAGER_RATE_LIMIT_ENABLED": "true", "POSITION_MANAGER_RATE_LIMIT_DEFAULT": "6000",
            "POSITION_MANAGER_RATE_LIMIT_OVERRIDES": f"{OTHER_KEY}:60000, {SMALL_KEY}:60"}


def ask(service, path="/api/v1/positions", key=API_KEY, method="GET", **headers):
    return service.http.request(method, path, headers={"X-API-Key": key, **headers})


def test_every_key_of_the_overrides_is_valid_and_has_its_own_limit(service):
    for key, limit in ((API_KEY, "6000"), (OTHER_KEY, "60000")):
        answer = ask(service, key=key)
        assert answer.status_code == 200 and answer.headers["RateLimit-Limit"] == limit


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/api/v1/positions", 200), ("HEAD", "/api/v1/portfolio", 200), ("GET", "/api/v1/positions?mode=x", 400),
    ("GET", "/api/v1/positions/NOSUCHUSDT", 404), ("GET", "/nothing", 404), ("DELETE", "/api/v1/positions", 405)])
def test_every_authenticated_answer_tells_the_limit(service, method, path, status):
    answer = ask(service, path, OTHER_KEY, method)
    assert answer.status_code == status
    for name in LIMIT_HEADERS:
        assert answer.headers[name].isdigit(), name


def test_an_answer_without_authentication_tells_no_limit(service):
    for answer in (ask(service, key="wrong"), httpx.get(f"http://127.0.0.1:{service.port}/health", timeout=TIMEOUT_SECONDS)):
        assert not any(name in answer.headers for name in LIMIT_HEADERS)


def test_the_bucket_is_of_the_limits_size_and_fills_again(service):
    """60 a minute: sixty at once, then one a second."""
    started = time.monotonic()
    answers = []
    while not answers or answers[-1].status_code == 200:
        answers.append(ask(service, key=SMALL_KEY))
        assert len(answers) < 100
    allowed = len(answers) - 1
    assert 60 <= allowed <= 61 + int(time.monotonic() - started)
    refused = answers[-1]
    assert refused.status_code == 429 and refused.json()["error_code"] == "RATE_LIMITED"
    assert refused.headers["Retry-After"] == "1" and refused.headers["RateLimit-Remaining"] == "0"
    assert 55 <= int(refused.headers["RateLimit-Reset"]) <= 60
    remaining = [int(answer.headers["RateLimit-Remaining"]) for answer in answers[:allowed]]
    # Each takes one; what a slow machine brings back meanwhile is no more than what was allowed beyond sixty, and one on the way.
    gains = [later - earlier + 1 for earlier, later in zip(remaining, remaining[1:], strict=False)]
    assert remaining[0] == 59 and min(gains) >= 0 and sum(gains) <= allowed - 60 + 1
    # The budgets of the others, and what needs no key, are untouched.
    assert ask(service).status_code == 200
    # Of health a neighbour that this machine held up makes a 503, for a moment.
    wait_until(lambda: all(ask(service, path, SMALL_KEY).status_code == 200 for path in PUBLIC_PATHS), what="every public path")
    wait_until(lambda: ask(service, key=SMALL_KEY).status_code == 200, 20, "a token after a second", 0.1)


def test_the_body_of_a_refusal_tells_nothing_of_the_key(service):
    for key in ("wrong-key-which-nobody-has", API_KEY + "x"):
        answer = ask(service, key=key)
        assert answer.status_code == 401 and key not in answer.text


def test_refusals_are_logged_and_counted_and_keys_are_not(service):
    ask(service, key="a-wrong-key-that-was-tried", **{"X-Trace-Id": "trace-of-unauthorized"})
    wait_until(lambda: ask(service, key=SMALL_KEY, **{"X-Trace-Id": "trace-of-limited"}).status_code == 429, what="the limit", interval=0)
    for event, trace in (("request_unauthorized", "trace-of-unauthorized"), ("request_rate_limited", "trace-of-limited")):
        wait_until(lambda: any(line["event"] == event and line.get("trace_id") == trace for line in service.log()), what=event)
    assert service.metric(r"http_unauthorized_total") >= 1 and service.metric(r"http_rate_limited_total") >= 1
    log = service.log_path.read_text()
    assert not any(secret in log for secret in (*SECRETS, "a-wrong-key-that-was-tried"))
    assert not any(secret in service.get("/metrics").text for secret in SECRETS)


@pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/api/v1/positions/BTCUSDT/snapshot", "/metrics/x", "//api/v1/positions",
                                  "/health/../api/v1/positions", "/openapi.json/../api/v1/portfolio", "/%61pi/v1/positions"])
def test_nothing_but_the_public_paths_answers_without_a_key(service, path):
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b" 401 " in connection.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("headers", [[("X-API-Key", "wrong"), ("X-API-Key", API_KEY)], [("X-API-Key", f"{API_KEY},{API_KEY}")],
                                     [("Authorization", f"Bearer {API_KEY}")], [("X-API-Key", API_KEY + "\t x")]])
def test_a_key_in_a_wrong_place_is_no_key(service, headers):
    assert httpx.get(f"http://127.0.0.1:{service.port}/api/v1/positions", headers=headers, timeout=TIMEOUT_SECONDS).status_code == 401


def test_the_name_of_the_key_header_has_no_case(service):
    answer = httpx.get(f"http://127.0.0.1:{service.port}/api/v1/positions", headers={"x-Api-kEY": API_KEY}, timeout=TIMEOUT_SECONDS)
    assert answer.status_code == 200


@pytest.mark.parametrize("sent", ["a" * 5000, 'quote"', "back\\slash", "two words", "ümlaut"])
def test_a_trace_id_that_could_do_harm_is_replaced(service, sent):
    answer = ask(service, **{"X-Trace-Id": sent.encode()})
    assert answer.status_code == 200 and answer.headers["X-Trace-Id"] and answer.headers["X-Trace-Id"] != sent


@pytest.mark.parametrize("parent", ["00-" + "0" * 32 + "-00f067aa0ba902b7-01", "nonsense", "00-4BF92F35-00f067aa0ba902b7-01", ""])
def test_a_malformed_traceparent_gives_a_new_trace(service, parent):
    trace = ask(service, traceparent=parent).headers["X-Trace-Id"]
    assert trace and trace not in parent and set(trace) != {"0"}


def test_the_trace_of_a_message_goes_with_everything_it_causes(service, broker, asset):
    broker.drain(POSITION_QUEUE)
    event = broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    properties, body = wait_until(lambda: broker.get(POSITION_QUEUE))
    assert json.loads(body)["trace_id"] == properties.headers["trace_id"] == event["trace_id"]
    wait_until(lambda: any(line["event"] == "position_changed" and line.get("trace_id") == event["trace_id"] for line in service.log()),
               what="the line of the change")


def test_a_trace_is_made_for_a_message_without_one(service, broker, asset):
    broker.drain(POSITION_QUEUE)
    broker.fill(asset, "Buy", "1", "100", trace_id=None)
    properties, body = wait_until(lambda: broker.get(POSITION_QUEUE))
    assert json.loads(body)["trace_id"] == properties.headers["trace_id"] and properties.headers["trace_id"]
    refused = fill_event(asset, "Nobody", "1", "1", trace_id=None)
    broker.publish(ORDER_QUEUE, refused)
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert properties.headers["x-trace-id"]


def test_a_body_that_is_too_large_costs_as_any_other_request(service):
    """Although libh2o refuses it before a handler sees the request."""
    answers = []
    while not answers or answers[-1].status_code == 413:
        answers.append(service.http.post("/api/v1/positions", content=bytes(1100000), headers={"X-API-Key": SMALL_KEY}))
        assert len(answers) < 100
        assert all(answers[-1].headers[name].isdigit() for name in LIMIT_HEADERS)
    assert answers[-1].status_code == 429 and answers[-1].json()["error_code"] == "RATE_LIMITED" and answers[-1].headers["Retry-After"] == "1"


def test_without_limiting_nobody_is_refused(instead):
    free = instead({"POSITION_MANAGER_RATE_LIMIT_ENABLED": "off", "POSITION_MANAGER_RATE_LIMIT_DEFAULT": "1"})
    answers = [free.get("/api/v1/positions") for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
    assert free.stop()[0] == 0
