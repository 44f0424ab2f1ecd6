"""What is refused, why, and where it goes (contract §3.4)."""

import json
import re

import pytest
from world import DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, fill_event, market_event, nested_event, wait_until


def fill(**fields):
    event = {**fill_event("RIGHTUSDT", "Buy", "1", "100"), **fields}
    return {key: value for key, value in event.items() if value is not None}


def market(**data):
    return market_event("RIGHTUSDT", **{"side": "Buy", "size": "1", "avgPrice": "100", "markPrice": "100", **data})


def deep(levels):
    value = "x"
    for _ in range(levels):
        value = [value]
    return value


def unquoted(event, field, text):
    """The event with a number as bare text, as a JSON library would not write it."""
    return json.dumps({**event, field: "@@"}).replace('"@@"', text).encode()


# (reason, field or None where the contract does not tie it down, queue, body)
EXECUTIONS = [
    ("not_json", None, b"{"),
    ("not_json", None, b""),
    ("not_json", None, b"\xff\xfe"),
    ("not_json", None, b"[1] 2"),
    ("not_json", None, unquoted(fill(), "execution_price", "01")),
    ("too_deep", None, {**fill(), "extra": deep(17)}),
    ("too_large", None, {**fill(), "extra": "x" * (256 * 1024)}),
    ("wrong_event_type", "event_type", fill(event_type="order_exploded")),
    ("wrong_event_type", "event_type", {**nested_event("RIGHTUSDT", "Buy", "1", "1", "o"), "event_type": "fileld"}),
    ("missing_field", "asset", fill(asset=None)),
    ("missing_field", "side", fill(side=None)),
    ("missing_field", None, fill(execution_quantity=None)),
    ("missing_field", None, fill(execution_price=None)),
    ("missing_field", "order_id", {"event_type": "filled", "event_id": "x", "order": {"asset": "RIGHTUSDT"}}),
    ("missing_field", "asset", {"event_type": "filled", "event_id": "x", "order": {"order_id": "y"}}),
    ("bad_number", "filled_quantity", nested_event("RIGHTUSDT", "Buy", "1e3", "1", "o")),
    ("not_positive", "average_price", nested_event("RIGHTUSDT", "Buy", "1", "0", "o")),
    ("out_of_range", "fees", nested_event("RIGHTUSDT", "Buy", "1", "1", "o", fees="1000000000000")),
    ("bad_side", "side", nested_event("RIGHTUSDT", "Hold", "1", "1", "o")),
    ("bad_time", "executed_at", nested_event("RIGHTUSDT", "Buy", "1", "1", "o", executed_at="soon")),
    ("wrong_event_type", "is_dry_run", nested_event("RIGHTUSDT", "Buy", "1", "1", "o", is_dry_run="maybe")),
    ("bad_side", "reduce_only", fill(mode="hedge", reduce_only="maybe")),
    ("not_positive", "execution_quantity", fill(execution_quantity="0")),
    ("not_positive", "execution_quantity", fill(execution_quantity="-1")),
    ("not_positive", "execution_price", fill(execution_price="0.0")),
    ("not_positive", "execution_price", fill(execution_price=-5)),
    ("bad_number", "execution_quantity", fill(execution_quantity="1e3")),
    ("bad_number", "execution_quantity", fill(execution_quantity="+1")),
    ("bad_number", "execution_quantity", fill(execution_quantity=".5")),
    ("bad_number", "execution_quantity", fill(execution_quantity="5.")),
    ("bad_number", "execution_quantity", fill(execution_quantity="NaN")),
    ("bad_number", "execution_quantity", fill(execution_quantity="Infinity")),
    ("bad_number", "execution_quantity", fill(execution_quantity="0x10")),
    ("bad_number", "execution_quantity", fill(execution_quantity=" 1")),
    ("bad_number", "execution_quantity", fill(execution_quantity="1,000")),
    ("bad_number", "execution_quantity", fill(execution_quantity=True)),
    ("bad_number", "execution_quantity", unquoted(fill(), "execution_quantity", "1e3")),
    ("bad_number", "execution_fees", fill(execution_fees="free")),
    ("out_of_range", "execution_quantity", fill(execution_quantity="1000000000000")),
    ("out_of_range", "execution_price", fill(execution_price="99999999999999999999999999999999999999999999")),
    ("bad_time", "executed_at", fill(executed_at="yesterday")),
    ("bad_time", "executed_at", fill(executed_at="2025-02-30T00:00:00Z")),
    ("bad_asset", "asset", fill(asset="BTCEUR")),
    ("bad_asset", "asset", fill(asset="'; drop table positions; --USDT")),
    ("bad_asset", "asset", fill(asset="ABCDEFGHIJKLMNOPQUSDT")),
    ("bad_mode", "mode", fill(mode="sideways")),
    ("bad_side", "side", fill(side="Hold")),
    ("bad_side", None, fill(mode="hedge", position_side="upwards")),
    ("leg_below_zero", None, fill(mode="hedge", position_side="short")),
]
MARKET = [
    ("not_json", None, b"hello"),
    ("too_deep", None, {**market(), "extra": deep(17)}),
    ("too_large", None, {**market(), "extra": "x" * (256 * 1024)}),
    ("wrong_event_type", "event_type", {**market(), "event_type": "candle"}),
    ("missing_field", "symbol", {**market(), "data": {"size": "1"}}),
    ("bad_number", "size", market(size="1e3")),
    ("bad_number", "markPrice", market(markPrice="--1")),
    ("out_of_range", "size", market(size="1000000000000")),
    ("out_of_range", "avgPrice", market(avgPrice="1000000000000")),
    ("bad_time", None, market(timestamp="soon")),
    ("bad_asset", "symbol", market(symbol="")),
    ("bad_mode", "mode", market(mode="sideways")),
    ("bad_side", "side", market(side="Hold")),
]
CASES = [(ORDER_QUEUE, *case) for case in EXECUTIONS] + [(MARKET_QUEUE, *case) for case in MARKET]


def expect_refused(broker, body):
    properties, refused = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE), what="a dead letter")
    assert refused == body
    return properties


@pytest.mark.parametrize("queue, reason, field, body", CASES, ids=[f"{n}-{case[1]}" for n, case in enumerate(CASES)])
def test_refused_by_name_with_the_body_unchanged(service, broker, queue, reason, field, body):
    body = broker.publish(queue, body)
    properties = expect_refused(broker, body)
    headers = properties.headers
    if (reason, field) == ("bad_asset", "symbol"):
        assert headers["x-reason"] in ("bad_asset", "missing_field")
    else:
        assert headers["x-reason"] == reason
    if field is not None:
        assert headers["x-field"] == field
    assert headers["x-source-queue"] == queue
    assert headers["x-trace-id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", headers["x-failed-at"])
    assert properties.delivery_mode == 2
    for mode in ("one-way", "hedge"):
        assert service.position("RIGHTUSDT", mode) is None


def test_a_ninth_digit_of_a_quantity_or_an_execution_price_is_refused_unless_zero(service, broker, asset):
    for field in ("execution_quantity", "execution_price"):
        body = broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "1", "1", **{field: "0.123456789"}))
        assert expect_refused(broker, body).headers["x-reason"] in ("bad_number", "out_of_range")
    broker.fill(asset, "Buy", "0.1234567800", "1.1000000000000")
    service.expect(asset, version=1, size="0.12345678", average_entry_price="1.10")


def test_a_refusal_is_counted_and_logged(service, broker, asset):
    before = service.metric(r'reason="bad_side"')
    event = fill_event(asset, "Hold", "1", "1")
    expect_refused(broker, broker.publish(ORDER_QUEUE, event))
    wait_until(lambda: service.metric(r'reason="bad_side"') == before + 1)
    wait_until(lambda: [line for line in service.log() if line.get("trace_id") == event["trace_id"] and line["level"] == "WARNING"], what="the warning")


def test_headers_name_the_trace_of_the_event(service, broker, asset):
    event = fill_event(asset, "Hold", "1", "1")
    headers = expect_refused(broker, broker.publish(ORDER_QUEUE, event)).headers
    assert headers["x-trace-id"] == event["trace_id"]


@pytest.mark.parametrize("queue", (ORDER_QUEUE, MARKET_QUEUE))
def test_sixteen_levels_are_not_too_deep_and_seventeen_are(service, broker, asset, queue):
    event = fill_event(asset, "Buy", "1", "1") if queue == ORDER_QUEUE else market_event(asset, size="1", side="Buy")
    body = broker.publish(queue, {**event, "extra": deep(16)})
    assert expect_refused(broker, body).headers["x-reason"] == "too_deep"
    broker.publish(queue, {**event, "extra": deep(15)})
    service.expect(asset, version=1)


@pytest.mark.parametrize("queue", (ORDER_QUEUE, MARKET_QUEUE))
def test_256_kib_are_not_too_large_and_a_byte_more_is(service, broker, asset, queue):
    event = fill_event(asset, "Buy", "1", "1") if queue == ORDER_QUEUE else market_event(asset, size="1", side="Buy")
    body = json.dumps({**event, "extra": ""}).encode()
    for excess in (1, 0):
        padding = b" " * (256 * 1024 - len(body) + excess)
        sent = broker.publish(queue, body.replace(b'"extra": ""', b'"extra": "' + padding + b'"'))
        assert len(sent) == 256 * 1024 + excess
        if excess:
            assert expect_refused(broker, sent).headers["x-reason"] == "too_large"
    service.expect(asset, version=1)


def test_a_row_that_someone_keeps_changing_is_a_version_conflict(service, broker, db, asset):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    db.query(f"""create function nobody_updates() returns trigger language plpgsql as
                 $$ begin if old.asset = '{asset}' then return null; end if; return new; end $$""")
    db.query("create trigger nobody_updates before update on positions for each row execute function nobody_updates()")
    body = broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "1", "100"))
    assert expect_refused(broker, body).headers["x-reason"] == "version_conflict"
    assert service.position(asset)["size"] == "1.0"
    db.query("drop trigger nobody_updates on positions")
    broker.publish(ORDER_QUEUE, body)
    service.expect(asset, version=2, size="2.0")


def test_someone_elses_change_of_the_row_is_built_upon(service, broker, db, asset):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    db.query("update positions set size = 5, version = version + 1 where asset = %s", asset)
    broker.fill(asset, "Buy", "5", "200")
    service.expect(asset, size="10.0", average_entry_price="150.00", version=3)


def test_an_asset_is_upper_cased_before_it_is_judged(service, broker, asset):
    broker.fill(asset.lower(), "Buy", "1", "1")
    service.expect(asset, version=1)
    broker.market(asset.lower(), markPrice="2")
    service.expect(asset, version=2, current_price="2.00")


def test_a_dead_letter_keeps_bytes_that_are_no_text(service, broker):
    body = bytes(range(256)) * 3
    broker.publish(ORDER_QUEUE, body)
    assert expect_refused(broker, body).headers["x-reason"] == "not_json"
