"""Publishes executions and market data to a service's queues, with confirms. Run by deploy/publish.sh."""

import argparse
import decimal
import json
import os
import random
import sys
import time
import uuid
from datetime import datetime, timezone

import pika
import pika.exceptions

MARKET_QUEUE = os.environ.get("POSITION_MANAGER_MARKET_QUEUE", "ws-gateway.position")
ORDER_QUEUE = os.environ.get("POSITION_MANAGER_ORDER_QUEUES", "order-manager.order_executed").split(",")[0]


def now():
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def connect():
    credentials = pika.PlainCredentials(os.environ.get("RABBITMQ_USER", "guest"), os.environ.get("RABBITMQ_PASSWORD", "guest"))
    connection = pika.BlockingConnection(
        pika.ConnectionParameters(
            host=os.environ.get("RABBITMQ_HOST", "127.0.0.1"),
            port=int(os.environ.get("RABBITMQ_PORT", "5672")),
            virtual_host=os.environ.get("RABBITMQ_VHOST", "/"),
            credentials=credentials,
        )
    )
    channel = connection.channel()
    channel.confirm_delivery()
    return connection, channel


def publish(channel, queue, event):
    """Fails (pika raises) if the broker does not take it or no such queue exists."""
    channel.basic_publish(
        exchange="",
        routing_key=queue,
        body=json.dumps(event).encode(),
        properties=pika.BasicProperties(delivery_mode=2, content_type="application/json"),
        mandatory=True,
    )


def fill_event(asset, side, quantity, price, fee="0", mode="one-way", leg=None, identity=None):
    event = {
        "event_type": "order_executed",
        "execution_id": identity or str(uuid.uuid4()),
        # The same identity sent again is the same execution of the same order: a repeat, and no conflict.
        "order_id": str(uuid.uuid5(uuid.NAMESPACE_OID, identity) if identity else uuid.uuid4()),
        "asset": asset,
        "side": side,
        "execution_quantity": str(quantity),
        "execution_price": str(price),
        "execution_fees": str(fee),
        "mode": mode,
        "executed_at": now(),
        "trace_id": str(uuid.uuid4()),
    }
    if leg:
        event["position_side"] = leg
    return event


def market_event(asset, side, size, average, mark, mode="one-way"):
    data = {"symbol": asset, "side": side, "size": str(size), "avgPrice": str(average), "markPrice": str(mark),
            "mode": mode, "timestamp": now()}
    return {"event_type": "position", "channel": "position", "trace_id": str(uuid.uuid4()), "timestamp": now(), "data": data}


def demo(channel, rate, seconds):
    """A few assets whose prices wander; fills at the price of the moment, and mark prices without a word about sizes."""
    # With as many digits as an exchange quotes: the smallest step of a price is far below what it wanders in one.
    prices = {asset: decimal.Decimal(price) for asset, price in (("BTCUSDT", "64000.00"), ("ETHUSDT", "3100.00"), ("SOLUSDT", "150.00"),
                                                                 ("XRPUSDT", "2.1000"), ("DOGEUSDT", "0.31000"))}
    sent = 0
    started = time.monotonic()
    try:
        while seconds is None or time.monotonic() - started < seconds:
            asset = random.choice(list(prices))
            step = decimal.Decimal(random.randint(-15, 15)) / 10000
            tick = decimal.Decimal(1).scaleb(prices[asset].as_tuple().exponent)
            prices[asset] = max(tick, (prices[asset] * (1 + step)).quantize(tick))
            if random.random() < 0.4:
                quantity = (decimal.Decimal(random.randint(50, 2000)) / prices[asset]).quantize(decimal.Decimal("0.001"))
                fee = (quantity * prices[asset] * decimal.Decimal("0.0006")).quantize(decimal.Decimal("0.00000001"))
                event = fill_event(asset, random.choice(["Buy", "Sell"]), max(quantity, decimal.Decimal("0.001")), prices[asset], fee)
                publish(channel, ORDER_QUEUE, event)
            else:
                data = {"symbol": asset, "markPrice": str(prices[asset]), "timestamp": now()}
                publish(channel, MARKET_QUEUE, {"event_type": "position", "channel": "position", "trace_id": str(uuid.uuid4()),
                                                "timestamp": now(), "data": data})
            sent += 1
            if sent % rate == 0:
                if sys.stdout.isatty():
                    print(f"\r{sent} events published (Ctrl-C ends it)", end="", flush=True)
                elif sent % (60 * rate) == 0:
                    print(f"{sent} events published", flush=True)
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
    except KeyboardInterrupt:
        pass
    print(f"\r{sent} events published" + " " * 24)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="deploy/publish.sh")
    commands = parser.add_subparsers(dest="command", required=True)
    fill = commands.add_parser("fill")
    for name in ("asset", "side", "quantity", "price"):
        fill.add_argument(name)
    fill.add_argument("--fee", default="0")
    fill.add_argument("--mode", default="one-way")
    fill.add_argument("--leg", choices=["long", "short"])
    fill.add_argument("--id")
    market = commands.add_parser("market")
    for name in ("asset", "side", "size", "average", "mark"):
        market.add_argument(name)
    market.add_argument("--mode", default="one-way")
    stream = commands.add_parser("demo")
    stream.add_argument("--rate", type=int, default=40)
    stream.add_argument("--seconds", type=float)
    return parser.parse_args()


def main():
    args = parse_arguments()
    connection, channel = connect()
    if args.command == "demo":
        demo(channel, max(1, args.rate), args.seconds)
    elif args.command == "fill":
        event = fill_event(args.asset, args.side, args.quantity, args.price, args.fee, args.mode, args.leg, args.id)
        publish(channel, ORDER_QUEUE, event)
        print(f"published execution {event['execution_id']}")
    else:
        publish(channel, MARKET_QUEUE, market_event(args.asset, args.side, args.size, args.average, args.mark, args.mode))
        print("published market data")
    connection.close()


if __name__ == "__main__":
    try:
        main()
    except pika.exceptions.UnroutableError:
        sys.exit("The broker has no such queue yet: is the service running?")
    except pika.exceptions.AMQPConnectionError as error:
        sys.exit(f"No connection to RabbitMQ at port {os.environ.get('RABBITMQ_PORT', '5672')}: {error!r}")
