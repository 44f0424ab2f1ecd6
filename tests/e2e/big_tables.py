"""A year of hourly snapshots of 500 assets, with the service running under a stream of executions; and tables of an older service with a
million snapshots, taken over while that service goes on writing. Not part of the other tests: `tests/run.sh big-tables`.

PM_BIG_ASSETS, PM_BIG_HOURS and PM_BIG_OLD_ROWS make it smaller. What it measured stands in BIG_TABLES.md; the bounds here are generous, since the
machine may be slow, but whatever reads the whole table or keeps others out of it breaks them.
"""

import datetime
import os
import random
import statistics
import threading
import time

import psycopg2
import pytest
from world import Broker, wait_until

ASSETS = int(os.environ.get("PM_BIG_ASSETS", "500"))
HOURS = int(os.environ.get("PM_BIG_HOURS", "8760"))
OLD_ROWS = int(os.environ.get("PM_BIG_OLD_ROWS", "1000000"))
REQUESTS = 200
MONTH_DAYS = 30
MEDIAN_MS_MAX = 50
ROW_MS_MAX = 0.1  # and for each row that an offset skips: rows of one position lie on as many pages of the table
DELAY_MS_MAX = 1000  # from an event to its being visible, the longest while a month is deleted
STALL_MS_MAX = 1500  # of another service's statement while the tables are taken over: an ALTER TABLE waits for a second at most
INDEX = "position_manager_snapshots_position_created"


def say(text):
    print(f"big-tables: {text}", flush=True)


def in_words(milliseconds):
    ordered = sorted(milliseconds)
    return (f"median {statistics.median(ordered):.1f} ms, 99 % {ordered[int(len(ordered) * 0.99)]:.1f} ms, max {ordered[-1]:.1f} ms "
            f"of {len(ordered)}")


def asset_name(number):
    return f"B{number:04d}USDT"


class Stream:
    """Executions on all assets, some hundred a second; and of a probe each from its being sent to its being visible."""

    def __init__(self, world, service):
        self.broker = Broker(world.servers, world.name)
        self.probe_broker = Broker(world.servers, world.name)
        self.service = service
        self.sent = 0
        self.delays_ms = []
        self.failure = None
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.guard, args=(work,)) for work in (self.fill, self.probe)]

    def guard(self, work):
        try:
            work()
        except Exception as error:  # whatever it is, the test has to know
            self.failure = error
            self.over.set()

    def fill(self):
        while not self.over.is_set():
            for _ in range(10):
                self.broker.fill(asset_name(random.randrange(ASSETS)), random.choice(("Buy", "Sell")), "0.1", "100")
                self.sent += 1
            time.sleep(0.02)

    def probe(self):
        version = 0
        while not self.over.is_set():
            started = time.perf_counter()
            self.probe_broker.fill("PROBEUSDT", "Buy", "1", "100")
            version += 1
            while (shown := self.service.position("PROBEUSDT")) is None or shown["version"] < version:
                version = shown["version"] + 1 if version == 1 and shown is not None else version
                assert time.perf_counter() - started < 30, "the probe is not seen"
                time.sleep(0.001)
            version = shown["version"]
            self.delays_ms.append((time.perf_counter() - started) * 1000)
            time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        for broker in (self.broker, self.probe_broker):
            broker.connection.close()
        assert self.failure is None, self.failure


def snapshots_sql(first_hour, last_hour):
    """Of every position, as the service writes them; hour 0 is the present one. Figures differ from row to row."""
    return f"""
        insert into position_snapshots (id, position_id, asset, mode, snapshot_data, created_at)
        select gen_random_uuid(), p.id, p.asset, p.mode, jsonb_build_object('id', p.id, 'asset', p.asset, 'mode', p.mode,
            'size', (h % 977)::text || '.5', 'average_entry_price', (50000 + h)::text || '.12345678', 'current_price', (50100 + h)::text || '.87',
            'unrealized_pnl', (h * 1.37)::text, 'realized_pnl', (h * 3.1)::text, 'fees_paid', '12.30', 'long_size', null, 'short_size', null,
            'long_avg_price', null, 'short_avg_price', null, 'unrealized_pnl_pct', '0.20', 'time_held_minutes', h * 60,
            'position_size_norm', '0.00200000', 'version', h, 'price_updated_at', '2025-01-15T10:00:00.123456Z', 'price_stale', false,
            'last_updated', '2025-01-15T10:00:00.123456Z', 'last_snapshot_at', '2025-01-15T10:00:00.123456Z',
            'created_at', '2025-01-15T10:00:00.123456Z', 'opened_at', '2025-01-15T10:00:00.123456Z', 'closed_at', null),
            (now() at time zone 'utc') - h * interval '1 hour'
        from generate_series({first_hour}, {last_hour}, -1) h, positions p where p.asset like 'B%'"""


@pytest.fixture(scope="module")
def year(world, service, broker, db):
    """The tables, filled while the stream goes on."""
    for number in range(ASSETS):
        broker.fill(asset_name(number), "Buy", "1000", "100")
    wait_until(lambda: service.get("/health").json()["positions_count"] >= ASSETS, 60, "all positions")
    started = time.monotonic()
    # A loading session asks no questions and keeps no index; the service makes its own again.
    db.query(f"set session_replication_role = replica; drop index {INDEX}; alter table position_snapshots drop constraint position_snapshots_pkey")
    with Stream(world, service) as stream:
        for hour in range(HOURS - 1, -1, -720):
            db.query(snapshots_sql(hour, max(hour - 719, 0)))
        db.query("alter table position_snapshots add primary key (id)")
        db.query("vacuum analyze position_snapshots")
    db.query("reset session_replication_role")
    service.stop()
    restarted = time.monotonic()
    service.start(healthy=False)
    service.wait_healthy(300)
    say(f"the start that builds the index of all of them took {time.monotonic() - restarted:.1f} s")
    assert is_valid(db) == [(True,)]
    rows, size = db.query("select count(*), pg_size_pretty(pg_total_relation_size('position_snapshots')) from position_snapshots")[0]
    assert rows == ASSETS * HOURS
    say(f"{rows} snapshots of {ASSETS} assets, {size}, built in {time.monotonic() - started:.0f} s under {stream.sent} executions")
    return rows


def index_reads(db, service):
    """(rows that were read by the index, whole reads of the table) so far."""
    time.sleep(1.2)  # a session tells its counts after a statement, if a second has passed: this one reads no row
    assert service.get(f"/api/v1/positions/{asset_name(0)}/snapshots", at="2001-01-01T00:00:00Z").status_code == 404
    time.sleep(0.2)
    return db.query("select i.idx_tup_read, t.seq_scan from pg_stat_user_indexes i join pg_stat_user_tables t using (relid) "
                    "where i.indexrelname = %s", INDEX)[0]


def hours_ago(hours):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deep_page():
    """The fourth hundred of a quarter's."""
    last = random.randrange(HOURS // 2)
    return {"from": hours_ago(last + HOURS // 4), "to": hours_ago(last), "limit": 100, "offset": 300}


PAGES = {
    # name: (parameters, how many of them come, how many rows the index may be read for at most)
    "at=": (lambda: {"at": hours_ago(random.randrange(HOURS - 1))}, 1, 2),
    "the first page": (dict, 100, 101),
    "the fourth page of a quarter": (deep_page, 100, 401),
    "the last page": (lambda: {"limit": 100, "offset": HOURS - 100}, 100, HOURS + 1),
}


def timed_get(service, times_ms, path, asked):
    started = time.perf_counter()
    answer = service.get(path, **asked)
    times_ms.append((time.perf_counter() - started) * 1000)
    return answer


@pytest.mark.parametrize("name", PAGES)
def test_history_is_read_by_the_index_in_milliseconds(world, service, db, year, name):
    parameters, expected, rows_max = PAGES[name]
    rows_before, scans_before = index_reads(db, service)
    times_ms, nothing_ms = [], []
    with Stream(world, service):
        for _ in range(REQUESTS):
            path = f"/api/v1/positions/{asset_name(random.randrange(ASSETS))}/snapshots"
            answer = timed_get(service, times_ms, path, parameters())
            assert answer.status_code == 200 and answer.json()["count"] == expected, answer.text[:200]
            assert timed_get(service, nothing_ms, path, {"at": "2001-01-01T00:00:00Z"}).status_code == 404
    rows, scans = index_reads(db, service)
    idle = statistics.median(nothing_ms)
    say(f"{name}: {in_words(times_ms)}; {(rows - rows_before) / REQUESTS:.0f} rows of the index each; one that finds nothing: {idle:.1f} ms")
    assert scans == scans_before, "the whole table was read"
    assert REQUESTS * expected <= rows - rows_before <= REQUESTS * rows_max
    assert statistics.median(times_ms) < MEDIAN_MS_MAX + rows_max * ROW_MS_MAX + 2 * idle, "more than a slow machine explains"


def test_a_month_is_deleted_and_nobody_waits(world, service, db, year):
    with Stream(world, service) as stream:
        time.sleep(20)
    before = stream.delays_ms
    say(f"visible after an event, before: {in_words(before)}")
    assert service.stop()[0] == 0
    other = world.service({"POSITION_MANAGER_SNAPSHOT_RETENTION_DAYS": HOURS // 24 - MONTH_DAYS}).start()
    started = time.monotonic()
    with Stream(world, other) as stream:
        ends = lambda: [line for line in other.log() if line.get("event") == "snapshots_deleted"]  # noqa: E731
        wait_until(lambda: ends() or stream.failure, 600, "the end of the retention", 0.1)
    took = time.monotonic() - started
    deleted = ends()[0]["count"]
    batches = deleted / 5000
    say(f"{deleted} snapshots deleted in {took:.1f} s: {batches / took:.1f} batches a second")
    say(f"visible after an event, meanwhile: {in_words(stream.delays_ms)}")
    assert abs(deleted - ASSETS * MONTH_DAYS * 24) <= ASSETS * 2
    assert db.query("select count(*) from position_snapshots")[0][0] == year - deleted
    assert max(stream.delays_ms) < DELAY_MS_MAX
    assert other.stop()[0] == 0
    service.start()


# ---- an older service's tables ----

OLD_TABLES = """
    create table positions (id uuid primary key default gen_random_uuid(), asset varchar(20) not null, mode varchar(20) not null default 'one-way',
        size numeric(20,8) not null default 0, average_entry_price numeric(20,8), unrealized_pnl numeric(20,8), realized_pnl numeric(20,8),
        last_updated timestamp default now());
    create table position_snapshots (id uuid primary key default gen_random_uuid(), position_id uuid not null references positions (id),
        size numeric(20,8) not null, average_entry_price numeric(20,8), unrealized_pnl numeric(20,8) not null,
        realized_pnl numeric(20,8) not null, created_at timestamp not null default now());
    insert into positions (asset, size, average_entry_price) select 'O' || lpad(n::text, 4, '0') || 'USDT', n, 100 from generate_series(1, 500) n;"""
OLD_SNAPSHOTS = """
    insert into position_snapshots (position_id, size, average_entry_price, unrealized_pnl, realized_pnl, created_at)
    select p.id, n, 100.5, -n, n / 7.0, now() - n * interval '1 hour' from generate_series(1, %s / 500) n, positions p"""
OLD_ROWS_DIGEST = """select count(*), sum(hashtextextended(concat_ws('|', id, position_id, size, average_entry_price, unrealized_pnl, realized_pnl,
    created_at), 0)) from position_snapshots where note_of_the_other is null"""


class OtherService:
    """Whoever made the tables goes on writing to both, and tells its longest statement."""

    def __init__(self, db):
        self.arguments = db.arguments
        self.times_ms = []
        self.failure = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        try:
            connection = psycopg2.connect(**self.arguments)
            connection.autocommit = True
            cursor = connection.cursor()
            while not self.over.is_set():
                for statement in ("update positions set last_updated = now() where asset = 'O0001USDT'",
                                  "select count(*) from positions",
                                  "insert into position_snapshots (position_id, size, unrealized_pnl, realized_pnl, note_of_the_other) "
                                  "select id, 1, 2, 3, 'mine' from positions where asset = 'O0002USDT'"):
                    started = time.perf_counter()
                    cursor.execute(statement)
                    self.times_ms.append((time.perf_counter() - started) * 1000)
                time.sleep(0.002)
            connection.close()
        except Exception as error:  # whatever it is, the test has to know
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        assert self.failure is None, self.failure


@pytest.fixture(scope="module")
def old(servers, world):
    """A database as the older service made it."""
    from world import World
    name = f"{world.name}_old"
    servers.make_database(name)
    servers.make_vhost(name)
    old = World(servers, name, world.binary, world.directory)
    old.db.query(OLD_TABLES)
    old.db.query(OLD_SNAPSHOTS, OLD_ROWS)
    old.db.query("alter table position_snapshots add column note_of_the_other text")
    old.db.query("vacuum analyze position_snapshots")
    yield old
    old.close()


def files(db):
    return db.query("select relname, relfilenode from pg_class where relname in ('positions', 'position_snapshots') order by 1")


def is_valid(db):
    return db.query("select i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname = %s", INDEX)


def test_a_million_older_snapshots_are_taken_over_beside_their_writer(old):
    digest, before = old.db.query(OLD_ROWS_DIGEST), files(old.db)
    service = old.service()
    with OtherService(old.db) as other:
        time.sleep(2)
        calm, other.times_ms = other.times_ms, []
        started = time.monotonic()
        service.start(healthy=False)
        service.wait_healthy(120)
        took = time.monotonic() - started
        meanwhile = list(other.times_ms)
    say(f"taken over in {took:.1f} s; the other's statements before: {in_words(calm)}; meanwhile: {in_words(meanwhile)}")
    assert files(old.db) == before, "a table was rewritten"
    assert old.db.query(OLD_ROWS_DIGEST) == digest and digest[0][0] == OLD_ROWS
    assert is_valid(old.db) == [(True,)]
    assert max(meanwhile) < STALL_MS_MAX
    shown = service.position("O0007USDT")
    assert (shown["size"], shown["average_entry_price"], shown["realized_pnl"], shown["version"]) == ("7.0", "100.00", "0.00", 0)
    path = "/api/v1/positions/O0007USDT/snapshots"
    assert service.get(path).json()["count"] == 0, "rows without snapshot_data are not listed"
    started = time.perf_counter()
    assert service.get(path, at=hours_ago(100)).status_code == 404
    say(f"at= among {OLD_ROWS // 500} older rows of the position: {(time.perf_counter() - started) * 1000:.1f} ms")
    assert service.http.post("/api/v1/positions/O0007USDT/snapshot").status_code == 201
    assert service.get(path).json()["count"] == 1
    assert old.db.query("select size, realized_pnl from position_snapshots where snapshot_data is not null") == [(7, 0)]
    assert service.stop()[0] == 0


def test_a_kill_in_the_middle_of_the_index_is_repaired(old):
    old.db.query(f"drop index {INDEX}")
    service = old.service()
    service.start(healthy=False)
    wait_until(lambda: is_valid(old.db) == [(False,)], 60, "the index being built", 0.001)
    service.kill()
    assert is_valid(old.db) == [(False,)]
    with OtherService(old.db) as other:
        started = time.monotonic()
        service.start(healthy=False)
        service.wait_healthy(120)
        took = time.monotonic() - started
    say(f"started {took:.1f} s after a kill in the middle of the index; the other's statements: {in_words(other.times_ms)}")
    assert is_valid(old.db) == [(True,)]
    assert max(other.times_ms) < STALL_MS_MAX
    assert service.stop()[0] == 0
