"""Timestamps in and out (contract §1), wherever one is taken."""

import time

import pytest
from world import MARKET_QUEUE, ORDER_QUEUE, fill_event, instant, market_event

# (what is said, how it is shown)
TIMES = [
    ("2025-01-15T10:00:00Z", "2025-01-15T10:00:00Z"), ("2025-01-15T10:00:00.5Z", "2025-01-15T10:00:00.5Z"),
    ("2025-01-15T10:00:00.123456Z", "2025-01-15T10:00:00.123456Z"), ("2025-01-15T10:00:00.120000Z", "2025-01-15T10:00:00.12Z"),
    ("2025-01-15T12:30:00+02:30", "2025-01-15T10:00:00Z"), ("2025-01-14T22:00:00-12:00", "2025-01-15T10:00:00Z"),
    ("2025-01-15T10:00:00", "2025-01-15T10:00:00Z"), ("2025-01-15T10:00:00.25", "2025-01-15T10:00:00.25Z"),
    ("2025-01-15t10:00:00z", "2025-01-15T10:00:00Z"), (1736935200000, "2025-01-15T10:00:00Z"), ("1736935200123", "2025-01-15T10:00:00.123Z"),
    ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"), ("2025-01-15T10:00:00+00:00", "2025-01-15T10:00:00Z")]


def canonical(text):
    """Trailing zeros of a fraction say nothing."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return whole + (("." + fraction.rstrip("0")) if fraction.rstrip("0") else "") + "Z"


@pytest.mark.parametrize("field", ["executed_at", "timestamp"])
def test_an_execution_says_its_time_in_any_form(service, broker, field):
    for number, (said, expected) in enumerate(TIMES):
        asset = f"{field[0].upper()}{number:02d}USDT"
        event = fill_event(asset, "Buy", "1", "100", **{"executed_at": None, field: said})
        broker.publish(ORDER_QUEUE, event)
        assert canonical(service.expect(asset, version=1)["opened_at"]) == expected, said


@pytest.mark.parametrize("field", ["timestamp", "updatedTime"])
def test_a_market_event_says_its_time_in_any_form(service, broker, field):
    """Shown by the order of events: what is later than the said time is applied, what is earlier is not."""
    for number, (said, _) in enumerate(TIMES[:10]):
        asset = f"M{field[0].upper()}{number:02d}USDT"
        broker.publish(MARKET_QUEUE, market_event(asset, False, side="Buy", size="1", avgPrice="10", markPrice="10", **{field: said}))
        broker.publish(MARKET_QUEUE, market_event(asset, False, markPrice="11", timestamp="2025-01-15T09:59:59.999Z"))
        broker.publish(MARKET_QUEUE, market_event(asset, False, markPrice="12", timestamp="2025-01-15T10:00:01Z"))
        service.expect(asset, version=2, current_price="12.00")


def test_a_time_that_is_absent_is_that_of_the_arrival(service, broker, asset):
    before = time.time()
    broker.fill(asset, "Buy", "1", "100", executed_at=None)
    position = service.expect(asset, version=1)
    assert before - 0.01 <= seconds(position["opened_at"]) <= seconds(position["last_updated"]) + 0.01 <= time.time() + 0.02


def seconds(text):
    return instant(text).timestamp()
