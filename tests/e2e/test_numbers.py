"""Exact decimals: right to the last digit, or refused by name (contract §1)."""

import pytest
from world import DEAD_LETTER_QUEUE, ORDER_QUEUE, fill_event, wait_until


def test_one_rounding_half_away_from_zero(service, broker, asset):
    broker.fill(asset, "Buy", "1", "0.00000001")
    broker.fill(asset, "Buy", "1", "0.00000002")
    service.expect(asset, version=2, average_entry_price="0.00000002")


@pytest.mark.parametrize("side, other, realized", [("Buy", "Sell", "-0.00000001"), ("Sell", "Buy", "0.00000001")])
def test_half_a_unit_of_pnl_is_rounded_away_from_zero(service, broker, asset, side, other, realized):
    broker.fill(asset, side, "1", "0.00000002")
    broker.fill(asset, other, "0.5", "0.00000001")
    service.expect(asset, version=2, realized_pnl=realized, average_entry_price="0.00000002")


def test_averages_with_endless_digits(service, broker, asset):
    for quantity, price, average in (("1", "1", "1.00"), ("2", "2", "1.66666667"), ("4", "3", "2.42857143"), ("0.5", "0.1", "2.27333333")):
        broker.fill(asset, "Buy", quantity, price)
        service.expect(asset, average_entry_price=average)


def test_state_is_rounded_after_each_event(service, broker, asset):
    # (1 x 1 + 2 x 2) / 3 = 1.66666667 as stored; selling 3 at 2 gives 3 x 0.33333333.
    broker.fill(asset, "Buy", "1", "1")
    broker.fill(asset, "Buy", "2", "2")
    broker.fill(asset, "Sell", "3", "2")
    service.expect(asset, version=3, realized_pnl="0.99999999", size="0.0")


def test_large_quantities_at_small_prices(service, broker, db, asset):
    broker.fill(asset, "Buy", "100000000000", "0.12345678")
    service.expect(asset, version=1, size="100000000000.0", average_entry_price="0.12345678")
    broker.market(asset, markPrice="0.12345679")
    service.expect(asset, version=2, unrealized_pnl="1000.00")
    broker.fill(asset, "Sell", "99999999999.99999999", "0.12345678")
    service.expect(asset, version=3, size="0.00000001", realized_pnl="0.00")
    assert f'{db.row(asset)["size"]:f}' == "0.00000001"


def test_sizes_up_to_the_limit_and_not_beyond(service, broker, db, asset):
    broker.fill(asset, "Buy", "500000000000", "1")
    broker.fill(asset, "Buy", "499999999999.99999999", "1")
    service.expect(asset, version=2, size="999999999999.99999999")
    assert str(db.row(asset)["size"]) == "999999999999.99999999"
    body = broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "0.00000001", "1"))
    properties, refused = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert (properties.headers["x-reason"], properties.headers["x-field"], refused) == ("out_of_range", "size", body)
    broker.fill(asset, "Sell", "999999999999.99999999", "1")
    service.expect(asset, version=3, size="0.0")


def test_pnl_beyond_the_limit_is_refused_and_nothing_changes(service, broker, asset):
    broker.fill(asset, "Buy", "900000000000", "1")
    service.expect(asset, version=1)
    broker.fill(asset, "Sell", "900000000000", "3")
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert (properties.headers["x-reason"], properties.headers["x-field"]) == ("out_of_range", "realized_pnl")
    assert service.position(asset)["size"] == "900000000000.0"


def test_portfolio_sums_are_not_bound_by_the_column(service, broker, asset, other_asset):
    for one in (asset, other_asset):
        broker.fill(one, "Buy", "900000000000", "900000000000")
        service.expect(one, version=1)
        broker.market(one, markPrice="900000000000")
        service.expect(one, current_price="900000000000.00")
    portfolio = service.get("/api/v1/portfolio", asset=asset).json()
    assert portfolio["total_exposure_usdt"] == "810000000000000000000000.00"
    total = service.get("/api/v1/portfolio").json()["total_exposure_usdt"]
    assert total.startswith("16200000000000000")
    for one in (asset, other_asset):
        broker.fill(one, "Sell", "900000000000", "900000000000")
        service.expect(one, size="0.0")


def test_a_json_number_is_taken_by_its_text(service, broker, asset):
    text = b'{"event_type":"order_executed","execution_id":"%s-1","asset":"%s","side":"Buy","execution_quantity":0.1,' \
           b'"execution_price":12345678901.12345678,"execution_fees":-0}' % (asset.encode(), asset.encode())
    broker.publish(ORDER_QUEUE, text)
    service.expect(asset, version=1, size="0.1", average_entry_price="12345678901.12345678", fees_paid="0.00")


@pytest.mark.parametrize("size, shown", [("1.50", "1.5"), ("10", "10.0"), ("0.00000001", "0.00000001"), ("123456789012.12345678", "123456789012.12345678")])
def test_sizes_are_shown_trimmed_with_one_digit_at_least(service, broker, asset, size, shown):
    broker.fill(asset, "Buy", size, "0.3")
    service.expect(asset, version=1, size=shown, average_entry_price="0.30")


def test_fees_of_fourteen_digits_are_rounded(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100", fees="0.12345678500001")
    service.expect(asset, version=1, fees_paid="0.12345679")
    broker.fill(asset, "Sell", "1", "100", fees="-0.00000000500000")
    service.expect(asset, version=2, fees_paid="0.12345678", realized_pnl="0.00000001")


def test_prices_and_pnl_are_shown_with_two_digits_at_least(service, broker, asset):
    broker.fill(asset, "Buy", "1.50", "100.10", fees="0.3")
    broker.market(asset, markPrice="100.123456780")
    position = service.expect(asset, size="1.5", average_entry_price="100.10", current_price="100.12345678", fees_paid="0.30")
    assert position["unrealized_pnl"] == "0.03518517" and position["realized_pnl"] == "0.00"
