"""The portfolio's figures and the derived ones of a position, recounted from the positions themselves (contract §2.4)."""

import json
import random
import time
from decimal import ROUND_HALF_UP, Context, Decimal

import pytest
from world import PORTFOLIO_QUEUE, World, rfc3339, wait_until

EXACT = Context(prec=100, rounding=ROUND_HALF_UP)
UNIT = Decimal("0.00000001")


def rounded(value):
    return value.quantize(UNIT, context=EXACT)


def number(text):
    return None if text is None else Decimal(text)


def legs(position):
    """(long size, short size), unsigned."""
    if position["mode"] == "hedge":
        return number(position["long_size"]), number(position["short_size"])
    size = number(position["size"])
    return (size, Decimal(0)) if size > 0 else (Decimal(0), -size)


def recount(positions):
    zero = Decimal(0)
    totals = {"total_exposure_usdt": zero, "net_exposure_usdt": zero, "total_unrealized_pnl_usdt": zero, "total_realized_pnl_usdt": zero}
    counts = {"open_positions_count": 0, "long_positions_count": 0, "short_positions_count": 0, "unpriced_positions_count": 0}
    for position in positions:
        price, (long, short) = number(position["current_price"]), legs(position)
        totals["total_unrealized_pnl_usdt"] += number(position["unrealized_pnl"])
        totals["total_realized_pnl_usdt"] += number(position["realized_pnl"])
        if price is not None:
            totals["total_exposure_usdt"] += EXACT.multiply(long + short, price)
            totals["net_exposure_usdt"] += EXACT.multiply(long - short, price)
        counts["open_positions_count"] += long > 0 or short > 0
        counts["long_positions_count"] += long > 0
        counts["short_positions_count"] += short > 0
        counts["unpriced_positions_count"] += price is None and (long > 0 or short > 0)
    totals["portfolio_value_usdt"] = totals["net_exposure_usdt"]
    return {**{name: rounded(value) for name, value in totals.items()}, **counts}


def shown(portfolio):
    return {name: number(value) if isinstance(value, str) else value for name, value in portfolio.items() if name != "calculated_at"}


@pytest.fixture(scope="module")
def positions(service, broker):
    """Forty positions of every kind: long, short, hedge, closed, unpriced, with many digits."""
    rng = random.Random(7)
    for count in range(40):
        asset, mode = f"P{count:02d}USDT", rng.choice(("one-way", "hedge"))
        for _ in range(rng.randrange(1, 4)):
            broker.fill(asset, rng.choice(("Buy", "Sell")), f"{rng.randrange(1, 10**4)}.{rng.randrange(10**8):08d}", f"{rng.randrange(1, 10**5)}.{rng.randrange(10**8):08d}",
                        fees=f"0.{rng.randrange(10**8):08d}", mode=mode)
        if count % 5 == 0:
            broker.fill(asset, "Buy", "1", "10", mode="one-way")
            broker.fill(asset, "Sell", "1", "12", mode="one-way", order_id=None)
        if count % 4:
            broker.market(asset, mode=mode, markPrice=f"{rng.randrange(1, 10**5)}.{rng.randrange(10**8):08d}")
    broker.fill("LASTUSDT", "Buy", "1", "1")
    service.expect("LASTUSDT", version=1)
    wait_until(lambda: service.get("/health").json()["pending_commits"] == 0)
    service.world.expect_queues_empty()
    return service.get("/api/v1/positions").json()["positions"]


def test_totals_and_counts_equal_a_recount(service, positions):
    portfolio = shown(service.get("/api/v1/portfolio").json())
    for name, value in recount(positions).items():
        assert portfolio[name] == value, name
    assert portfolio["unpriced_positions_count"] > 3 and portfolio["short_positions_count"] > 3


def test_exposure_and_pnl_say_the_same(service, positions):
    expected = recount(positions)
    exposure, pnl = service.get("/api/v1/portfolio/exposure").json(), service.get("/api/v1/portfolio/pnl").json()
    whole = service.get("/api/v1/portfolio").json()
    for name in ("total_exposure_usdt", "net_exposure_usdt"):
        assert number(exposure[name]) == expected[name]
    for name in ("total_unrealized_pnl_usdt", "total_realized_pnl_usdt"):
        assert number(pnl[name]) == expected[name]
    assert number(pnl["total_pnl_usdt"]) == expected["total_unrealized_pnl_usdt"] + expected["total_realized_pnl_usdt"]
    assert exposure["by_asset"] == pnl["by_asset"] == whole["by_asset"]


def test_one_asset_restricts_every_figure(service, positions):
    for asset in sorted({position["asset"] for position in positions})[:15]:
        own = [position for position in positions if position["asset"] == asset]
        portfolio = service.get("/api/v1/portfolio", asset=asset.lower(), include_positions="true").json()
        for name, value in recount(own).items():
            assert shown(portfolio)[name] == value, (asset, name)
        assert list(portfolio["by_asset"]) == [asset] and [one["id"] for one in portfolio["positions"]] == [one["id"] for one in own]
        line, expected = portfolio["by_asset"][asset], recount(own)
        assert number(line["exposure_usdt"]) == expected["total_exposure_usdt"]
        assert number(line["unrealized_pnl_usdt"]) == expected["total_unrealized_pnl_usdt"]
        assert number(line["realized_pnl_usdt"]) == expected["total_realized_pnl_usdt"]
        assert number(line["size"]) == sum(number(one["size"]) for one in own)


def test_an_asset_that_nobody_holds_has_an_empty_portfolio(service, positions):
    portfolio = service.get("/api/v1/portfolio", asset="NOSUCHUSDT", include_positions="true").json()
    assert portfolio["by_asset"] == {} and portfolio["positions"] == [] and portfolio["total_exposure_usdt"] == "0.00"


def test_derived_figures_of_each_position(service, positions):
    exposure = sum(EXACT.multiply(sum(legs(one)), number(one["current_price"])) for one in positions if one["current_price"] is not None)
    for one in positions:
        size, average, price = number(one["size"]), number(one["average_entry_price"]), number(one["current_price"])
        long, short = legs(one)
        if one["mode"] == "hedge":
            assert size == long - short
            only = {(True, False): one["long_avg_price"], (False, True): one["short_avg_price"]}.get((long > 0, short > 0))
            assert one["average_entry_price"] == only
        else:
            assert (one["long_size"], one["short_size"], one["long_avg_price"], one["short_avg_price"]) == (None, None, None, None)
        if size == 0 or average is None:
            assert one["unrealized_pnl_pct"] is None
        else:
            basis = EXACT.multiply(abs(size), average)
            assert number(one["unrealized_pnl_pct"]) == rounded(EXACT.divide(number(one["unrealized_pnl"]) * 100, basis)), one
        if price is None:
            assert one["position_size_norm"] is None and one["price_stale"] is True
        else:
            assert number(one["position_size_norm"]) == rounded(EXACT.divide(EXACT.multiply(long + short, price), exposure)), one
        is_open = long > 0 or short > 0
        assert (one["closed_at"] is None) is is_open and (one["average_entry_price"] is None or is_open)
        assert is_open or one["unrealized_pnl"] == "0.00"


def test_the_portfolio_is_announced_with_the_same_figures(service, broker, positions):
    expected = service.get("/api/v1/portfolio").json()
    messages = [json.loads(body) for _, body in broker.drain(PORTFOLIO_QUEUE)]
    broker.fill("LASTUSDT", "Buy", "1", "1")
    service.expect("LASTUSDT", version=2)

    def more():
        messages.extend(json.loads(body) for _, body in broker.drain(PORTFOLIO_QUEUE))
        return messages and all(messages[-1][name] == value for name, value in expected.items() if name not in ("calculated_at", "by_asset"))
    wait_until(more)


def test_time_held_counts_whole_minutes_from_opening_to_closing(service, broker, asset, other_asset):
    now = time.time()
    broker.fill(asset, "Buy", "1", "100", executed_at=rfc3339(now - 600.5))
    broker.fill(other_asset, "Buy", "1", "100", executed_at=rfc3339(now - 3600))
    broker.fill(other_asset, "Sell", "1", "100", executed_at=rfc3339(now - 3600 + 119))
    assert service.expect(asset, version=1)["time_held_minutes"] == 10
    assert service.expect(other_asset, version=2)["time_held_minutes"] == 1


def test_there_is_no_norm_without_exposure(servers, world, tmp_path):
    name = f"norm_{world.name}"
    servers.make_database(name)
    servers.make_vhost(name)
    other = World(servers, name, world.binary, tmp_path)
    try:
        service = other.service().start()
        other.broker.market("AUSDT", side="Buy", size="1", avgPrice="10", markPrice="10")
        service.expect("AUSDT", position_size_norm="1.00")
        other.broker.fill("AUSDT", "Sell", "1", "10")
        service.expect("AUSDT", version=2, position_size_norm="0.00")
    finally:
        other.close()
