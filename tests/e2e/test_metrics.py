"""The metrics page (contract §2.3): clean, complete, and moving with what happens."""

import re
import subprocess

import pytest
from test_messages_out import RFC3339
from world import ORDER_QUEUE, fill_event, wait_until


def page(service):
    return service.get("/metrics").text


def samples(text):
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and not line.startswith("#")}


def test_promtool_has_nothing_to_say(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    service.get("/api/v1/nothing"), service.get("/api/v1/positions?mode=x")
    checked = subprocess.run(["promtool", "check", "metrics"], input=page(service).encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert checked.returncode == 0 and not checked.stdout.strip(), checked.stdout.decode()


def test_every_family_has_help_type_and_the_services_prefix(service):
    text = page(service)
    for name in {re.split(r"[{ ]", key)[0] for key in samples(text)}:
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        assert re.search(rf"^# TYPE ({name}|{family}) ", text, re.M) and re.search(rf"^# HELP ({name}|{family}) ", text, re.M), name
        assert name.startswith(("position_manager_", "process_")), name


def test_what_happens_is_counted(service, broker, asset):
    """(what happens, the samples that go up by that much)"""
    event = fill_event(asset, "Buy", "1", "100")
    ticks = [(lambda: broker.publish(ORDER_QUEUE, event), {r'executions_total{outcome="applied"}': 1}),
             (lambda: broker.publish(ORDER_QUEUE, event), {r'executions_total{outcome="repeated"}': 1}),
             (lambda: broker.nested(asset, "Buy", "1", "1", "o", event_type="created"), {r'executions_total{outcome="ignored"}': 1}),
             (lambda: broker.market(asset, at=1700000000, markPrice="110"), {r'market_events_total{outcome="applied"}': 1}),
             (lambda: broker.market(asset, at=1600000000, markPrice="120"), {r'market_events_total{outcome="stale"}': 1}),
             (lambda: broker.market(asset, at=1700000001, markPrice="110"), {r'market_events_total{outcome="unchanged"}': 1}),
             (lambda: broker.market(asset, at=1700000002, side="Buy", size="9", avgPrice="100", markPrice="110"), {"size_discrepancies_total": 1}),
             (lambda: service.get("/api/v1/positions", asset=""), {r"http_requests_total{.*code=.400": 1})]
    for tick, expected in ticks:
        before = {pattern: service.metric(pattern.replace("{o", r"\{o").replace("{.", r"\{.")) for pattern in expected}
        tick()
        for pattern, rise in expected.items():
            wait_until(lambda: service.metric(pattern.replace("{o", r"\{o").replace("{.", r"\{.")) == before[pattern] + rise, what=pattern)


def test_gauges_say_what_the_portfolio_says(service, broker, asset):
    broker.market(asset, side="Sell", size="3", avgPrice="100", markPrice="90")
    service.expect(asset, size="-3.0")
    portfolio = service.get("/api/v1/portfolio").json()
    shown = samples(page(service))
    for gauge, field in (("exposure_usdt", "total_exposure_usdt"), ("net_exposure_usdt", "net_exposure_usdt"),
                         ("unrealized_pnl_usdt", "total_unrealized_pnl_usdt"), ("realized_pnl_usdt", "total_realized_pnl_usdt"),
                         ("open_positions", "open_positions_count"), ("long_positions", "long_positions_count"),
                         ("short_positions", "short_positions_count"), ("unpriced_positions", "unpriced_positions_count")):
        assert shown[f"position_manager_{gauge}"] == float(portfolio[field]), gauge


def test_counters_never_go_down_and_histograms_add_up(service):
    first, second = page(service), page(service)
    counters = re.findall(r"^# TYPE (\S+) counter", first, re.M)
    before, after = samples(first), samples(second)
    for key, value in before.items():
        if re.split(r"[{ ]", key)[0] in counters:
            assert after[key] >= value, key
    for name in re.findall(r"^# TYPE (\S+) histogram", second, re.M):
        buckets = [value for key, value in after.items() if key.startswith(f"{name}_bucket")]
        assert buckets == sorted(buckets) and buckets[-1] == after[f"{name}_count"], name


def test_strangers_make_no_new_series(service):
    before = set(samples(page(service)))
    for number in range(50):
        service.http.request(f"METHOD{number}", f"/api/v1/positions/STRANGER{number}USDT")
        service.get(f"/stranger/{number}", **{f"p{number}": "1"})
    assert len(set(samples(page(service))) - before) <= 10


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/plain", "Application/JSON;q=0.9"])
def test_the_json_summary(service, accept):
    answer = service.http.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"timestamp", "database_connected", "queue_connected", "portfolio_cache_hit_rate", "validation_statistics", "rate_limiting"}
    assert re.fullmatch(RFC3339, body["timestamp"]) and body["database_connected"] is body["queue_connected"] is True
    assert isinstance(body["validation_statistics"], dict) and isinstance(body["rate_limiting"], dict)


@pytest.mark.parametrize("accept", ["text/plain", "*/*", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"])
def test_the_text_is_what_a_scraper_gets(service, accept):
    answer = service.http.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4") and answer.text.startswith("# HELP")


