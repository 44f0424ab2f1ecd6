"""Nested executions say an order's totals so far; what is booked is the difference (contract §3.2)."""

import uuid

import pytest


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
