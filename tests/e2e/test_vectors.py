"""Worked examples that exchanges and other position keepers publish, where their rules are ours: average cost, linear contracts.

Where theirs differ it is said beside the example: some take opening fees out of realized PnL as well (ours are in fees_paid alone),
and none rounds its average to eight digits after each fill, so the last digits may differ.
"""

from decimal import Decimal

import pytest

# name: (fills: side, quantity, price, fee; mark price or None; what it comes to)
EXACT = {
    # Bybit, help centre, "P&L calculations (USDT contract)": average entry price
    "bybit adds to a long": ([("Buy", "0.5", "5000", "0"), ("Buy", "0.3", "6000", "0")], None, {"size": "0.8", "average_entry_price": "5375.00"}),
    # the same page: unrealized P&L of a long and of a short
    "bybit long at a profit": ([("Buy", "0.2", "7000", "0")], "7500", {"unrealized_pnl": "100.00"}),
    "bybit short at a profit": ([("Sell", "0.4", "6000", "0")], "5000", {"unrealized_pnl": "400.00"}),
    # the same page: closed P&L is 400 less both fees and funding there; ours is less the closing fee, both are paid
    "bybit closes a short": ([("Sell", "0.4", "6000", "1.32"), ("Buy", "0.4", "5000", "1.10")], None,
                             {"size": "0.0", "realized_pnl": "398.90", "fees_paid": "2.42"}),
    # KuCoin, "USDT-margined futures, position info": 1,000 and 2,000 contracts of 0.001 BTC, entry price and unrealized PnL
    "kucoin adds to a long": ([("Buy", "1", "50000", "0"), ("Buy", "2", "60000", "0")], None, {"average_entry_price": "56666.66666667"}),
    "kucoin long at a profit": ([("Buy", "1", "50000", "0")], "55000", {"unrealized_pnl": "5000.00"}),
    # fin-primitives, position_lifecycle
    "fin-primitives averages": ([("Buy", "10", "100", "0"), ("Buy", "5", "130", "0")], None, {"average_entry_price": "110.00"}),
    "fin-primitives closes": ([("Buy", "100", "200", "0"), ("Sell", "100", "220", "0")], None, {"realized_pnl": "2000.00", "size": "0.0"}),
    # NautilusTrader, test_position: profits and losses of longs and shorts at a price
    "nautilus long at a profit": ([("Buy", "12", "10500", "126")], "10510", {"unrealized_pnl": "120.00", "fees_paid": "126.00"}),
    "nautilus long at a loss": ([("Buy", "12", "10500", "0")], "10480.50", {"unrealized_pnl": "-234.00"}),
    "nautilus short at a profit": ([("Sell", "10.15", "10500", "0")], "10390", {"unrealized_pnl": "1116.50"}),
    "nautilus short at a loss": ([("Sell", "10", "10500", "0")], "10670.50", {"unrealized_pnl": "-1705.00"}),
    "nautilus two buys": ([("Buy", "2", "10500", "0"), ("Buy", "2", "10500", "0")], "11505.60", {"unrealized_pnl": "4022.40"}),
    "nautilus short in fractions": ([("Sell", "5.912", "10505.60", "62.1091072")], "10407.15", {"unrealized_pnl": "582.0364", "fees_paid": "62.1091072"}),
    "nautilus flat again": ([("Buy", "100000", "1", "2"), ("Buy", "100000", "1.00001", "2"), ("Sell", "200000", "1.0001", "4")], "1.0005",
                            {"size": "0.0", "realized_pnl": "15.00", "fees_paid": "8.00", "unrealized_pnl": "0.00"}),  # 11 there: less all fees
    "nautilus reopened": ([("Buy", "150000", "1.00001", "0"), ("Sell", "150000", "1.00011", "0"), ("Buy", "150000", "1.00012", "0")], "1.0003",
                          {"average_entry_price": "1.00012", "unrealized_pnl": "27.00", "realized_pnl": "15.00"}),
}

# NautilusTrader, test_position: after each fill size, average, and realized PnL less every fee; the first is Trading Technologies' example
FOLLOWED = {
    "trading technologies": [("Buy", "12", "100", "0.12", "12", "100", "-0.12"), ("Buy", "17", "99", "0.1683", "29", "99.41379310344827", "-0.2883"),
                             ("Sell", "9", "101", "0.0909", "20", "99.41379310344827", "13.89666207"),
                             ("Sell", "4", "105", "0.042", "16", "99.41379310344827", "36.19948966"),
                             ("Buy", "3", "103", "0.0309", "19", "99.98003629764065", "36.16858966")],
    "interleaved sides": [("Buy", "12", "10000", "120", "12", "10000", "-120"), ("Buy", "17", "9999", "169.983", "29", "9999.413793103447", "-289.983"),
                          ("Sell", "9", "10001", "90.009", "20", "9999.413793103447", "-365.71613793"),
                          ("Buy", "3", "10003", "30.009", "23", "9999.88155922039", "-395.72513793"),
                          ("Sell", "4", "10005", "40.02", "19", "9999.88155922039", "-415.27137481")],
}
NEAR = Decimal("0.0000005")


@pytest.mark.parametrize("name", EXACT)
def test_published_examples_come_out_the_same(service, broker, asset, name):
    fills, mark, expected = EXACT[name]
    for side, quantity, price, fee in fills:
        broker.fill(asset, side, quantity, price, fees=fee)
    service.expect(asset, version=len(fills))
    if mark is not None:
        broker.market(asset, markPrice=mark)
        service.expect(asset, current_price=f"{Decimal(mark):.2f}" if Decimal(mark) > 2 else mark)
    service.expect(asset, **expected)


@pytest.mark.parametrize("name", FOLLOWED)
def test_each_step_of_a_published_history_comes_out_the_same(service, broker, asset, name):
    opening_fees = Decimal(0)
    for version, (side, quantity, price, fee, size, average, net) in enumerate(FOLLOWED[name], 1):
        broker.fill(asset, side, quantity, price, fees=fee)
        position = service.expect(asset, version=version)
        opening_fees += Decimal(fee) if side == "Buy" else 0
        assert Decimal(position["size"]) == Decimal(size)
        assert abs(Decimal(position["average_entry_price"]) - Decimal(average)) < NEAR
        assert abs(Decimal(position["realized_pnl"]) - opening_fees - Decimal(net)) < NEAR
