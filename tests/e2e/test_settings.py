"""Settings (contract §7): each has an effect that can be seen, and wrong ones are all named at once."""

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from world import API_KEY, DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, PORTFOLIO_QUEUE, TIMEOUT_SECONDS, instant, market_event, rfc3339, wait_until

PAST = time.time() - 3600
MARKET, FIRST, SECOND = "odd.market", "odd.orders.one", "odd.orders.two"


@pytest.fixture(scope="module")
def settings(servers):
    """Nothing as it is by default; for each test below the one that it is about."""
    return {"POSITION_MANAGER_LOG_LEVEL": "DEBUG", "POSITION_MANAGER_SERVICE_NAME": "odd-name", "POSITION_MANAGER_SHARDS": "3",
            "POSITION_MANAGER_HTTP_THREADS": "2", "POSITION_MANAGER_METRICS_CACHE_TTL": "1",
            "POSITION_MANAGER_AVG_PRICE_DIFF_THRESHOLD": "0.1", "POSITION_MANAGER_SIZE_VALIDATION_THRESHOLD": "1",
            "POSITION_MANAGER_TIMESTAMP_TOLERANCE_SECONDS": "60", "POSITION_MANAGER_PRICE_STALENESS_THRESHOLD": "1",
            "POSITION_MANAGER_PORTFOLIO_MAX_EXPOSURE_USDT": "1000", "POSITION_MANAGER_MARKET_QUEUE": MARKET,
            "POSITION_MANAGER_ORDER_QUEUES": f"{FIRST},{SECOND}", "POSITION_MANAGER_PORTFOLIO_PUBLISH_INTERVAL_MS": "500",
            "POSITION_MANAGER_ASSET_PATTERN": "^[A-Z0-9]{1,16}(EUR|USDT)$", "POSITION_MANAGER_PREFETCH": "7",
            "POSTGRES_HOST": (Path(servers.directory) / "postgres" / "socket").read_text().strip()}


@pytest.fixture(scope="module")
def stubborn(world):
    """A second service, which believes the exchange nothing; the first has to be stopped meanwhile."""
    return {"POSITION_MANAGER_USE_WS_AVG_PRICE": "no", "POSITION_MANAGER_ENABLE_TIMESTAMP_RESOLUTION": "0", "POSITION_MANAGER_LOG_LEVEL": "ERROR",
            "POSITION_MANAGER_PORTFOLIO_PUBLISH_INTERVAL_MS": "0"}


def events(service, name, **fields):
    return [line for line in service.log() if line["event"] == name and all(line.get(key) == value for key, value in fields.items())]


def test_it_calls_itself_by_its_name(service):
    assert service.get("/health").json()["service"] == "odd-name"
    assert {line["service"] for line in wait_until(service.log)} == {"odd-name"}


def test_debug_lines_are_written_when_asked_for(service):
    service.get("/api/v1/positions")
    wait_until(lambda: events(service, "http_request", level="DEBUG"))


def test_threads_are_as_many_as_said(service):
    assert wait_until(lambda: events(service, "service_starting"))[0]["shards"] == 3
    assert wait_until(lambda: events(service, "http_listening"))[0]["threads"] == 2
    names = [(task / "comm").read_text().strip() for task in Path(f"/proc/{service.process.pid}/task").iterdir()]
    assert sum(name.startswith("shard") for name in names) == 3 and sum(name.startswith("http") for name in names) == 2, names


def test_every_order_queue_is_read(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100", queue=FIRST)
    broker.fill(asset, "Buy", "1", "100", queue=SECOND)
    service.expect(asset, version=2, size="2.0")


def test_the_queues_of_the_defaults_are_not_touched(service, world):
    assert not {MARKET_QUEUE, ORDER_QUEUE} & set(world.servers.queue_counts(world.name))


def test_the_asset_pattern_decides(service, broker):
    broker.fill("BTCEUR", "Buy", "1", "100", queue=FIRST)
    service.expect("BTCEUR", version=1)
    broker.fill("BTCUSD", "Buy", "1", "100", queue=FIRST)
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert properties.headers["x-reason"] == "bad_asset" and properties.headers["x-source-queue"] == FIRST


def test_the_average_threshold_is_relative_and_exclusive(service, broker, asset):
    for at, average, expected in ((0, "100", "100.00"), (1, "110", "100.00"), (2, "90", "100.00"), (3, "110.00000001", "110.00000001")):
        broker.publish(MARKET, market_event(asset, PAST + at, side="Buy", size="1", avgPrice=average, markPrice=str(50 + at)))
        service.expect(asset, current_price=f"{50 + at}.00", average_entry_price=expected)


def test_the_size_threshold_decides_what_is_a_discrepancy(service, broker, asset):
    broker.fill(asset, "Buy", "5", "10", queue=FIRST, executed_at=rfc3339(PAST))
    service.expect(asset, version=1)
    for at, size, discrepancies in ((1, "6", 0), (2, "6.00000001", 1), (3, "4", 1), (4, "3.5", 2)):
        broker.publish(MARKET, market_event(asset, PAST + at, side="Buy", size=size, markPrice=str(10 + at)))
        service.expect(asset, current_price=f"{10 + at}.00", size="5.0")
        wait_until(lambda: len(events(service, "size_discrepancy", asset=asset)) >= discrepancies)
        assert len(events(service, "size_discrepancy", asset=asset)) == discrepancies


def test_the_tolerance_protects_a_size_from_events_soon_after(service, broker, asset):
    broker.fill(asset, "Buy", "5", "10", queue=FIRST, executed_at=rfc3339(PAST))
    service.expect(asset, version=1)
    broker.publish(MARKET, market_event(asset, PAST + 60, side="Buy", size="9", markPrice="11"))
    service.expect(asset, current_price="11.00", size="5.0")
    broker.publish(MARKET, market_event(asset, PAST + 60.001, side="Buy", size="9", markPrice="12"))
    service.expect(asset, current_price="12.00", size="9.0")


def test_a_price_grows_stale(service, broker, asset):
    def is_fresh():
        # Said again until it is seen in time: a busy machine may look too late.
        broker.publish(MARKET, market_event(asset, side="Buy", size="0.01", avgPrice="1", markPrice="1"))
        time.sleep(0.05)
        return (service.position(asset) or {"price_stale": True})["price_stale"] is False
    wait_until(is_fresh, what="a fresh price")
    service.expect(asset, version=1, price_stale=True, current_price="1.00")


def test_the_exposure_limit_is_told_when_it_is_passed_and_when_it_is_kept_again(service, broker, asset):
    broker.publish(MARKET, market_event(asset, PAST, side="Buy", size="1", avgPrice="1", markPrice="5000"))
    wait_until(lambda: service.get("/api/v1/portfolio").json()["limit_exceeded"] is True)
    wait_until(lambda: events(service, "exposure_limit_exceeded", level="WARNING"))
    broker.publish(MARKET, market_event(asset, PAST + 1, markPrice="0.5"))
    wait_until(lambda: service.get("/api/v1/portfolio").json()["limit_exceeded"] is False)
    wait_until(lambda: events(service, "exposure_limit_restored"))
    assert service.metric("exposure_limit_breaches_total") >= 1


def test_no_more_is_taken_than_the_prefetch(service, world, broker, db, asset):
    broker.fill(asset, "Buy", "1", "100", queue=FIRST)
    service.expect(asset, version=1)
    other = db.other_session()
    other.cursor().execute("lock table positions in exclusive mode")
    for _ in range(30):
        broker.fill(asset, "Buy", "1", "100", queue=FIRST)

    def unacknowledged():
        counts = world.servers.queue_counts(world.name)
        return counts[FIRST][1] + counts[SECOND][1] + counts[MARKET][1], counts[FIRST][0]
    taken, ready = wait_until(lambda: next((counts for counts in [unacknowledged()] if counts[0]), None), what="deliveries")
    assert 0 < taken <= 7 and ready >= 23
    wait_until(lambda: service.get("/health").json()["pending_commits"] > 0, what="a commit that waits")
    other.rollback()
    other.close()
    service.expect(asset, version=31)


def test_portfolio_messages_keep_their_distance(service, broker, asset):
    broker.drain(PORTFOLIO_QUEUE)
    started = time.monotonic()
    for number in range(1, 31):
        broker.publish(MARKET, market_event(asset, PAST + number, side="Buy", size="0.01", avgPrice="1", markPrice=str(number)))
        service.expect(asset, current_price=f"{number}.00")
    expected = service.get("/api/v1/portfolio").json()["total_exposure_usdt"]
    messages = []

    def last_is_there():
        messages.extend(json.loads(body) for _, body in broker.drain(PORTFOLIO_QUEUE))
        return messages and messages[-1]["total_exposure_usdt"] == expected
    wait_until(last_is_there)
    # One that had waited before the first of these, and one or two that this machine brought late.
    assert len(messages) <= 3 + (time.monotonic() - started) / 0.5


def test_a_portfolio_figure_is_never_older_than_the_cache_may_keep_it(service):
    def age():
        from datetime import datetime, timezone
        asked = datetime.now(timezone.utc)
        return (asked - instant(service.get("/api/v1/portfolio").json()["calculated_at"])).total_seconds()
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert age() < 1.1
        time.sleep(0.05)


def test_it_listens_on_the_said_address_only(instead):
    def elsewhere(other):
        other.http.close()
        other.http = httpx.Client(base_url=f"http://127.0.0.2:{other.port}", headers={"X-API-Key": API_KEY}, timeout=TIMEOUT_SECONDS)
    other = instead({"POSITION_MANAGER_HOST": "127.0.0.2", "POSITION_MANAGER_API_KEY": "not-the-usual-key"}, elsewhere)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{other.port}/health", timeout=TIMEOUT_SECONDS)
    assert other.get("/api/v1/positions").status_code == 401
    assert other.http.get("/api/v1/positions", headers={"X-API-Key": "not-the-usual-key"}).status_code == 200
    assert other.stop()[0] == 0


def test_the_exchange_is_not_believed_where_that_is_switched_off(instead, stubborn, broker, asset):
    other = instead(stubborn)
    broker.fill(asset, "Buy", "5", "100", executed_at=rfc3339(PAST))
    other.expect(asset, version=1)
    broker.market(asset, at=PAST + 10, side="Sell", size="9", avgPrice="500", markPrice="110")
    other.expect(asset, version=2, size="5.0", average_entry_price="100.00", current_price="110.00", unrealized_pnl="50.00")
    assert other.stop()[0] == 0
    assert [line for line in other.log() if line["level"] != "ERROR"] == []


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB"])
def test_a_wrong_word_for_the_database_is_survived_and_told(world, name):
    service = world.service({name: "nothing-right"})
    try:
        service.start(healthy=False).wait_answering()
        wait_until(lambda: [line for line in service.log() if line["event"].startswith("database_") and line["level"] in ("WARNING", "ERROR")])
        health = service.get("/health")
        assert health.status_code == 503 and health.json()["database_connected"] is False
        assert service.stop()[0] == 0
        assert name != "POSTGRES_PASSWORD" or "nothing-right" not in service.log_path.read_text()
    finally:
        service.kill()


@pytest.mark.parametrize("name", ["RABBITMQ_PASSWORD", "RABBITMQ_USER", "RABBITMQ_VHOST"])
def test_a_wrong_word_for_the_broker_is_survived_and_told(service, world, name):
    assert service.stop()[0] == 0
    other = world.service({name: "nothing-right"})
    try:
        other.start(healthy=False).wait_answering()
        wait_until(lambda: [line for line in other.log() if line["event"] == "broker_unreachable"])
        wait_until(lambda: other.get("/health/ready").status_code == 200)
        health = other.get("/health")
        assert health.status_code == 503 and health.json()["queue_connected"] is False
        assert other.get("/api/v1/positions").status_code == 200
        assert other.stop()[0] == 0
        assert name != "RABBITMQ_PASSWORD" or "nothing-right" not in other.log_path.read_text()
    finally:
        other.kill()
        service.start()


# (variable, right values, wrong values)
BOOLEANS = (["true", "false", "1", "0", "yes", "no", "on", "off", "TRUE", "Off"], ["perhaps", "2", "tru", "-1"])
WHOLE = ["many", "-1", "1.5", "1e3", "0x10", "99999999999999999999"]
VALUES = {
    "PORT": (["1", "65535"], ["0", "65536", *WHOLE]), "HOST": (["0.0.0.0", "::1", "localhost"], ["nowhere", "1.2.3", "256.1.1.1"]),
    "LOG_LEVEL": (["DEBUG", "INFO", "WARNING", "ERROR"], ["LOUD"]), "SERVICE_NAME": (["x"], ["two words", "x" * 65]),
    "SHARDS": (["1"], ["0", *WHOLE]), "HTTP_THREADS": (["1"], ["0", *WHOLE]), "TLS_CERT": ([], ["/nowhere/cert.pem"]),
    "TLS_KEY": ([], ["/nowhere/key.pem"]), "SNAPSHOT_INTERVAL": (["0", "3600"], WHOLE), "SNAPSHOT_RETENTION_DAYS": (["1"], ["0", *WHOLE]),
    "VALIDATION_INTERVAL": (["0", "1800"], WHOLE), "VALIDATION_FIX": BOOLEANS, "METRICS_CACHE_TTL": (["0", "10"], WHOLE),
    "METRICS_ASSETS_MAX": (["0", "1000"], ["1001", *WHOLE]),
    "USE_WS_AVG_PRICE": BOOLEANS, "AVG_PRICE_DIFF_THRESHOLD": (["0", "0.001"], ["-0.1", "1e3", "few", ".5"]),
    "SIZE_VALIDATION_THRESHOLD": (["0", "0.0001"], ["-1", "NaN"]), "ENABLE_TIMESTAMP_RESOLUTION": BOOLEANS,
    "TIMESTAMP_TOLERANCE_SECONDS": (["0", "60"], WHOLE), "PRICE_STALENESS_THRESHOLD": (["1"], WHOLE),
    "PRICE_API_URL": (["http://127.0.0.1:9/x"], ["ftp://x", "nothing", "http://x/?a=1", "http://user:secret@x/"]),
    "PRICE_API_TIMEOUT": (["1"], ["0", *WHOLE]), "PRICE_API_RETRIES": (["1"], ["0", *WHOLE]), "OPTIMISTIC_LOCK_RETRIES": (["1"], ["0", *WHOLE]),
    "OPTIMISTIC_LOCK_BACKOFF_BASE": (["1"], ["0", *WHOLE]), "RATE_LIMIT_ENABLED": BOOLEANS, "RATE_LIMIT_DEFAULT": (["1"], ["0", *WHOLE]),
    "RATE_LIMIT_OVERRIDES": (["k:1", "k:1,l:2", "k:1, l:2"], ["secret", "secret:", ":1", "secret:x", "secret:1,,l:2", "secret:-1", "secret:0"]),
    "PORTFOLIO_MAX_EXPOSURE_USDT": (["1", "0.5"], ["0", "-1", "much"]), "MARKET_QUEUE": (["q"], ["two words", "x" * 256]),
    "ORDER_QUEUES": (["q", "q,r"], ["q,,r", "q,q", "ws-gateway.position"]), "JOURNAL_RETENTION_DAYS": (["1"], ["0", *WHOLE]),
    "QUEUE_TYPE": (["classic", "quorum"], ["stream"]), "PORTFOLIO_PUBLISH_INTERVAL_MS": (["0", "250"], WHOLE),
    "MIGRATIONS": (["apply", "check", "off"], ["maybe"]), "ASSET_PATTERN": (["^X$"], ["(", "["]), "PREFETCH": (["1"], ["0", "65536", *WHOLE]),
}
NEIGHBOURS = {
    "POSTGRES_PORT": (["5432"], ["0", *WHOLE]), "RABBITMQ_PORT": (["5672"], ["0", *WHOLE]), "POSTGRES_HOST": (["db", "/run/postgresql"], ["two words"]),
    "RABBITMQ_HOST": (["mq"], ["two words"]), "WS_GATEWAY_URL": (["http://gateway:1"], ["gateway:1", "ftp://x"]), "POSTGRES_DB": (["x"], ["x" * 64]),
    "POSTGRES_USER": (["x"], ["x" * 64]), "RABBITMQ_USER": (["x"], ["x" * 256]), "RABBITMQ_VHOST": (["/"], ["x" * 256]),
}
ALL_VALUES = {**{f"POSITION_MANAGER_{name}": values for name, values in VALUES.items()}, **NEIGHBOURS}
SECRET = {"POSITION_MANAGER_API_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "WS_GATEWAY_API_KEY", "POSITION_MANAGER_RATE_LIMIT_OVERRIDES"}


def check_config(world, settings, *arguments):
    environment = {"PATH": "/usr/bin:/bin", "POSITION_MANAGER_API_KEY": API_KEY, **settings}
    return subprocess.run([str(world.binary), *(arguments or ["--check-config"])], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


def problems(done, name):
    """The lines that are about this variable. The service itself says them as log lines, the check in plain words."""
    return [line for line in done.stdout.splitlines() if re.search(rf'(error: |"){name}( |")', line) and "not set, but" not in line]


@pytest.mark.parametrize("name", ALL_VALUES)
def test_right_values_pass_and_wrong_ones_are_named(world, name):
    right, wrong = ALL_VALUES[name]
    for value in right:
        done = check_config(world, {name: value})
        assert done.returncode == 0, (value, done.stdout)
    for value in wrong:
        done = check_config(world, {name: value})
        assert done.returncode == 1, (value, done.stdout)
        lines = problems(done, name)
        assert len(lines) == 1, (value, done.stdout)
        if name in SECRET or "secret" in value:
            assert "secret" not in done.stdout
        elif name != "POSITION_MANAGER_ORDER_QUEUES":
            assert value[:40] in lines[0], lines


def test_all_wrong_ones_are_told_in_one_go_with_what_is_allowed(world):
    wrong = {name: values[1][0] for name, values in ALL_VALUES.items() if values[1]}
    for arguments in (["--check-config"], []):
        done = subprocess.run([str(world.binary), *arguments], env={"POSITION_MANAGER_API_KEY": "", **wrong}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        assert done.returncode != 0
        for name in [*wrong, "POSITION_MANAGER_API_KEY"]:
            assert len(problems(done, name)) == 1, name
        assert "classic or quorum" in done.stdout and "from 1 to 65535" in done.stdout


def test_the_example_names_every_setting_and_works(world):
    """deploy/env.example is what the program prints; with a key filled in it is a right configuration."""
    printed = check_config(world, {}, "--env-example").stdout
    root = Path(__file__).resolve().parents[2]
    assert (root / "deploy" / "env.example").read_text() == printed
    names = re.findall(r"^([A-Z_]+)=", printed, re.M)
    assert set(ALL_VALUES) | SECRET == set(names) and len(names) == len(set(names))
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", printed, re.M))
    assert check_config(world, {**values, "POSITION_MANAGER_API_KEY": API_KEY}).returncode == 0
    # One line of explanation right above each.
    assert all(re.search(rf"^# .+\n{name}=", printed, re.M) for name in names)


@pytest.mark.parametrize("name, value", [("PORT", "4800"), ("HOST", "0.0.0.0"), ("LOG_LEVEL", "INFO"), ("SERVICE_NAME", "position-manager"), ("SNAPSHOT_INTERVAL", "3600"),
                                         ("SNAPSHOT_RETENTION_DAYS", "365"), ("VALIDATION_INTERVAL", "1800"), ("VALIDATION_FIX", "false"), ("METRICS_CACHE_TTL", "10"), ("METRICS_ASSETS_MAX", "100"),
                                         ("USE_WS_AVG_PRICE", "true"), ("AVG_PRICE_DIFF_THRESHOLD", "0.001"), ("SIZE_VALIDATION_THRESHOLD", "0.0001"),
                                         ("ENABLE_TIMESTAMP_RESOLUTION", "true"), ("TIMESTAMP_TOLERANCE_SECONDS", "0"), ("PRICE_STALENESS_THRESHOLD", "300"),
                                         ("PRICE_API_TIMEOUT", "5"), ("PRICE_API_RETRIES", "3"), ("OPTIMISTIC_LOCK_RETRIES", "3"), ("OPTIMISTIC_LOCK_BACKOFF_BASE", "100"),
                                         ("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_DEFAULT", "100"), ("PORTFOLIO_MAX_EXPOSURE_USDT", ""),
                                         ("MARKET_QUEUE", "ws-gateway.position"), ("ORDER_QUEUES", "order-manager.order_executed"), ("JOURNAL_RETENTION_DAYS", "365"),
                                         ("QUEUE_TYPE", "classic"), ("PORTFOLIO_PUBLISH_INTERVAL_MS", "250"), ("MIGRATIONS", "apply")])
def test_the_defaults_are_those_of_the_contract(world, name, value):
    assert f"\nPOSITION_MANAGER_{name}={value}\n" in check_config(world, {}, "--env-example").stdout
