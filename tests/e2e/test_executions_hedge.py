"""Hedge mode: two legs, each with its own average (contract §2.4, §3.2)."""

from world import DEAD_LETTER_QUEUE, wait_until


def test_buy_grows_the_long_leg_and_sell_the_short_leg(service, broker, db, asset):
    broker.fill(asset, "Buy", "3", "100", mode="hedge", fees="0.1")
    position = service.expect(asset, "hedge", version=1, size="3.0", long_size="3.0", short_size="0.0", long_avg_price="100.00")
    assert position["average_entry_price"] == "100.00" and position["short_avg_price"] is None
    broker.fill(asset, "Sell", "1", "110", mode="hedge")
    position = service.expect(asset, "hedge", version=2, size="2.0", long_size="3.0", short_size="1.0", short_avg_price="110.00")
    assert position["average_entry_price"] is None and position["unrealized_pnl_pct"] is None
    assert position["realized_pnl"] == "0.00"
    row = db.row(asset, "hedge")
    assert (row["long_size"], row["short_size"], row["size"]) == (3, 1, 2)


def test_a_named_leg_is_reduced_by_the_other_side(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", mode="hedge")
    broker.fill(asset, "Sell", "2", "100", mode="hedge")
    broker.fill(asset, "Sell", "1", "120", mode="hedge", position_side="LONG", fees="1")
    service.expect(asset, "hedge", version=3, size="-1.0", long_size="1.0", short_size="2.0", realized_pnl="19.00")
    broker.fill(asset, "Buy", "2", "110", mode="hedge", positionIdx=2)
    position = service.expect(asset, "hedge", version=4, size="1.0", short_size="0.0", realized_pnl="-1.00")
    assert position["average_entry_price"] == "100.00" and position["short_avg_price"] is None


def test_reduce_only_turns_the_leg_around(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", mode="hedge")
    broker.fill(asset, "Sell", "2", "130", mode="hedge", reduce_only=True)
    position = service.expect(asset, "hedge", version=2, size="0.0", long_size="0.0", realized_pnl="60.00")
    assert position["closed_at"] is not None and position["average_entry_price"] is None


def test_it_is_open_while_a_leg_is_open(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100", mode="hedge")
    broker.fill(asset, "Sell", "1", "100", mode="hedge")
    position = service.expect(asset, "hedge", version=2, size="0.0")
    assert position["closed_at"] is None and position["long_avg_price"] == "100.00"
    portfolio = service.get("/api/v1/portfolio", asset=asset).json()
    assert (portfolio["open_positions_count"], portfolio["long_positions_count"], portfolio["short_positions_count"]) == (1, 1, 1)


def test_unrealized_and_exposure_count_both_legs(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", mode="hedge")
    broker.fill(asset, "Sell", "1", "120", mode="hedge")
    service.expect(asset, "hedge", version=2)
    broker.market(asset, markPrice="110", mode="hedge")
    service.expect(asset, "hedge", version=3, unrealized_pnl="30.00")
    portfolio = service.get("/api/v1/portfolio", asset=asset).json()
    assert portfolio["total_exposure_usdt"] == "330.00"
    assert portfolio["net_exposure_usdt"] == portfolio["portfolio_value_usdt"] == "110.00"


def test_a_leg_does_not_go_below_zero(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100", mode="hedge")
    event = broker.fill(asset, "Sell", "1.5", "100", mode="hedge", position_side="long")
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert properties.headers["x-reason"] == "leg_below_zero"
    assert properties.headers["x-trace-id"] == event["trace_id"]
    broker.fill(asset, "Buy", "1", "200", mode="hedge")
    service.expect(asset, "hedge", version=2, long_size="2.0", long_avg_price="150.00")


def test_modes_of_one_asset_are_two_positions(service, broker, asset):
    broker.fill(asset, "Buy", "1", "100")
    broker.fill(asset, "Sell", "2", "100", mode="hedge")
    service.expect(asset, version=1, size="1.0")
    service.expect(asset, "hedge", version=1, size="-2.0")
    listed = service.get("/api/v1/positions", asset=asset).json()
    assert [position["mode"] for position in listed["positions"]] == ["hedge", "one-way"] and listed["count"] == 2
