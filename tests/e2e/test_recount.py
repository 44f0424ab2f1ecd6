"""Hundreds of thousands of messages, recounted digit for digit by PostgreSQL's own numeric (recount.sql).

tests/run.sh recount-full runs the full size with a fresh seed, which is printed; every run of the tests does a smaller one.
PM_RECOUNT_SEED repeats a run.

Around kill -9 the order of an asset's executions matters, for average cost depends on it. Assumed, and tested by this very
comparison: with one consumer a classic queue takes back what was not acknowledged at its old place, so the order is kept.
"""

import os
import random
import subprocess
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from recount_stream import Stream, encode
from world import DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, PORTFOLIO_QUEUE, POSITION_QUEUE, World, seed_of_run

HERE = Path(__file__).parent
EXECUTIONS = int(os.environ.get("PM_RECOUNT_EXECUTIONS", "20000"))
MARKET = int(os.environ.get("PM_RECOUNT_MARKET", "20000"))
KILLS = 10
QUEUES = {"executions": ORDER_QUEUE, "market": MARKET_QUEUE}
DECIMALS = ("size", "average_entry_price", "current_price", "unrealized_pnl", "realized_pnl", "fees_paid", "long_size", "short_size",
            "long_avg_price", "short_avg_price")


def shown(value, digits):
    """As the contract shows decimals: trailing zeros trimmed, but so many digits at least."""
    if value is None:
        return None
    whole, fraction = f"{value:.8f}".split(".")
    return f"{whole}.{fraction.rstrip('0').ljust(digits, '0')}"


class Recount:
    """Publishes a stream and recounts it."""

    def __init__(self, world, seed, around_crashes):
        self.world = world
        self.stream = Stream(seed, around_crashes)
        self.messages = []
        name = f"{world.name}_sql"
        world.servers.make_database(name)
        self.scratch = psycopg2.connect(dbname=name, **world.servers.pg)
        self.scratch.autocommit = True
        self.scratch.cursor().execute((HERE / "recount.sql").read_text())
        self.publishers = []

    def publish(self, messages, rate=0):
        """Starts publishing; one process a queue."""
        by_queue = {queue: [] for queue in QUEUES}
        for message in messages:
            self.messages.append(message)
            by_queue[message[0]].append(message)
        for queue, list_of_queue in by_queue.items():
            path = self.world.directory / f"{queue}-{len(self.messages)}.records"
            with open(path, "wb") as file:
                for _, message_id, body, _ in list_of_queue:
                    data = encode(body).encode()
                    file.write(b"%s %s %d\n%s\n" % (QUEUES[queue].encode(), (message_id or "-").encode(), len(data), data))
            amqp = self.world.servers.amqp
            program = str(self.world.binary.parent / "pm_publish")
            self.publishers.append(subprocess.Popen(
                [program, amqp["host"], amqp["port"], amqp["user"], amqp["password"], self.world.name, str(rate)],
                stdin=open(path, "rb"), stdout=subprocess.PIPE, text=True))

    def published(self):
        for publisher in self.publishers:
            output, _ = publisher.communicate(timeout=900)
            assert publisher.returncode == 0
            print("recount:", output.strip())
        self.publishers = []

    def fold(self):
        """{(asset, mode): figures}, Counter of refused bodies."""
        path = self.world.directory / "published.tsv"
        with open(path, "w") as file:
            for seq, (queue, message_id, body, planted) in enumerate(self.messages):
                file.write("\t".join((str(seq), queue, message_id or "\\N", encode(body), planted or "\\N")) + "\n")
        cursor = self.scratch.cursor()
        with open(path) as file:
            cursor.copy_expert("copy published from stdin", file)
        started = time.monotonic()
        cursor.execute("select recount()")
        print(f"recount: folded {len(self.messages)} messages in {time.monotonic() - started:.1f} s")
        cursor.execute("select * from recounted")
        columns = [column.name for column in cursor.description]
        positions = {(row[0], row[1]): dict(zip(columns, row)) for row in cursor.fetchall()}
        cursor.execute("select p.body, r.reason from refused r join published p using (seq)")
        refused = cursor.fetchall()
        cursor.execute("select reason, count(*) from refused group by 1 order by 1")
        print("recount: refused", dict(cursor.fetchall()))
        return positions, Counter(body for body, _ in refused), Counter(refused)


def compare_positions(world, service, expected):
    """Every field of every position, over HTTP and in its row."""
    listed = {(one["asset"], one["mode"]): one for one in service.get("/api/v1/positions").json()["positions"]}
    assert set(listed) == set(expected)
    differences = []
    for key, figures in expected.items():
        row = world.db.row(*key)
        for field in DECIMALS:
            wanted = figures[field]
            if row[field] != wanted:
                differences.append((key, "row", field, row[field], wanted))
            digits = 1 if field in ("size", "long_size", "short_size") else 2
            if listed[key][field] != shown(wanted, digits):
                differences.append((key, "http", field, listed[key][field], shown(wanted, digits)))
        if row["version"] != listed[key]["version"]:
            differences.append((key, "version", row["version"], listed[key]["version"]))
        is_flat = not (figures["size"] or figures["long_size"] or figures["short_size"])
        if (listed[key]["closed_at"] is not None) != is_flat:
            differences.append((key, "closed_at", listed[key]["closed_at"], figures["size"]))
        # A market event that changes nothing raises no version, an applied execution always does.
        most = figures["executions"] + figures["market_events"]
        if not figures["executions"] <= row["version"] <= most or (figures["market_events"] == 0 and row["version"] != most):
            differences.append((key, "version", row["version"], figures["executions"], figures["market_events"]))
    assert not differences, f"{len(differences)} differences, the first: {differences[:10]}"


def compare_portfolio(world, service):
    """Totals are sums over the rows."""
    def amount(value):
        return shown(value, 2)
    exposure, net, unrealized, realized = world.db.query("""
        select coalesce(sum(coalesce(long_size + short_size, abs(size)) * current_price), 0), coalesce(sum(size * current_price), 0),
               sum(unrealized_pnl), sum(realized_pnl) from positions""")[0]
    is_open, is_long, is_short = world.db.query("""
        select count(*) filter (where size <> 0 or long_size > 0 or short_size > 0),
               count(*) filter (where case when mode = 'hedge' then long_size > 0 else size > 0 end),
               count(*) filter (where case when mode = 'hedge' then short_size > 0 else size < 0 end) from positions""")[0]
    portfolio = service.get("/api/v1/portfolio").json()
    eight = Decimal("0.00000001")
    assert portfolio["total_unrealized_pnl_usdt"] == amount(unrealized)
    assert portfolio["total_realized_pnl_usdt"] == amount(realized)
    assert Decimal(portfolio["total_exposure_usdt"]) == rounded(exposure, eight)
    assert Decimal(portfolio["net_exposure_usdt"]) == Decimal(portfolio["portfolio_value_usdt"]) == rounded(net, eight)
    assert (portfolio["open_positions_count"], portfolio["long_positions_count"], portfolio["short_positions_count"]) == (is_open, is_long, is_short)


def rounded(value, unit):
    from decimal import ROUND_HALF_UP, localcontext
    with localcontext() as context:
        context.prec = 60
        return value.quantize(unit, rounding=ROUND_HALF_UP)


def prepare(world, seed, around_crashes=False):
    """The service with every position that executions own opened."""
    # What is announced is not read here: only the newest is kept, so that the broker does not have to hold it all.
    for queue in (POSITION_QUEUE, PORTFOLIO_QUEUE):
        world.broker.declare(queue, arguments={"x-max-length": 1000})
    print(f"recount: seed {seed} (PM_RECOUNT_SEED={seed} repeats it)")
    service = world.service().start()
    recount = Recount(world, seed, around_crashes)
    recount.publish([recount.stream.remember(message) for message in recount.stream.openings()])
    recount.published()
    world.expect_queues_empty(60)
    return service, recount


def stream_messages(recount, executions, market):
    for _ in range(max(executions, market)):
        if executions > 0:
            executions -= 1
            yield recount.stream.remember(recount.stream.execution())
        if market > 0:
            market -= 1
            yield recount.stream.remember(recount.stream.market())


@pytest.fixture
def own_world(servers, world, request, tmp_path):
    name = f"{request.node.name[5:30]}_{os.getpid()}"
    servers.make_database(name)
    servers.make_vhost(name)
    own = World(servers, name, world.binary, tmp_path)
    yield own
    own.close()


def test_every_digit_is_recounted(own_world):
    service, recount = prepare(own_world, seed_of_run("PM_RECOUNT_SEED"))
    started = time.monotonic()
    recount.publish(stream_messages(recount, EXECUTIONS, MARKET))
    recount.published()
    own_world.expect_queues_empty(900)
    print(f"recount: {EXECUTIONS} executions and {MARKET} market events taken in {time.monotonic() - started:.1f} s")
    expected, refused, reasons = recount.fold()
    letters = own_world.broker.drain(DEAD_LETTER_QUEUE)
    assert Counter((body.decode(), properties.headers["x-reason"]) for properties, body in letters) == reasons
    assert Counter(body.decode() for _, body in letters) == refused
    compare_positions(own_world, service, expected)
    compare_portfolio(own_world, service)
    # And so it is from the rows alone.
    assert service.stop()[0] == 0
    service.start()
    compare_positions(own_world, service, expected)
    compare_portfolio(own_world, service)
    assert service.stop()[0] == 0


def test_every_digit_is_recounted_around_kills(own_world):
    seed = seed_of_run("PM_RECOUNT_SEED")
    service, recount = prepare(own_world, seed, around_crashes=True)
    moments = random.Random(seed + 1)
    # Slow enough to be still going on at every kill.
    recount.publish(stream_messages(recount, EXECUTIONS, MARKET), rate=max(600, EXECUTIONS // 40))
    for number in range(KILLS):
        time.sleep(moments.uniform(0.1, 1.5))
        service.kill()
        print(f"recount: kill {number + 1}, executions waiting: {own_world.broker.depth(ORDER_QUEUE)}")
        service.start(healthy=False)
    service.wait_healthy(60)
    recount.published()
    own_world.expect_queues_empty(900)
    expected, refused, _ = recount.fold()
    letters = Counter(body.decode() for _, body in own_world.broker.drain(DEAD_LETTER_QUEUE))
    # A dead letter may come twice around a kill, and none may be missing or be nobody's.
    assert set(letters) == set(refused) and all(letters[body] >= count for body, count in refused.items())
    compare_positions(own_world, service, expected)
    compare_portfolio(own_world, service)
    assert service.stop()[0] == 0
