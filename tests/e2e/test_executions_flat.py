"""Flat executions in one-way mode: the average-cost method (contract §3.2)."""

import pytest
from world import ORDER_QUEUE, fill_event, instant


def test_first_fill_opens_the_position(service, broker, asset):
    broker.fill(asset, "Buy", "0.5", "50000", fees="12.5")
    position = service.expect(asset, version=1)
    assert position["mode"] == "one-way"
    assert position["size"] == "0.5"
    assert position["average_entry_price"] == "50000.00"
    assert position["realized_pnl"] == "0.00"
    assert position["fees_paid"] == "12.50"
    assert position["current_price"] is None
    assert position["unrealized_pnl"] == "0.00"
    assert position["opened_at"] is not None and position["closed_at"] is None
    assert position["long_size"] is None and position["short_avg_price"] is None


def test_adding_to_a_long_averages_the_entry(service, broker, asset):
    broker.fill(asset, "Buy", "1", "50000")
    broker.fill(asset, "buy", "2", "48000")
    position = service.expect(asset, version=2)
    assert (position["size"], position["average_entry_price"]) == ("3.0", "48666.66666667")


def test_adding_to_a_short_keeps_a_positive_average(service, broker, asset):
    broker.fill(asset, "Sell", "1", "100")
    broker.fill(asset, "SELL", "3", "200")
    position = service.expect(asset, version=2)
    assert (position["size"], position["average_entry_price"]) == ("-4.0", "175.00")


@pytest.mark.parametrize("first, second, realized", [("Buy", "Sell", "7.00"), ("Sell", "Buy", "-9.00")])
def test_reducing_realizes_less_the_fee_and_keeps_the_average(service, broker, asset, first, second, realized):
    broker.fill(asset, first, "2", "100", fees="1")
    broker.fill(asset, second, "0.8", "110", fees="1")
    position = service.expect(asset, version=2)
    assert position["size"] == ("1.2" if first == "Buy" else "-1.2")
    assert position["average_entry_price"] == "100.00"
    assert position["realized_pnl"] == realized
    assert position["fees_paid"] == "2.00"


def test_through_zero_realizes_the_old_side_and_opens_the_rest_at_the_new_price(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100")
    opened_at = instant(service.expect(asset, version=1)["opened_at"])
    broker.fill(asset, "Sell", "3", "90", fees="0.5")
    position = service.expect(asset, version=2)
    assert (position["size"], position["average_entry_price"], position["realized_pnl"]) == ("-2.0", "90.00", "-10.50")
    assert position["closed_at"] is None and instant(position["opened_at"]) >= opened_at
    broker.fill(asset, "Buy", "5", "80", fees="0.5")
    position = service.expect(asset, version=3)
    assert (position["size"], position["average_entry_price"], position["realized_pnl"]) == ("3.0", "80.00", "9.00")


def test_closing_keeps_the_row_and_reopening_keeps_its_past(service, broker, db, asset):
    broker.fill(asset, "Buy", "1", "100", fees="0.1")
    opened = service.expect(asset, version=1)
    broker.fill(asset, "Sell", "1", "150", fees="0.1")
    closed = service.expect(asset, version=2)
    assert (closed["size"], closed["average_entry_price"], closed["unrealized_pnl"]) == ("0.0", None, "0.00")
    assert closed["realized_pnl"] == "49.90" and closed["fees_paid"] == "0.20"
    assert closed["closed_at"] is not None and closed["unrealized_pnl_pct"] is None
    assert db.row(asset)["size"] == 0
    broker.fill(asset, "Sell", "2", "160")
    again = service.expect(asset, version=3)
    assert again["closed_at"] is None
    for kept in ("id", "created_at", "realized_pnl", "fees_paid"):
        assert again[kept] == (closed if kept != "id" else opened)[kept]
    assert (again["size"], again["average_entry_price"]) == ("-2.0", "160.00")


def test_rebates_are_negative_fees(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100", fees="-0.25")
    broker.fill(asset, "Sell", "1", "100", fees="-0.25")
    position = service.expect(asset, version=2)
    assert (position["fees_paid"], position["realized_pnl"]) == ("-0.50", "0.25")


def test_all_names_of_the_fields_are_understood(service, broker, asset):
    usual = {"execution_quantity", "execution_price", "execution_fees", "executed_at"}
    plain = {key: value for key, value in fill_event(asset, "Buy", "1", "1").items() if key not in usual | {"execution_id"}}
    broker.publish(ORDER_QUEUE, {**plain, "filled_quantity": "1", "price": "10", "fees": "0.5", "timestamp": "2025-01-15T10:00:00+02:00"})
    service.expect(asset, version=1, size="1.0", average_entry_price="10.00", fees_paid="0.50")
    broker.publish(ORDER_QUEUE, {**plain, "filled_qty": 1, "price": 20, "timestamp": 1736935200000})
    service.expect(asset, version=2, size="2.0", average_entry_price="15.00")
    broker.fill(asset.lower(), "Buy", "1", "30", event_type="position_updated_from_order", executed_at=None)
    service.expect(asset, version=3, size="3.0", average_entry_price="20.00")


def test_late_executions_are_applied(service, broker, asset):
    broker.fill(asset, "Buy", "1", "10", executed_at="2025-01-15T10:00:00Z")
    broker.fill(asset, "Buy", "1", "20", executed_at="2024-01-15T10:00:00Z")
    service.expect(asset, version=2, size="2.0", average_entry_price="15.00")


def test_the_row_says_the_same_as_http(service, broker, db, asset):
    broker.fill(asset, "Sell", "1.25", "3.5", fees="0.01")
    position = service.expect(asset, version=1)
    row = db.row(asset)
    assert str(row["id"]) == position["id"]
    assert (str(row["size"]), str(row["average_entry_price"]), str(row["fees_paid"])) == ("-1.25000000", "3.50000000", "0.01000000")
    assert row["version"] == 1 and row["current_price"] is None
    assert db.query("select count(*) from position_manager_journal")[0][0] > 0


def test_unrealized_pnl_follows_executions_at_the_known_price(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100")
    service.expect(asset, version=1)
    broker.market(asset, markPrice="110")
    service.expect(asset, version=2, current_price="110.00", unrealized_pnl="20.00", unrealized_pnl_pct="10.00")
    broker.fill(asset, "Buy", "2", "120")
    service.expect(asset, version=3, average_entry_price="110.00", unrealized_pnl="0.00")
    broker.fill(asset, "Sell", "1", "120")
    service.expect(asset, version=4, size="3.0", unrealized_pnl="0.00", realized_pnl="10.00")
