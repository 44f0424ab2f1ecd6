"""Market data: what the exchange says of a position (contract §3.1)."""

import time

import pytest
from world import MARKET_QUEUE, market_event, rfc3339, wait_until

PAST = time.time() - 3600


def barrier(service, broker, asset, at, mark, **expected):
    """A last event of the asset: when it is seen, all before it have been taken."""
    broker.market(asset, at=at, markPrice=mark)
    return service.expect(asset, current_price=mark + ".00", **expected)


def test_an_event_creates_the_position(service, broker, asset):
    broker.market(asset, side="Buy", size="2", avgPrice="100.5", markPrice="101.5", realisedPnl="3")
    position = service.expect(asset, version=1)
    assert (position["size"], position["average_entry_price"], position["current_price"]) == ("2.0", "100.50", "101.50")
    assert (position["unrealized_pnl"], position["realized_pnl"]) == ("2.00", "3.00")
    assert position["price_stale"] is False and position["price_updated_at"] is not None


def test_sell_is_a_short(service, broker, asset):
    broker.market(asset, side="Sell", size="2", avgPrice="100", markPrice="90")
    service.expect(asset, version=1, size="-2.0", average_entry_price="100.00", unrealized_pnl="20.00")


def test_no_side_is_positive(service, broker, asset):
    broker.market(asset, side="None", size="2", avgPrice="100", markPrice="90")
    service.expect(asset, version=1, size="2.0", unrealized_pnl="-20.00")


@pytest.mark.parametrize("data", [{"markPrice": "5"}, {"side": "None", "size": "0", "markPrice": "5"}, {"size": "", "markPrice": "5"},
                                  {"size": None, "side": "Buy", "markPrice": "5"}])
def test_nothing_held_creates_nothing(service, broker, asset, data):
    broker.market(asset, at=PAST, **data)
    broker.market(asset, at=PAST + 1, side="Buy", size="1", avgPrice="4", markPrice="6")
    service.expect(asset, version=1, size="1.0", current_price="6.00")


def test_an_older_event_changes_nothing(service, broker, asset):
    broker.market(asset, at=PAST, side="Buy", size="2", avgPrice="100", markPrice="110")
    broker.market(asset, at=PAST - 1, side="Sell", size="5", avgPrice="900", markPrice="910", unrealisedPnl="77")
    barrier(service, broker, asset, PAST + 1, "111", version=2, size="2.0", average_entry_price="100.00", unrealized_pnl="22.00")


def test_the_same_time_with_another_content_is_applied(service, broker, asset):
    broker.market(asset, at=PAST, side="Buy", size="2", avgPrice="100", markPrice="110")
    broker.market(asset, at=PAST, side="Buy", size="3", avgPrice="100", markPrice="110")
    service.expect(asset, size="3.0", unrealized_pnl="30.00")


def test_the_same_event_again_changes_nothing(service, broker, asset):
    event = market_event(asset, PAST, side="Buy", size="2", avgPrice="100", markPrice="110")
    broker.publish(MARKET_QUEUE, event)
    broker.market(asset, at=PAST, side="Buy", size="3", avgPrice="100", markPrice="120")
    broker.publish(MARKET_QUEUE, event)
    barrier(service, broker, asset, PAST + 1, "121", size="3.0")


def test_events_without_a_time_are_applied_as_they_come(service, broker, asset):
    for mark in ("101", "102", "103"):
        broker.market(asset, at=False, side="Buy", size="1", avgPrice="100", markPrice=mark)
    service.expect(asset, current_price="103.00", unrealized_pnl="3.00")


def test_what_is_stored_already_raises_no_version_but_refreshes_the_price(service, broker, asset):
    said = dict(side="Buy", size="2", avgPrice="100", markPrice="110")
    broker.market(asset, at=PAST, **said)
    before = service.expect(asset, version=1)
    broker.market(asset, at=PAST + 1, **said)
    wait_until(lambda: service.position(asset)["price_updated_at"] != before["price_updated_at"], what="a younger price")
    after = service.position(asset)
    assert after["version"] == 1 and after["last_updated"] == before["last_updated"]


def test_a_zero_replaces_and_silence_does_not(service, broker, asset):
    broker.market(asset, at=PAST, side="Buy", size="2", avgPrice="100", markPrice="110", unrealisedPnl="19.5", realisedPnl="5")
    service.expect(asset, version=1, unrealized_pnl="19.50", realized_pnl="5.00")
    broker.market(asset, at=PAST + 1, markPrice="111", unrealisedPnl="", realisedPnl=None)
    service.expect(asset, version=2, unrealized_pnl="22.00", realized_pnl="5.00")
    broker.market(asset, at=PAST + 2, markPrice="111", unrealisedPnl="0", realisedPnl="0")
    service.expect(asset, version=3, unrealized_pnl="0.00", realized_pnl="0.00")


def test_both_spellings_and_both_envelopes(service, broker, asset):
    event = market_event(asset, False, side="sell", size=1.5, entryPrice=100, markPrice=90, unrealizedPnl="14.25", cumRealizedPnl="2")
    event["payload"] = event.pop("data")
    event["payload"]["updatedTime"] = str(int(PAST * 1000))
    broker.publish(MARKET_QUEUE, event)
    service.expect(asset, version=1, size="-1.5", average_entry_price="100.00", unrealized_pnl="14.25", realized_pnl="2.00")
    broker.market(asset, at=PAST - 5, markPrice="1")
    barrier(service, broker, asset, PAST + 5, "91", version=2)


def test_an_average_is_replaced_only_beyond_the_threshold(service, broker, asset):
    broker.market(asset, at=PAST, side="Buy", size="1", avgPrice="100")
    for step, average in enumerate(("100.05", "100.1", "0", "99.9"), 1):
        broker.market(asset, at=PAST + step, side="Buy", size="1", avgPrice=average)
    barrier(service, broker, asset, PAST + 10, "100", average_entry_price="100.00")
    broker.market(asset, at=PAST + 11, avgPrice="100.10000001")
    service.expect(asset, average_entry_price="100.10000001")


def test_a_turn_to_the_other_side_replaces_the_average_only_beyond_the_threshold(service, broker, asset):
    broker.market(asset, at=PAST, side="Buy", size="1", avgPrice="100", markPrice="110")
    broker.market(asset, at=PAST + 1, side="Sell", size="2", avgPrice="100.1", markPrice="110")
    service.expect(asset, version=2, size="-2.0", average_entry_price="100.00", unrealized_pnl="-20.00")
    broker.market(asset, at=PAST + 2, side="Buy", size="1", avgPrice="100.10000001", markPrice="110")
    service.expect(asset, version=3, size="1.0", average_entry_price="100.10000001", unrealized_pnl="9.89999999")


def test_fourteen_digits_are_rounded(service, broker, asset):
    broker.market(asset, side="Buy", size="1", avgPrice="48666.66666666666667", markPrice="48666.12345678500001", unrealisedPnl="-0.000000005")
    service.expect(asset, version=1, average_entry_price="48666.66666667", current_price="48666.12345679", unrealized_pnl="-0.00000001")


def test_after_an_execution_an_earlier_event_does_not_take_the_size(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100")
    service.expect(asset, version=1)
    broker.market(asset, at=PAST, side="Buy", size="7", avgPrice="100", markPrice="101")
    service.expect(asset, version=2, size="2.0", current_price="101.00", unrealized_pnl="2.00")


def test_after_an_execution_a_later_event_takes_the_size(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", executed_at=rfc3339(PAST))
    service.expect(asset, version=1)
    broker.market(asset, at=PAST + 1, side="Sell", size="7", avgPrice="100", markPrice="101")
    service.expect(asset, version=2, size="-7.0", unrealized_pnl="-7.00")


def test_a_flat_position_takes_no_average(service, broker, asset):
    broker.market(asset, at=PAST, side="Buy", size="1", avgPrice="100", markPrice="100")
    service.expect(asset, version=1)
    broker.market(asset, at=PAST + 1, side="None", size="0", avgPrice="50", markPrice="100")
    position = service.expect(asset, version=2, size="0.0", average_entry_price=None, unrealized_pnl="0.00")
    assert position["closed_at"] is not None


def test_hedge_legs_by_index_and_by_side(service, broker, asset):
    broker.market(asset, at=PAST, positionIdx=1, side="Buy", size="3", avgPrice="100", markPrice="110", unrealisedPnl="999")
    service.expect(asset, "hedge", version=1, size="3.0", long_size="3.0", unrealized_pnl="30.00", realized_pnl="0.00")
    broker.market(asset, at=PAST + 1, mode="hedge", side="Sell", size="1", avgPrice="120", markPrice="110", realisedPnl="5")
    service.expect(asset, "hedge", version=2, size="2.0", short_size="1.0", short_avg_price="120.00", unrealized_pnl="40.00", realized_pnl="0.00")
    assert service.position(asset) is None


def test_a_flat_leg_by_index(service, broker, asset):
    broker.market(asset, at=PAST, positionIdx="1", side="Buy", size="3", avgPrice="100", markPrice="110")
    broker.market(asset, at=PAST + 1, positionIdx=1, side="", size="0", avgPrice="0", markPrice="110")
    position = service.expect(asset, "hedge", size="0.0", long_size="0.0")
    assert position["long_avg_price"] is None and position["closed_at"] is not None
