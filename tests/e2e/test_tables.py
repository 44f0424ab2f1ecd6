"""Tables (contract §6): older ones, migrations, and what others do to the rows meanwhile."""

import itertools
import os
import subprocess
import time

import pytest
from world import DEAD_LETTER_QUEUE, ORDER_QUEUE, World, fill_event, instant, wait_until

COLUMNS = {"id": "uuid", "asset": "character varying", "mode": "character varying", "version": "integer",
           **dict.fromkeys(["size", "average_entry_price", "current_price", "unrealized_pnl", "realized_pnl", "fees_paid", "long_size", "short_size",
                            "long_avg_price", "short_avg_price"], "numeric"),
           **dict.fromkeys(["price_updated_at", "last_updated", "last_snapshot_at", "created_at", "opened_at", "closed_at"], "timestamp without time zone")}


_numbers = itertools.count(1)


@pytest.fixture
def fresh(servers, world, tmp_path):
    """A database and a virtual host that no service has seen yet."""
    name = f"fresh_{os.getpid()}_{next(_numbers)}"
    servers.make_database(name)
    servers.make_vhost(name)
    fresh = World(servers, name, world.binary, tmp_path)
    yield fresh
    fresh.close()


def run_to_the_end(world, **settings):
    """Starts a service that is expected not to start."""
    service = world.service(settings)
    done = subprocess.run([str(world.binary)], env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    return done.returncode, done.stdout


def verify(world, service):
    return subprocess.run([str(world.binary), "--verify"], env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


def tables_of(world):
    return {row[0] for row in world.db.query("select tablename from pg_tables where schemaname = 'public'")}


# ---- the tables themselves ----

def test_the_columns_are_those_of_the_contract(service, db):
    found = dict(db.query("select column_name, data_type from information_schema.columns where table_name = 'positions'"))
    assert {name: found.get(name) for name in COLUMNS} == COLUMNS
    for name, kind in COLUMNS.items():
        if kind == "numeric":
            assert db.query("select numeric_precision, numeric_scale from information_schema.columns where table_name = 'positions' and column_name = %s", name) == [(20, 8)]
    snapshots = dict(db.query("select column_name, data_type from information_schema.columns where table_name = 'position_snapshots'"))
    assert {"id": "uuid", "position_id": "uuid", "snapshot_data": "jsonb", "created_at": "timestamp without time zone"}.items() <= snapshots.items()
    assert {"asset", "mode"} <= set(snapshots)


def test_its_own_tables_carry_its_prefix(service, world):
    own = tables_of(world) - {"positions", "position_snapshots"}
    assert "position_manager_journal" in own and all(name.startswith("position_manager_") for name in own)
    assert "orders" not in own


def test_asset_and_mode_are_unique(service, db, broker, asset):
    broker.fill(asset, "Buy", "1", "1")
    service.expect(asset, version=1)
    with pytest.raises(Exception, match="unique"):
        db.query("insert into positions (id, asset, mode) values (gen_random_uuid(), %s, 'one-way')", asset)


def test_times_are_stored_in_utc_whatever_the_zone(fresh):
    fresh.db.query(f"alter database \"{fresh.name}\" set timezone to 'Asia/Tokyo'")
    service = fresh.service({"TZ": "America/New_York"}).start()
    fresh.broker.fill("BTCUSDT", "Buy", "1", "1", executed_at="2025-01-15T10:00:00Z")
    service.expect("BTCUSDT", version=1, opened_at="2025-01-15T10:00:00Z")
    assert str(fresh.db.row("BTCUSDT")["opened_at"]) == "2025-01-15 10:00:00"
    assert fresh.db.query("select abs(extract(epoch from (last_updated - (clock_timestamp() at time zone 'UTC')))) < 60 from positions") == [(True,)]
    assert service.stop()[0] == 0
    service.start()
    service.expect("BTCUSDT", opened_at="2025-01-15T10:00:00Z")


# ---- older tables ----

def test_an_older_table_is_completed_and_its_rows_are_kept(fresh):
    fresh.db.query("""create table positions (id uuid primary key default gen_random_uuid(), asset varchar(30) not null, mode text,
                      size double precision, average_entry_price numeric(30,14), realized_pnl numeric, strategy text not null, version bigint,
                      created_at timestamptz)""")
    fresh.db.query("""insert into positions (asset, mode, size, average_entry_price, realized_pnl, strategy, version, created_at) values
                      ('OLDUSDT', 'one-way', 0.1, 50000.123456785, null, 'carry', null, '2025-01-15 19:00:00+09'),
                      ('NULLUSDT', 'one-way', null, null, null, '', null, null), ('HEDGEUSDT', 'hedge', -2, 10, 5, '', 7, null)""")
    fresh.db.query("create table position_snapshots (id uuid primary key, position_id uuid, asset text not null, size numeric not null, taken_by text not null)")
    fresh.db.query("insert into position_snapshots select gen_random_uuid(), id, asset, 1, 'somebody' from positions")
    service = fresh.service().start()
    old = service.expect("OLDUSDT", size="0.1", average_entry_price="50000.12345679", realized_pnl="0.00")
    assert old["created_at"] == "2025-01-15T10:00:00Z" and old["fees_paid"] == "0.00"
    service.expect("NULLUSDT", size="0.0", average_entry_price=None, unrealized_pnl="0.00")
    service.expect("HEDGEUSDT", "hedge", size="-2.0", short_size="2.0", short_avg_price="10.00", realized_pnl="5.00", version=7)
    for asset, expected in (("OLDUSDT", "0.2"), ("NULLUSDT", "0.1"), ("NEWUSDT", "0.1")):
        fresh.broker.fill(asset, "Buy", "0.1", "50000")
        service.expect(asset, size=expected)
    # Columns of others are left as they are, and filled where they must be.
    assert fresh.db.query("select strategy from positions where asset = 'OLDUSDT'") == [("carry",)]
    assert fresh.db.query("select strategy is not null from positions where asset = 'NEWUSDT'") == [(True,)]
    assert fresh.db.query("select count(*) from position_snapshots") == [(3,)]
    answer = service.get("/api/v1/positions/OLDUSDT/snapshots")
    assert answer.status_code == 200 and answer.json() == {"snapshots": [], "count": 0}
    taken = service.http.post("/api/v1/positions/OLDUSDT/snapshot")
    assert taken.status_code == 201, taken.text
    assert service.get("/api/v1/positions/OLDUSDT/snapshots").json()["count"] == 1
    assert fresh.db.query("select size is not null and taken_by is not null from position_snapshots where snapshot_data is not null") == [(True,)]
    assert service.stop()[0] == 0
    done = verify(fresh, service)
    assert done.returncode == 0, done.stdout


def test_a_mode_that_is_an_enumeration_is_written_like_a_text(fresh):
    fresh.db.query("create type modes as enum ('one-way', 'hedge')")
    fresh.db.query("create table positions (id uuid primary key, asset varchar(20) not null, mode modes not null, size numeric(20,8), unique (asset, mode))")
    fresh.db.query("create table position_snapshots (id uuid primary key, position_id uuid not null, mode modes not null, created_at timestamp not null)")
    service = fresh.service().start()
    for mode in ("one-way", "hedge"):
        fresh.broker.fill("BTCUSDT", "Buy", "1", "100", mode=mode)
        service.expect("BTCUSDT", mode, version=1)
        assert service.http.post("/api/v1/positions/BTCUSDT/snapshot", params={"mode": mode}).status_code == 201
        fresh.broker.fill("BTCUSDT", "Buy", "1", "100", mode=mode)
        service.expect("BTCUSDT", mode, version=2, size="2.0")
    assert fresh.db.query("select mode::text, size from positions order by 1") == [("hedge", 2), ("one-way", 2)]
    assert service.stop()[0] == 0


def test_two_rows_of_one_position_stop_the_start_by_name(fresh):
    fresh.db.query("create table positions (id uuid primary key default gen_random_uuid(), asset text, mode text, size numeric)")
    fresh.db.query("insert into positions (asset, mode, size) values ('TWICEUSDT', 'one-way', 1), ('TWICEUSDT', 'one-way', 2)")
    status, output = run_to_the_end(fresh)
    assert status != 0 and "TWICEUSDT" in output
    assert tables_of(fresh) == {"positions"}, "all or nothing"


# ---- migrations ----

def test_check_names_everything_that_is_missing_and_adds_nothing(fresh):
    status, output = run_to_the_end(fresh, POSITION_MANAGER_MIGRATIONS="check")
    assert status != 0 and all(name in output for name in ("positions", "position_snapshots", "position_manager_journal"))
    assert tables_of(fresh) == set()
    assert fresh.service().start().stop()[0] == 0
    fresh.db.query("alter table positions drop column fees_paid")
    status, output = run_to_the_end(fresh, POSITION_MANAGER_MIGRATIONS="check")
    assert status != 0 and "fees_paid" in output
    assert run_to_the_end(fresh, POSITION_MANAGER_MIGRATIONS="off")[0] != 0
    service = fresh.service().start()
    assert service.stop()[0] == 0
    service = fresh.service({"POSITION_MANAGER_MIGRATIONS": "check"}).start()
    fresh.broker.fill("BTCUSDT", "Buy", "1", "1")
    service.expect("BTCUSDT", version=1)
    assert service.stop()[0] == 0
    assert fresh.service({"POSITION_MANAGER_MIGRATIONS": "off"}).start().stop()[0] == 0


def test_a_second_start_adds_nothing(fresh):
    service = fresh.service().start()
    assert service.stop()[0] == 0
    before = fresh.db.query("select table_name, column_name from information_schema.columns where table_schema = 'public' order by 1, 2")
    added = [line for line in service.log() if line["event"] == "migration_added"]
    service.start()
    assert fresh.db.query("select table_name, column_name from information_schema.columns where table_schema = 'public' order by 1, 2") == before
    assert service.stop()[0] == 0
    assert added and [line for line in service.log() if line["event"] == "migration_added"] == added


# ---- what others do meanwhile ----

def conflicts(service):
    return service.metric(r"version_conflicts_total")


@pytest.mark.parametrize("change, expected", [
    ("update positions set size = 5, version = version + 1 where asset = %s", {"size": "6.0", "version": 3}),
    ("update positions set realized_pnl = 77, version = version + 5 where asset = %s", {"size": "2.0", "realized_pnl": "77.00", "version": 7}),
    ("update positions set average_entry_price = 50, version = version - 1 where asset = %s", {"size": "2.0", "average_entry_price": "75.00", "version": 1})],
    ids=["size", "pnl", "version back"])
def test_someone_elses_update_is_found_and_built_upon(service, broker, db, world, asset, change, expected):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    before = conflicts(service)
    db.query(change, asset)
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, **expected)
    assert conflicts(service) > before
    wait_until(lambda: any(line["event"] == "position_conflict" and line.get("asset") == asset for line in service.log()))
    assert verify(world, service).returncode == 0


def test_a_row_that_someone_else_inserted_is_built_upon(service, broker, db, world, asset):
    db.query("insert into positions (id, asset, mode, size, average_entry_price, version) values (gen_random_uuid(), %s, 'one-way', 3, 100, 4)", asset)
    broker.fill(asset, "Buy", "1", "200")
    service.expect(asset, version=5, size="4.0", average_entry_price="125.00")
    assert db.query("select count(*) from positions where asset = %s", asset) == [(1,)]
    assert verify(world, service).returncode == 0


def test_a_row_that_someone_else_deleted_is_no_standstill(service, broker, db, world, asset, other_asset):
    broker.fill(asset, "Buy", "1", "100")
    service.expect(asset, version=1)
    db.query("delete from position_snapshots where asset = %s", asset)
    db.query("delete from positions where asset = %s", asset)
    broker.fill(asset, "Buy", "1", "100")
    broker.fill(other_asset, "Buy", "1", "100")
    service.expect(other_asset, version=1)
    wait_until(lambda: db.row(asset) is not None)
    world.expect_queues_empty()
    row = db.row(asset)
    shown = service.position(asset)
    assert (float(shown["size"]), shown["version"]) == (float(row["size"]), row["version"])
    assert row["size"] in (1, 2)


def test_a_lock_on_one_row_holds_up_that_position_only(service, broker, db, asset, other_asset):
    for one in (asset, other_asset):
        broker.fill(one, "Buy", "1", "100")
        service.expect(one, version=1)
    other = db.other_session()
    other.cursor().execute("select 1 from positions where asset = %s for update", (asset,))
    broker.fill(asset, "Buy", "1", "100")
    broker.fill(other_asset, "Buy", "1", "100")
    service.expect(other_asset, version=2)
    assert service.position(asset)["version"] == 1
    other.rollback()
    other.close()
    service.expect(asset, version=2)


def test_a_trigger_that_raises_refuses_its_own_row_only(fresh):
    service, broker = fresh.service().start(), fresh.broker
    broker.fill("FROZENUSDT", "Buy", "1", "100")
    service.expect("FROZENUSDT", version=1)
    fresh.db.query("""create function nobody_may() returns trigger language plpgsql as
                      $$ begin if new.asset = 'FROZENUSDT' then raise exception 'frozen by the risk desk'; end if; return new; end $$""")
    fresh.db.query("create trigger nobody_may before insert or update on positions for each row execute function nobody_may()")
    refused = fill_event("FROZENUSDT", "Buy", "1", "100")
    body = broker.publish(ORDER_QUEUE, refused)
    for _ in range(5):
        broker.fill("BESIDEUSDT", "Buy", "1", "100")
    service.expect("BESIDEUSDT", size="5.0")
    properties, dead = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert dead == body and properties.headers["x-reason"] == "version_conflict"
    service.expect("FROZENUSDT", version=1, size="1.0")
    fresh.db.query("drop trigger nobody_may on positions")
    broker.publish(ORDER_QUEUE, refused)
    service.expect("FROZENUSDT", version=2, size="2.0")
    assert service.stop()[0] == 0
    assert verify(fresh, service).returncode == 0


def test_tries_and_their_waits_are_as_many_as_said(instead, broker, db, asset):
    impatient = instead({"POSITION_MANAGER_OPTIMISTIC_LOCK_RETRIES": "2", "POSITION_MANAGER_OPTIMISTIC_LOCK_BACKOFF_BASE": "50"})
    broker.fill(asset, "Buy", "1", "100")
    impatient.expect(asset, version=1)
    db.query(f"""create function nobody_updates() returns trigger language plpgsql as
                 $$ begin if old.asset = '{asset}' then return null; end if; return new; end $$""")
    db.query("create trigger nobody_updates before update on positions for each row execute function nobody_updates()")
    body = broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "1", "100"))
    properties, refused = wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))
    assert refused == body and properties.headers["x-reason"] == "version_conflict"
    lines = wait_until(lambda: [line for line in impatient.log() if line["event"] == "position_conflict" and line.get("given_up") is True])
    assert lines[0]["tries"] == 3, "the first one, and two on top of what was found"
    db.query("drop trigger nobody_updates on positions")
    assert impatient.stop()[0] == 0


def test_the_waits_between_tries_double(instead, broker, db, asset):
    base, tries = 0.3, 3
    patient = instead({"POSITION_MANAGER_OPTIMISTIC_LOCK_RETRIES": "3", "POSITION_MANAGER_OPTIMISTIC_LOCK_BACKOFF_BASE": int(base * 1000)})
    broker.fill(asset, "Buy", "1", "100")
    patient.expect(asset, version=1)
    db.query(f"""create function nobody_updates_now() returns trigger language plpgsql as
                 $$ begin if old.asset = '{asset}' then return null; end if; return new; end $$""")
    db.query("create trigger nobody_updates_now before update on positions for each row execute function nobody_updates_now()")
    seen = 0
    for attempt in range(tries):
        broker.publish(ORDER_QUEUE, fill_event(asset, "Buy", "1", "100"))
        wait_until(lambda: broker.get(DEAD_LETTER_QUEUE))

        def told():
            return [instant(line["timestamp"]) for line in patient.log()
                    if line["event"] == "position_conflict" and line.get("asset") == asset]
        wait_until(lambda: len(told()) >= seen + 4, what="a line for each try")
        at = told()[seen:]
        seen += len(at)
        waits = [(later - earlier).total_seconds() for earlier, later in zip(at, at[1:])]
        assert len(waits) == 3, at
        # A line is written a little later than the time that the wait is counted from, and on a busy machine much later.
        is_double = all(base * 2**number - 0.1 <= wait < base * 2**(number + 1) + 5 for number, wait in enumerate(waits))
        if is_double:
            break
        print(f"once more, for a machine that was busy: {waits}")
    assert is_double, waits
    db.query("drop trigger nobody_updates_now on positions")
    assert patient.stop()[0] == 0


def test_a_row_that_changes_during_the_wait_is_reloaded_after_it(instead, broker, db, asset):
    """Whoever changes a row again within each back-off would otherwise win every time."""
    base = 2.0
    patient = instead({"POSITION_MANAGER_OPTIMISTIC_LOCK_RETRIES": "2", "POSITION_MANAGER_OPTIMISTIC_LOCK_BACKOFF_BASE": int(base * 1000)})

    def conflicts(one):
        return [instant(line["timestamp"]).timestamp() for line in patient.log() if line["event"] == "position_conflict" and line.get("asset") == one]

    def change(one):
        db.query("update positions set fees_paid = fees_paid + 1, version = version + 1 where asset = %s", one)

    for one in (f"{asset[:-4]}W{attempt}USDT" for attempt in range(5)):
        broker.fill(one, "Buy", "1", "100")
        patient.expect(one, version=1)
        change(one)
        broker.publish(ORDER_QUEUE, fill_event(one, "Buy", "1", "100"))
        (found_at,) = wait_until(lambda: conflicts(one))
        change(one)
        if time.time() < found_at + base - 0.2:
            break
        print(f"the row was changed {time.time() - found_at:.1f} s after the conflict, when the wait was over: once more")
    patient.expect(one, size="2.0", version=4, fees_paid="2.00")
    assert broker.get(DEAD_LETTER_QUEUE) is None
    assert len(conflicts(one)) == 1
    assert patient.stop()[0] == 0


# ---- the journal ----

def test_the_journal_explains_every_figure(service, world, broker, db, asset):
    broker.fill(asset, "Buy", "2", "100", fees="1", execution_id=f"journalled-{asset}")
    broker.fill(asset, "Sell", "1", "110", fees="0.5")
    broker.market(asset, side="Buy", size="7", avgPrice="200", markPrice="111", realisedPnl="3")
    service.expect(asset, size="7.0", realized_pnl="3.00")
    version = service.position(asset)["version"]
    broker.market(asset, markPrice="112")
    service.expect(asset, current_price="112.00")
    lines = db.query("""select identity is not null, size, realized_pnl, fees_paid, version from position_manager_journal
                        where asset = %s order by seq""", asset)
    assert [line[1] for line in lines] == [2, 1, 7] and [line[4] for line in lines] == [1, 2, version], "mark prices are not journalled"
    assert lines[0][0] and lines[1][0]
    assert lines[-1][2:4] == (3, db.row(asset)["fees_paid"])
    assert db.query("select count(*) from position_manager_journal where identity like %s", f"%journalled-{asset}%") == [(1,)]
    done = verify(world, service)
    assert done.returncode == 0, done.stdout


def test_the_recount_finds_a_figure_that_nothing_explains(service, world, broker, db, asset):
    broker.fill(asset, "Buy", "2", "100")
    service.expect(asset, version=1)
    db.query("update position_manager_journal set size = 3 where asset = %s", asset)
    done = verify(world, service)
    assert done.returncode == 1 and asset in done.stdout
    db.query("update position_manager_journal set size = 2 where asset = %s", asset)
    assert verify(world, service).returncode == 0
