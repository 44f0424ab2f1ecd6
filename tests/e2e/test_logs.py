"""Logs (contract §8): one JSON object a line, an event of its own for everything that matters, and no secret ever."""

import json
import os
import re
import time

import pytest
from test_messages_out import RFC3339
from world import API_KEY, ORDER_QUEUE, fill_event, rfc3339, wait_until

OTHER_KEY = "another-secret-key-not-to-be-seen"
PAST = time.time() - 3600


@pytest.fixture(scope="module")
def settings():
    return {"POSITION_MANAGER_LOG_LEVEL": "DEBUG", "POSITION_MANAGER_RATE_LIMIT_ENABLED": "true", "POSITION_MANAGER_RATE_LIMIT_DEFAULT": "100000",
            "POSITION_MANAGER_RATE_LIMIT_OVERRIDES": f"{OTHER_KEY}:1", "WS_GATEWAY_URL": "http://127.0.0.1:9", "WS_GATEWAY_API_KEY": "gateway-secret-not-to-be-seen"}


def event_of(service, name, **fields):
    def look():
        found = [line for line in service.log() if line["event"] == name and all(line.get(key) == value for key, value in fields.items())]
        return found[-1] if found else None
    return wait_until(look, what=f"the log line {name} {fields}")


def test_an_applied_change_is_logged_with_its_figures(service, broker, asset):
    event = broker.fill(asset, "Buy", "2", "100")
    line = event_of(service, "position_changed", asset=asset)
    assert (line["level"], line["trace_id"], line["mode"], line["version"], line["size"]) == ("INFO", event["trace_id"], "one-way", 1, "2.0")
    assert line["source"] == "order_execution"


def test_every_change_is_logged_or_counted_in_the_line_of_a_later_one(service, broker, asset):
    for _ in range(100):
        broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=100)
    wait_until(lambda: sum(line["changes"] for line in service.log() if line["event"] == "position_changed" and line["asset"] == asset) == 100)


def test_a_discrepancy_is_logged_with_both_sizes(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100")
    service.expect(asset, version=1)
    said = broker.market(asset, at=PAST, side="Buy", size="5", markPrice="100")
    line = event_of(service, "size_discrepancy", asset=asset)
    assert (line["level"], line["stored"], line["said"], line["taken_over"], line["trace_id"]) == ("WARNING", "2.0", "5.0", False, said["trace_id"])


def test_a_repeat_and_an_execution_without_identity_are_logged(service, broker, asset):
    event = broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    broker.publish(ORDER_QUEUE, event)
    event_of(service, "execution_repeated", asset=asset)
    broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "1", "100", execution_id=None, order_id=None, trace_id=None))
    assert event_of(service, "execution_without_identity")["level"] == "WARNING"


def test_a_refusal_is_logged_with_reason_and_field(service, broker, world, asset):
    event = fill_event(asset, "Buy", "-1", "100")
    broker.publish(ORDER_QUEUE, event)
    line = event_of(service, "message_refused", trace_id=event["trace_id"])
    assert (line["level"], line["reason"], line["field"], line["queue"]) == ("WARNING", "not_positive", "execution_quantity", ORDER_QUEUE)


def test_a_conflict_is_logged(service, broker, db, asset):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    db.query("update positions set version = version + 1 where asset = %s", asset)
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=3)
    line = event_of(service, "position_conflict", asset=asset)
    assert (line["level"], line["expected_version"], line["found_version"]) == ("WARNING", 1, 2)


def test_a_validation_result_is_logged(service, broker, db, asset):
    db.query("""create table if not exists orders (order_id text primary key, asset varchar(20), side varchar(10), status varchar(20),
                filled_quantity numeric(20,8), average_price numeric(20,8), executed_at timestamp, is_dry_run boolean)""")
    db.query("insert into orders values (%s, %s, 'Buy', 'filled', 5, 100, now(), false)", asset, asset)
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    for query in ("?fix_discrepancies=false", ""):
        service.http.post(f"/api/v1/positions/{asset}/validate{query}", headers={"X-Trace-Id": "trace-of-validation"})
    assert event_of(service, "validation_discrepancy", asset=asset)["level"] == "WARNING"
    event_of(service, "validation_fixed", asset=asset)
    service.http.post(f"/api/v1/positions/{asset}/validate")
    assert event_of(service, "validation_passed", asset=asset)["level"] == "INFO"


def test_requests_are_logged_with_their_trace_but_not_with_what_strangers_wrote(service):
    service.http.get("/api/v1/positions?asset=A%22%0a%7b", headers={"X-Trace-Id": "trace-of-request"})
    line = event_of(service, "http_request", trace_id="trace-of-request")
    assert (line["level"], line["method"], line["code"]) == ("INFO", "GET", 400) and line["route"].startswith("/api/v1/positions")
    parent = "ab" * 16
    service.http.get("/health", headers={"traceparent": f"00-{parent}-{'cd' * 8}-01"})
    assert event_of(service, "http_request", trace_id=parent)["level"] == "INFO"
    for method, path, level in (("GET", "/api/v1/positions", "DEBUG"), ("POST", "/api/v1/positions/NOSUCHUSDT/snapshot", "INFO")):
        made = service.http.request(method, path).headers["X-Trace-Id"]
        assert event_of(service, "http_request", trace_id=made)["level"] == level


def test_strange_bytes_make_no_second_line(service, broker):
    for text in ('a"b', "a\nb", "a\\b", "\u2028", "\x01", "\U0001f600", "x" * 5000):
        event = fill_event("BADASSET" + text, "Buy", "1", "1", trace_id="t" + text)
        broker.publish(ORDER_QUEUE, event)
    broker.publish(ORDER_QUEUE, b'{"trace_id":"\xff\xfe"}')
    service.world.expect_queues_empty()
    # The last line may be on its way just now.
    written = service.log_path.read_text()
    for line in written[:written.rindex("\n")].split("\n"):
        assert isinstance(json.loads(line), dict), line


def test_every_line_has_its_members_and_every_event_a_name(service):
    for line in service.log():
        assert {"timestamp", "level", "event", "service"} <= set(line) and line["level"] in ("DEBUG", "INFO", "WARNING", "ERROR"), line
        assert re.fullmatch(RFC3339, line["timestamp"]) and re.fullmatch(r"[a-z][a-z0-9_]*", line["event"]) and line["service"] == "position-manager"
        assert "trace_id" not in line or line["trace_id"]
    assert {"service_starting", "http_listening", "database_connected", "broker_connected", "positions_loaded", "service_started"} <= {line["event"] for line in service.log()}


def test_no_secret_is_ever_logged(service, servers):
    for key in (OTHER_KEY, OTHER_KEY, "a-guess-of-a-key-not-to-be-seen"):
        service.http.get("/api/v1/positions", headers={"X-API-Key": key, "Cookie": "session-not-to-be-seen", "Authorization": "Bearer token-not-to-be-seen"})
    service.http.get(f"/api/v1/positions?key={OTHER_KEY}&api_key={API_KEY}")
    service.http.get(f"/{OTHER_KEY}")
    event_of(service, "request_rate_limited")
    event_of(service, "request_unauthorized")
    log = service.log_path.read_text()
    for secret in (API_KEY, OTHER_KEY, "not-to-be-seen", servers.pg["password"], "gateway-secret"):
        assert secret not in log, secret


def test_the_end_is_logged(service, instead):
    other = instead({})
    assert other.stop()[0] == 0
    names = [line["event"] for line in other.log()]
    assert names.index("service_stopping") < names.index("service_stopped")


def test_a_log_that_nobody_reads_holds_nothing_up(world, service, broker, asset, tmp_path):
    """The service writes into a pipe that is full; it goes on, and says how many lines were lost."""
    import subprocess
    assert service.stop()[0] == 0
    other = world.service({"POSITION_MANAGER_LOG_LEVEL": "DEBUG"})
    other.process = subprocess.Popen([str(world.binary)], env=other.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    world.services.append(other)
    other.log_path.write_text("")
    try:
        other.wait_healthy()
        for number in range(1500):
            broker.fill(asset, "Buy", "1", "100", executed_at=rfc3339(PAST))
        other.expect(asset, version=1500)
        wait_until(lambda: other.metric(r"log_.*dropped") > 0 or [other.get("/api/v1/positions") for _ in range(200)] == [], what="dropped lines being counted")
    finally:
        drained = other.process
        other.process.terminate()
        drained.communicate(timeout=20)
        service.start()
    assert drained.returncode == 0


def test_without_standard_output_the_log_goes_nowhere_else(world, service, broker, asset):
    """A closed descriptor's number would otherwise go to a connection, and the log with it."""
    import subprocess
    assert service.stop()[0] == 0
    other = world.service({"POSITION_MANAGER_LOG_LEVEL": "DEBUG"})
    other.process = subprocess.Popen(["/bin/sh", "-c", f"exec '{world.binary}' <&- >&- 2>&-"], env=other.environment)
    world.services.append(other)
    other.log_path.write_text("")
    try:
        other.wait_healthy()
        for standard in (0, 1, 2):
            assert os.readlink(f"/proc/{other.process.pid}/fd/{standard}") == "/dev/null"
        broker.fill(asset, "Buy", "1", "100", executed_at=rfc3339(PAST))
        other.expect(asset, version=1)
        assert other.stop()[0] == 0
    finally:
        other.kill()
        service.start()
