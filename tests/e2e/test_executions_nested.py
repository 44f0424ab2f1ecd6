"""Nested executions say an order's totals so far; what is booked is the difference (contract §3.2)."""

import uuid

import pytest
from world import DEAD_LETTER_QUEUE, wait_until


@pytest.fixture
def order_id():
    return str(uuid.uuid4())


def test_a_later_total_adds_only_the_difference(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "1", "100", order_id, fees="0.1")
    service.expect(asset, version=1, size="1.0", average_entry_price="100.00", fees_paid="0.10")
    broker.nested(asset, "Buy", "3", "110", order_id, fees="0.3", event_type="filled")
    service.expect(asset, version=2, size="3.0", average_entry_price="110.00", fees_paid="0.30")


def test_the_difference_closes_at_the_price_that_makes_the_totals_come_out(service, broker, asset, order_id):
    broker.fill(asset, "Buy", "4", "100")
    broker.nested(asset, "Sell", "1", "110", order_id)
    service.expect(asset, version=2, size="3.0", realized_pnl="10.00")
    # 3 x 120 - 1 x 110 = 250 for two more: (125 - 100) x 2
    broker.nested(asset, "Sell", "3", "120", order_id)
    service.expect(asset, version=3, size="1.0", realized_pnl="60.00", average_entry_price="100.00")


def test_a_total_that_does_not_increase_is_a_repeat(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "2", "100", order_id)
    broker.nested(asset, "Buy", "2", "100", order_id, event_type="filled")
    broker.nested(asset, "Buy", "1", "90", order_id)
    broker.fill(asset, "Buy", "2", "200")
    service.expect(asset, version=2, size="4.0", average_entry_price="150.00")


def test_flat_fills_of_the_order_count_towards_its_total(service, broker, asset, order_id):
    broker.fill(asset, "Buy", "1", "100", order_id=order_id, fees="0.1")
    broker.nested(asset, "Buy", "2", "105", order_id, fees="0.2")
    service.expect(asset, version=2, size="2.0", average_entry_price="105.00", fees_paid="0.20")


def test_dry_runs_and_other_states_change_nothing(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "1", "100", order_id, is_dry_run=True)
    for word in ("created", "cancelled", "modified", "rejected"):
        broker.nested(asset, "Buy", "1", "100", order_id, event_type=word)
    broker.nested(asset, "Buy", "1", "300", order_id)
    service.expect(asset, version=1, size="1.0", average_entry_price="300.00")


def test_fourteen_digits_of_an_average_are_rounded(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "3", "48666.66666666666667", order_id)
    service.expect(asset, version=1, size="3.0", average_entry_price="48666.66666667")


def test_the_total_through_zero(service, broker, asset, order_id):
    broker.fill(asset, "Buy", "1", "100")
    broker.nested(asset, "Sell", "0.5", "90", order_id)
    service.expect(asset, version=2, size="0.5", realized_pnl="-5.00")
    # 2.5 x 98 - 0.5 x 90 = 200 for two more: at 100
    broker.nested(asset, "Sell", "2.5", "98", order_id, event_type="filled")
    service.expect(asset, version=3, size="-1.5", realized_pnl="-5.00", average_entry_price="100.00")


def test_orders_are_told_apart(service, broker, asset):
    for _ in range(3):
        broker.nested(asset, "Buy", "1", "100", str(uuid.uuid4()), event_type="filled")
    service.expect(asset, version=3, size="3.0")


def test_fees_that_a_later_total_does_not_say_are_not_taken_back(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "1", "100", order_id, fees="0.5")
    broker.nested(asset, "Buy", "2", "100", order_id, fees=None)
    service.expect(asset, version=2, size="2.0", fees_paid="0.50")
    broker.nested(asset, "Buy", "3", "100", order_id, fees="0.2")
    service.expect(asset, version=3, size="3.0", fees_paid="0.20")


def test_a_total_that_falls_in_price_is_applied_while_the_average_is_one(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "1", "100", order_id)
    # 2 x 40 - 1 x 100 = -20 for one more, and 80 for both
    broker.nested(asset, "Buy", "2", "40", order_id)
    service.expect(asset, version=2, size="2.0", average_entry_price="40.00")


def test_a_total_whose_rest_would_open_below_zero_is_refused(service, broker, asset, order_id):
    broker.fill(asset, "Buy", "1.5", "100")
    broker.nested(asset, "Sell", "1", "100", order_id)
    service.expect(asset, version=2, size="0.5")
    # half of it closes at -20, the other half would open there
    broker.nested(asset, "Sell", "2", "40", order_id)
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert properties.headers["x-reason"] == "not_positive"
    assert service.position(asset)["version"] == 2


def test_an_order_of_flat_fills_may_be_larger_than_a_position_can_be(service, broker, asset, other_asset, order_id):
    most = "999999999999"
    for side in ("Buy", "Sell", "Buy"):
        broker.fill(asset, side, most, "1", order_id=order_id, fees=most if side == "Buy" else f"-{most}")
    service.expect(asset, version=3, size=f"{most}.0", fees_paid=f"{most}.00")
    broker.nested(asset, "Buy", "5", "1", order_id)
    broker.fill(other_asset, "Buy", "1", "1")
    service.expect(other_asset, version=1)
    assert service.position(asset)["version"] == 3


def test_fees_whose_increase_does_not_fit_are_named(service, broker, asset, order_id):
    broker.nested(asset, "Buy", "1", "100", order_id, fees="999999999999")
    broker.nested(asset, "Buy", "2", "100", order_id, fees="-999999999999")
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert (properties.headers["x-reason"], properties.headers["x-field"]) == ("out_of_range", "fees")
    service.expect(asset, version=1, fees_paid="999999999999.00")
