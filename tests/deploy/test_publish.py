"""The demo's stream (deploy/lib/publish.py), without a broker: lively, and made of what the service takes."""

import importlib.util
import json
from collections import defaultdict
from decimal import Decimal

import pytest


class Clock:
    """Moves when somebody sleeps, and by nothing else: a busy machine takes nothing away."""

    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


class Channel:
    """Keeps what is published."""

    def __init__(self):
        self.events = []

    def basic_publish(self, exchange, routing_key, body, properties, mandatory):
        assert exchange == "" and mandatory and properties.delivery_mode == 2
        self.events.append((routing_key, json.loads(body)))


@pytest.fixture(scope="module")
def events(root):
    spec = importlib.util.spec_from_file_location("publish", root / "deploy" / "lib" / "publish.py")
    publish = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(publish)
    publish.time = Clock()
    channel = Channel()
    publish.demo(channel, 2000, 1.0)
    return channel.events


def test_every_asset_of_the_demo_trades_both_ways_and_its_price_moves(events):
    prices, sides = defaultdict(set), defaultdict(set)
    for queue, event in events:
        if queue == "ws-gateway.position":
            prices[event["data"]["symbol"]].add(Decimal(event["data"]["markPrice"]))
        else:
            sides[event["asset"]].add(event["side"])
    assert len(events) == 2000 and len(prices) == 5 and set(prices) == set(sides)
    assert all(len(seen) > 10 for seen in prices.values()), {asset: len(seen) for asset, seen in prices.items()}
    assert all(seen == {"Buy", "Sell"} for seen in sides.values())


def test_executions_of_the_demo_have_an_identity_each_and_plain_decimals(events):
    fills = [event for queue, event in events if queue == "order-manager.order_executed"]
    assert len({event["execution_id"] for event in fills}) == len(fills) > 100
    for event in fills:
        for field in ("execution_quantity", "execution_price", "execution_fees"):
            assert "E" not in event[field] and Decimal(event[field]) > 0 and -Decimal(event[field]).as_tuple().exponent <= 8, event
