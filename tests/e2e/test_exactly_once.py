"""An execution counts once, however often and however it comes (contract §3.3)."""

import json
import random
import time
import uuid

import pytest
from world import DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, fill_event, nested_event, wait_until


@pytest.fixture(scope="module")
def service(world):
    """This file kills and restarts the service, so it looks after it itself."""
    service = world.service().start()
    yield service
    world.expect_queues_empty()
    assert service.stop()[0] == 0


# How an execution says who it is: (its fields, its AMQP message id).
IDENTITIES = {
    "execution_id": ({}, None),
    "event_id": ({"execution_id": None, "event_id": "by-event"}, None),
    "message_id": ({"execution_id": None}, "by-message"),
    "digest": ({"execution_id": None}, None),
}


@pytest.mark.parametrize("kind", IDENTITIES)
def test_repeats_count_once_also_after_restart_and_crash(service, broker, asset, kind):
    fields, message_id = IDENTITIES[kind]
    fields = {name: value and f"{value}-{asset}" for name, value in fields.items()}
    message_id = message_id and f"{message_id}-{asset}"
    event = fill_event(asset, "Buy", "1", "100", fees="0.1", **fields)
    for _ in range(3):
        broker.publish(ORDER_QUEUE, event, message_id)
    broker.fill(asset, "Buy", "1", "200")
    service.expect(asset, version=2, size="2.0", average_entry_price="150.00", fees_paid="0.10")
    assert service.stop()[0] == 0
    broker.publish(ORDER_QUEUE, event, message_id)
    service.start()
    service.kill()
    broker.publish(ORDER_QUEUE, event, message_id)
    service.start()
    broker.fill(asset, "Buy", "2", "300")
    service.expect(asset, version=3, size="4.0", average_entry_price="225.00", fees_paid="0.10")


def test_without_any_identity_each_counts_and_is_warned_about(service, broker, asset):
    event = fill_event(asset, "Buy", "1", "100", execution_id=None, order_id=None, trace_id=None)
    broker.publish(ORDER_QUEUE, event)
    broker.publish(ORDER_QUEUE, event)
    service.expect(asset, version=2, size="2.0")


@pytest.mark.parametrize("first, then, message_ids, counted", [
    ({"execution_id": "x", "event_id": "e"}, {"execution_id": "x", "event_id": "f"}, ("m", "n"), 1),
    ({"execution_id": "x", "event_id": "e"}, {"execution_id": "y", "event_id": "e"}, ("m", "m"), 2),
    ({"event_id": "e"}, {"event_id": "e"}, ("m", "n"), 1),
    ({"event_id": "e"}, {"event_id": "f"}, ("m", "m"), 2),
    ({"execution_id": "same"}, {"event_id": "same"}, ("m", "m"), 2),
    ({}, {}, ("m", "n"), 2),
    ({"execution_id": None, "event_id": ""}, {"execution_id": None, "event_id": ""}, ("m", "m"), 1),
])
def test_the_first_of_the_names_that_is_there_is_the_identity(service, broker, asset, first, then, message_ids, counted):
    event = fill_event(asset, "Buy", "1", "100")
    del event["execution_id"]
    for names, message_id in zip((first, then), message_ids):
        names = {key: value and f"{value}-{asset}" for key, value in names.items()}
        broker.publish(ORDER_QUEUE, {**event, **names}, f"{message_id}-{asset}")
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=counted + 1)
    assert broker.get(DEAD_LETTER_QUEUE) is None


@pytest.mark.parametrize("changed", [{"execution_fees": "9"}, {"executed_at": "2025-01-01T00:00:00Z"}, {"trace_id": "another"}, {"note": "new"},
                                     {"execution_quantity": 1.0, "execution_price": "100.000"}, {"side": "BUY", "mode": None}],
                         ids=["fees", "time", "trace", "more", "spelling", "case"])
def test_what_is_no_part_of_the_content_makes_no_conflict(service, broker, asset, changed):
    event = fill_event(asset, "Buy", "1", "100", fees="1")
    broker.publish(ORDER_QUEUE, event)
    broker.publish(ORDER_QUEUE, {**event, "asset": asset.lower(), **changed})
    broker.fill(asset, "Buy", "1", "100", fees="1")
    service.expect(asset, version=2, size="2.0", fees_paid="2.00")
    assert broker.get(DEAD_LETTER_QUEUE) is None


def test_market_events_keep_their_order_around_a_crash(service, broker, asset):
    at = time.time() - 100
    first = broker.market(asset, at, side="Buy", size="1", avgPrice="100", markPrice="110")
    broker.market(asset, at, side="Buy", size="2", avgPrice="100", markPrice="120")
    service.expect(asset, version=2, size="2.0")
    service.kill()
    service.start()
    broker.publish(MARKET_QUEUE, first)  # the same again, behind another of its time
    broker.market(asset, at - 1, side="Buy", size="3", avgPrice="100", markPrice="130")
    broker.market(asset, at, markPrice="140")
    service.expect(asset, version=3, size="2.0", current_price="140.00", unrealized_pnl="80.00")


@pytest.mark.parametrize("changed", [{"execution_quantity": "2"}, {"execution_price": "101"}, {"side": "Sell"}, {"mode": "hedge"},
                                     {"order_id": "another"}])
def test_the_same_identity_with_another_content_is_refused(service, broker, asset, changed):
    event = fill_event(asset, "Buy", "1", "100")
    broker.publish(ORDER_QUEUE, event)
    service.expect(asset, version=1)
    body = broker.publish(ORDER_QUEUE, {**event, **changed})
    properties, refused = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert (properties.headers["x-reason"], refused) == ("identity_conflict", body)
    assert service.position(asset)["version"] == 1 and service.position(asset, "hedge") is None


def test_the_same_identity_for_another_asset_is_refused(service, broker, asset, other_asset):
    event = fill_event(asset, "Buy", "1", "100")
    broker.publish(ORDER_QUEUE, event)
    service.expect(asset, version=1)
    broker.publish(ORDER_QUEUE, {**event, "asset": other_asset})
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert properties.headers["x-reason"] == "identity_conflict"
    assert service.position(other_asset) is None


def test_a_conflict_is_found_after_a_restart_too(service, broker, asset):
    event = fill_event(asset, "Buy", "1", "100")
    broker.publish(ORDER_QUEUE, event)
    service.expect(asset, version=1)
    service.kill()
    service.start()
    broker.publish(ORDER_QUEUE, {**event, "execution_quantity": "3"})
    properties, _ = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert properties.headers["x-reason"] == "identity_conflict"


def test_a_repeat_that_would_not_fit_any_more_is_still_a_repeat(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", mode="hedge")
    reduction = broker.fill(asset, "Sell", "2", "110", mode="hedge", reduce_only=True)
    service.expect(asset, "hedge", version=2, long_size="0.0", realized_pnl="20.00")
    service.kill()
    service.start()
    broker.publish(ORDER_QUEUE, reduction)
    other = broker.publish(ORDER_QUEUE, {**reduction, "execution_quantity": "3"})
    properties, refused = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert (properties.headers["x-reason"], refused) == ("identity_conflict", other)
    broker.fill(asset, "Buy", "1", "100", mode="hedge")
    service.expect(asset, "hedge", version=3, long_size="1.0")
    assert broker.get(DEAD_LETTER_QUEUE) is None


def test_what_is_fresh_is_not_refused_for_repeats_before_it(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", mode="hedge")
    reduction = broker.fill(asset, "Sell", "1", "110", mode="hedge", reduce_only=True)
    service.expect(asset, "hedge", version=2, long_size="1.0")
    service.kill()
    broker.publish(ORDER_QUEUE, reduction)  # with it counted again, the next one would go below zero
    broker.fill(asset, "Sell", "1", "120", mode="hedge", reduce_only=True)
    service.start()
    service.expect(asset, "hedge", version=3, long_size="0.0", realized_pnl="30.00")
    assert broker.get(DEAD_LETTER_QUEUE) is None


def test_a_refused_event_leaves_its_identity_free(service, broker, asset):
    event = fill_event(asset, "Buy", "0", "100")
    broker.publish(ORDER_QUEUE, event)
    wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    broker.publish(ORDER_QUEUE, {**event, "execution_quantity": "1"})
    service.expect(asset, version=1, size="1.0")


def test_a_cumulative_repeat_under_another_event_id_counts_once_after_a_restart(service, broker, asset):
    order_id = str(uuid.uuid4())
    broker.publish(ORDER_QUEUE, nested_event(asset, "Buy", "2", "100", order_id))
    service.expect(asset, version=1)
    service.kill()
    service.start()
    broker.publish(ORDER_QUEUE, nested_event(asset, "Buy", "2", "100", order_id))
    broker.publish(ORDER_QUEUE, nested_event(asset, "Buy", "3", "120", order_id))
    service.expect(asset, version=2, size="3.0", average_entry_price="120.00")


def test_kill_in_the_middle_of_a_stream_loses_and_doubles_nothing(service, broker, asset):
    rounds, each = 5, 400
    for _ in range(rounds):
        for _ in range(each):
            broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "1", "100", fees="0.01"))
        time.sleep(random.random() * 0.05)
        service.kill()
        service.start()
    total = rounds * each
    service.expect(asset, version=total, size=f"{total}.0", fees_paid=f"{total // 100}.00")


def test_sigterm_in_the_middle_of_a_stream_loses_and_doubles_nothing(service, broker, asset):
    for _ in range(1500):
        broker.publish(ORDER_QUEUE, fill_event(asset, "Sell", "1", "100"))
    status, seconds = service.stop()
    assert status == 0 and seconds < 10
    service.start()
    service.expect(asset, version=1500, size="-1500.0")


def test_without_ids_another_body_is_another_execution(service, broker, asset):
    event = fill_event(asset, "Buy", "1", "100", execution_id=None)
    broker.publish(ORDER_QUEUE, json.dumps(event).encode())
    broker.publish(ORDER_QUEUE, json.dumps({**event, "note": "another execution of the same order"}).encode())
    service.expect(asset, version=2, size="2.0")
