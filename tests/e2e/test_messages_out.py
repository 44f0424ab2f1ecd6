"""What the service announces (contract §4)."""

import json
import re

import pytest
from world import ORDER_QUEUE, PORTFOLIO_QUEUE, POSITION_QUEUE, SNAPSHOT_QUEUE, wait_until

POSITION_FIELDS = {"event_type", "position_id", "asset", "mode", "size", "average_entry_price", "current_price", "unrealized_pnl",
                   "realized_pnl", "unrealized_pnl_pct", "time_held_minutes", "position_size_norm", "version", "update_source",
                   "trace_id", "timestamp"}
PORTFOLIO_FIELDS = {"total_exposure_usdt", "total_unrealized_pnl_usdt", "total_realized_pnl_usdt", "portfolio_value_usdt",
                    "net_exposure_usdt", "open_positions_count", "long_positions_count", "short_positions_count", "limit_exceeded",
                    "unpriced_positions_count", "trace_id", "timestamp"}
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"


@pytest.fixture(autouse=True)
def _nothing_left_from_before(service, broker):
    for queue in (POSITION_QUEUE, PORTFOLIO_QUEUE, SNAPSHOT_QUEUE):
        broker.drain(queue)


def next_of(broker, asset, queue=POSITION_QUEUE):
    """The next announcement about the asset."""
    def look():
        for properties, body in broker.drain(queue):
            event = json.loads(body)
            if event.get("asset") == asset:
                return properties, event
        return None
    return wait_until(look, what=f"an announcement of {asset}")


def test_a_change_is_announced_with_all_its_fields(service, broker, asset):
    fill = broker.fill(asset, "Buy", "2", "100", fees="1")
    properties, event = next_of(broker, asset)
    assert set(event) == POSITION_FIELDS
    position = service.position(asset)
    assert event["event_type"] == "position_updated" and event["position_id"] == position["id"]
    for field in ("asset", "mode", "size", "average_entry_price", "current_price", "unrealized_pnl", "realized_pnl", "version"):
        assert event[field] == position[field]
    assert event["update_source"] == "order_execution"
    assert event["trace_id"] == fill["trace_id"] == properties.headers["trace_id"]
    assert properties.content_type == "application/json" and properties.delivery_mode == 2 and properties.message_id
    assert re.fullmatch(RFC3339, event["timestamp"])


def test_market_data_is_announced_as_websocket(service, broker, asset):
    said = broker.market(asset, side="Sell", size="2", avgPrice="100", markPrice="90")
    _, event = next_of(broker, asset)
    assert (event["update_source"], event["version"], event["size"], event["unrealized_pnl"]) == ("websocket", 1, "-2.0", "20.00")
    assert event["unrealized_pnl_pct"] == "10.00" and event["trace_id"] == said["trace_id"]


def test_what_changes_nothing_is_not_announced_as_a_change(service, broker, asset):
    event = broker.fill(asset, "Buy", "1", "100")
    next_of(broker, asset)
    broker.publish(ORDER_QUEUE, event)
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=2)
    announced = []

    def last_is_there():
        announced.extend(one for one in (json.loads(body) for _, body in broker.drain(POSITION_QUEUE)) if one["asset"] == asset)
        return announced and announced[-1]["version"] == 2
    wait_until(last_is_there)
    # A repeat may be answered with the present state, never with a version of its own.
    assert {one["version"] for one in announced} <= {1, 2}


def test_versions_rise_and_the_last_change_is_always_announced(service, broker, asset):
    for _ in range(200):
        broker.fill(asset, "Buy", "1", "100")
    versions = []

    def last_is_there():
        versions.extend(event["version"] for event in (json.loads(body) for _, body in broker.drain(POSITION_QUEUE)) if event["asset"] == asset)
        return versions and versions[-1] == 200
    wait_until(last_is_there)
    assert versions == sorted(set(versions))


def test_the_portfolio_is_announced_after_the_last_change(service, broker, asset):
    for count in range(1, 21):
        broker.market(asset, side="Buy", size=str(count), avgPrice="10", markPrice="10")
    service.expect(asset, size="20.0")
    totals = service.get("/api/v1/portfolio").json()
    messages = []

    def last_is_there():
        messages.extend(broker.drain(PORTFOLIO_QUEUE))
        return messages and json.loads(messages[-1][1])["total_exposure_usdt"] == totals["total_exposure_usdt"]
    wait_until(last_is_there)
    properties, event = messages[-1][0], json.loads(messages[-1][1])
    assert PORTFOLIO_FIELDS <= set(event) and "by_asset" not in event
    for field in PORTFOLIO_FIELDS - {"trace_id", "timestamp"}:
        assert event[field] == totals[field], field
    assert properties.delivery_mode == 2 and properties.message_id and properties.headers["trace_id"] == event["trace_id"]


def test_a_snapshot_is_announced(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100")
    position = service.expect(asset, version=1)
    answer = service.http.post(f"/api/v1/positions/{asset}/snapshot", headers={"X-Trace-Id": "trace-of-a-snapshot"})
    assert answer.status_code == 201
    properties, event = next_of(broker, asset, SNAPSHOT_QUEUE)
    assert event["snapshot_id"] == answer.json()["id"] and event["position_id"] == position["id"]
    assert event["trace_id"] == "trace-of-a-snapshot" == properties.headers["trace_id"]
    assert (event["size"], event["average_entry_price"], event["version"]) == ("2.0", "100.00", 1)
    assert re.fullmatch(RFC3339, event["snapshot_timestamp"]) and re.fullmatch(RFC3339, event["timestamp"])
