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
    service.world.expect_queues_empty()  # what came before has been counted
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
                         ("portfolio_value_usdt", "portfolio_value_usdt"), ("short_positions", "short_positions_count"), ("unpriced_positions", "unpriced_positions_count")):
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


def of_asset(service, asset):
    """{family: value} of one asset, by the last look at all positions."""
    found = {}
    for key, value in samples(page(service)).items():
        matched = re.fullmatch(r'position_manager_position_(\w+)\{asset="' + asset + r'",mode="one-way"\}', key)
        if matched:
            found[matched[1]] = value
    return found


def test_each_asset_has_series_of_its_own(service, broker, asset):
    broker.fill(asset, "Sell", "3", "100")
    wait_until(lambda: of_asset(service, asset).get("size") == -3, what="series of the asset")
    assert "exposure_usdt" not in of_asset(service, asset) and "price_age_seconds" not in of_asset(service, asset)
    broker.market(asset, markPrice="90")
    wait_until(lambda: of_asset(service, asset).get("exposure_usdt") == 270, what="the price")
    figures = of_asset(service, asset)
    assert set(figures) == {"size", "exposure_usdt", "unrealized_pnl_usdt", "realized_pnl_usdt", "price_age_seconds", "held_seconds"}
    assert figures["unrealized_pnl_usdt"] == 30 and figures["realized_pnl_usdt"] == 0
    assert 0 <= figures["price_age_seconds"] <= figures["held_seconds"] < 120
    broker.fill(asset, "Buy", "3", "90")
    wait_until(lambda: of_asset(service, asset).get("size") == 0, what="the end")
    figures = of_asset(service, asset)
    assert figures["realized_pnl_usdt"] == 30 and "held_seconds" not in figures


def test_only_the_largest_have_series_or_none_at_all(instead, broker, asset, other_asset):
    """A small one beside one that is larger than all that other tests leave behind."""
    for one, price in ((asset, "1"), (other_asset, "1000000")):
        broker.market(one, side="Buy", size="1000", avgPrice=price, markPrice=price)
    service = instead({"POSITION_MANAGER_METRICS_ASSETS_MAX": "1"})
    service.expect(asset, size="1000.0"), service.expect(other_asset, size="1000.0")
    wait_until(lambda: of_asset(service, other_asset).get("size") == 1000, what="series of the larger one")

    def all_were_looked_at():
        # The last look may have been at one of the two only.
        shown = samples(page(service))
        return (shown["position_manager_assets_without_series"] == shown["position_manager_positions"] - 1 and
                shown["position_manager_open_position_exposure_usdt_count"] == shown["position_manager_open_positions"] - shown["position_manager_unpriced_positions"])
    wait_until(all_were_looked_at, what="a look at all positions")
    assert not of_asset(service, asset)
    assert service.stop()[0] == 0
    service.environment["POSITION_MANAGER_METRICS_ASSETS_MAX"] = "0"
    service.start()
    wait_until(lambda: "position_manager_assets_without_series" in samples(page(service)), what="a look at all positions")
    assert "asset=" not in page(service)


def test_each_queue_has_its_share_of_the_prefetch(instead, broker, db, asset):
    queues = [f"{asset}-one", f"{asset}-two"]
    narrow = instead({"POSITION_MANAGER_PREFETCH": "7", "POSITION_MANAGER_ORDER_QUEUES": ",".join(queues)})
    other = db.other_session()
    other.cursor().execute("lock table positions in exclusive mode")
    try:
        for queue, count in zip(queues, (3, 1)):
            for _ in range(count):
                broker.fill(asset, "Buy", "1", "100", queue=queue)
        # A third of seven each.
        wait_until(lambda: narrow.metric("_manager_unacknowledged_deliveries") == 3, what="two of the one and one of the other")
        found = {name: samples(page(narrow))[f"position_manager_{name}"] for name in ("queue_unacknowledged_deliveries", "queue_prefetch", "prefetch")}
        assert found == {"queue_unacknowledged_deliveries": 2, "queue_prefetch": 2, "prefetch": 7}
        assert broker.depth(queues[0]) == 1
    finally:
        other.close()
    narrow.expect(asset, version=4)
    wait_until(lambda: narrow.metric("queue_unacknowledged_deliveries") == 0, what="all being settled")
    assert narrow.stop()[0] == 0


def test_strangers_make_no_new_series(service):
    before = set(samples(page(service)))
    for number in range(50):
        service.http.request(f"METHOD{number}", f"/api/v1/positions/STRANGER{number}USDT")
        service.get(f"/stranger/{number}", **{f"p{number}": "1"})
    assert len(set(samples(page(service))) - before) <= 10


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/plain", "Application/JSON;q=0.9"])
def test_the_json_summary(service, accept):
    def connected():
        # A neighbour that this machine held up counts as away, for a moment.
        answer = service.http.get("/metrics", headers={"Accept": accept})
        assert answer.headers["Content-Type"].startswith("application/json")
        return answer if answer.json()["database_connected"] is answer.json()["queue_connected"] is True else None
    body = wait_until(connected, what="both connections").json()
    assert set(body) == {"timestamp", "database_connected", "queue_connected", "portfolio_cache_hit_rate", "validation_statistics", "rate_limiting"}
    assert re.fullmatch(RFC3339, body["timestamp"])
    assert isinstance(body["validation_statistics"], dict) and isinstance(body["rate_limiting"], dict)


@pytest.mark.parametrize("accept", ["text/plain", "*/*", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"])
def test_the_text_is_what_a_scraper_gets(service, accept):
    answer = service.http.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4") and answer.text.startswith("# HELP")


