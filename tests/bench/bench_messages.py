"""What upstream services would send, as files of records for pm_publish, and positions to start from."""

import os
import random

from bench_world import MARKET_QUEUE, ORDER_QUEUE, Service


def asset(number):
    return f"A{number:06d}USDT"


def write_records(path, queue, bodies):
    if not os.path.exists(path):
        with open(path + ".new", "wb") as out:
            for body in bodies:
                data = body.encode()
                out.write(b"%s - %d\n%s\n" % (queue.encode(), len(data), data))
        os.rename(path + ".new", path)
    return path


def executions(world, count, assets):
    """Fills of orders that have four each, buys and sells, prices that move."""
    def bodies():
        draw = random.Random(1)
        for number in range(count):
            which = draw.randrange(assets) + 1
            yield (f'{{"event_type":"order_executed","execution_id":"execution-{number}","order_id":"order-{which}-{number // (4 * assets)}",'
                   f'"asset":"{asset(which)}","side":"{"Buy" if draw.random() < 0.6 else "Sell"}",'
                   f'"execution_quantity":"{draw.randrange(1, 4000) / 1000}","execution_price":"{draw.randrange(4900000, 5100000) / 100}",'
                   f'"execution_fees":"{draw.randrange(1, 999) / 10000}","executed_at":"2026-01-15T10:{number // 60000 % 60:02d}:{number // 1000 % 60:02d}.{number % 1000:03d}Z",'
                   f'"trace_id":"trace-{number}"}}')
    return write_records(f"{world.directory}/executions-{count}-{assets}", ORDER_QUEUE, bodies())


def market_events(world, count, assets):
    """An exchange's stream: mark price and unrealized PnL move with every event, size and average stay."""
    def bodies():
        draw = random.Random(2)
        for number in range(count):
            which = draw.randrange(assets) + 1
            mark = draw.randrange(4900000, 5100000) / 100
            yield (f'{{"event_type":"position","channel":"position","trace_id":"trace-{number}","timestamp":"2026-01-15T10:00:00Z",'
                   f'"data":{{"symbol":"{asset(which)}","side":"Buy","size":"1.5","avgPrice":"50000","markPrice":"{mark}",'
                   f'"unrealisedPnl":"{(mark - 50000) * 1.5:.3f}","positionIdx":0,"updatedTime":"{1768471200000 + number}"}}}}')
    return write_records(f"{world.directory}/market-{count}-{assets}", MARKET_QUEUE, bodies())


def make_template(world, positions):
    """A database with so many open, priced positions, made by the service and filled by SQL. Returns its name."""
    name = f"bench_{positions}"
    if name in world.templates:
        return name
    world.make_database(name)
    service = Service(world, name)
    service.wait_ready()
    service.stop()
    world.sql(f"""insert into positions (asset, mode, size, average_entry_price, current_price, unrealized_pnl, realized_pnl,
              fees_paid, version, price_updated_at, last_updated, created_at, opened_at)
              select 'A' || lpad(n::text, 6, '0') || 'USDT', 'one-way', 1.5, 50000, 50100.25, 150.375, 12.5, 0.75, 1, now(),
              now(), now(), now() from generate_series(1, {positions}) n""", name)
    world.sql("analyze", name)
    # The rows are news to the service: what it has to note about them is no part of any measurement.
    service = Service(world, name)
    service.wait_ready(timeout=600)
    service.stop()
    world.sql("vacuum analyze", name)
    world.templates.add(name)
    return name
