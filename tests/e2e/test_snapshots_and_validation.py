"""Work done by itself, snapshots and validation, around crashes and outages (contract §2.3, §5.1, §5.2)."""

import json
import time
from datetime import timedelta

import pytest
from test_http import POSITION_FIELDS, expect_error
from world import SNAPSHOT_QUEUE, Proxy, instant, rfc3339, wait_until

PAST = time.time() - 3600
# What moves without a change, or is no figure of the row.
MOVING = {"time_held_minutes", "position_size_norm", "price_stale", "last_snapshot_at"}


@pytest.fixture
def held(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", fees="1")
    return service.expect(asset, version=1)


@pytest.fixture(scope="module")
def orders(db):
    db.query("""create table if not exists orders (order_id text primary key, asset varchar(20), side varchar(10), status varchar(20),
                filled_quantity numeric(20,8), average_price numeric(20,8), executed_at timestamp, is_dry_run boolean)""")

    def add(order_id, asset, side, quantity, price, status="filled", dry=False, seconds=0):
        db.query("""insert into orders values (%s, %s, %s, %s, %s, %s, clock_timestamp() at time zone 'utc' + %s * interval '1 second', %s)
                    on conflict (order_id) do update set filled_quantity = excluded.filled_quantity""", order_id, asset, side, status, quantity, price, seconds, dry)
    return add


def snapshot(service, asset, mode="one-way"):
    answer = service.http.post(f"/api/v1/positions/{asset}/snapshot", params={"mode": mode})
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(service, asset, **parameters):
    answer = service.get(f"/api/v1/positions/{asset}/snapshots", **parameters)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["count"] == len(body["snapshots"])
    return body["snapshots"]


def validate(service, asset, **parameters):
    answer = service.http.post(f"/api/v1/positions/{asset}/validate", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def announced(broker, asset, count=1):
    """What is announced of the asset's snapshots: so many, or more."""
    messages = []

    def all_there():
        heard = ((properties, json.loads(body)) for properties, body in broker.drain(SNAPSHOT_QUEUE))
        messages.extend(one for one in heard if one[1]["asset"] == asset)
        return len(messages) >= count
    wait_until(all_there, what=f"{count} announcements of snapshots")
    return messages


# ---- snapshots ----

def test_the_snapshot_holds_every_field_as_it_stood(service, held, broker, db, asset):
    broker.market(asset, markPrice="110")
    before = service.expect(asset, version=2)
    taken = snapshot(service, asset)
    assert set(taken["snapshot_data"]) == POSITION_FIELDS
    for field in POSITION_FIELDS - MOVING:
        assert taken["snapshot_data"][field] == before[field], field
    stored = db.query("select position_id::text, asset, mode, snapshot_data, created_at from position_snapshots where id = %s", taken["id"])
    assert stored[0][:4] == (before["id"], asset, "one-way", taken["snapshot_data"])
    assert service.expect(asset, version=2)["last_snapshot_at"] is not None
    assert db.row(asset)["last_snapshot_at"] is not None and db.row(asset)["version"] == 2


def test_a_snapshot_raises_no_version_and_does_not_disturb_what_follows(service, held, broker, asset):
    for number in range(2, 12):
        snapshot(service, asset)
        broker.fill(asset, "Buy", "1", "100")
        service.expect(asset, version=number)


def test_the_modes_have_snapshots_of_their_own(service, held, broker, asset):
    broker.fill(asset, "Sell", "3", "100", mode="hedge")
    service.expect(asset, "hedge", version=1)
    one_way, hedge = snapshot(service, asset), snapshot(service, asset, "hedge")
    assert hedge["snapshot_data"]["short_size"] == "3.0" and hedge["position_id"] != one_way["position_id"]
    assert [one["id"] for one in listed(service, asset)] == [one_way["id"]]
    assert [one["id"] for one in listed(service, asset.lower(), mode="hedge")] == [hedge["id"]]


def test_bounds_are_inclusive_and_pages_follow_each_other(service, held, asset):
    taken = [snapshot(service, asset) for _ in range(7)]
    newest_first = [one["id"] for one in reversed(taken)]
    assert [one["id"] for one in listed(service, asset)] == newest_first
    times = [one["created_at"] for one in taken]
    moments = [instant(one) for one in times]
    assert moments == sorted(moments) and len(set(moments)) == 7
    assert [one["id"] for one in listed(service, asset, **{"from": times[2], "to": times[4]})] == newest_first[2:5]
    assert listed(service, asset, **{"from": times[4], "to": times[2]}) == []
    pages = [one["id"] for offset in range(0, 9, 3) for one in listed(service, asset, limit=3, offset=offset)]
    assert pages == newest_first
    for index, at in enumerate(times):
        assert [one["id"] for one in listed(service, asset, at=at)] == [taken[index]["id"]]
    before = instant(times[3]) - timedelta(microseconds=1)
    assert [one["id"] for one in listed(service, asset, at=before.isoformat())] == [taken[2]["id"]]
    assert [one["id"] for one in listed(service, asset, at=str(int(time.time() * 1000) + 1000))] == [taken[6]["id"]]
    too_early = instant(times[0]) - timedelta(microseconds=1)
    expect_error(service.get(f"/api/v1/positions/{asset}/snapshots", at=too_early.isoformat()), 404, "NOT_FOUND")


def test_snapshots_of_nobody_are_not_found_or_none(service):
    answer = service.get("/api/v1/positions/NOSUCHUSDT/snapshots")
    assert answer.status_code == 404 or answer.json() == {"snapshots": [], "count": 0}
    expect_error(service.http.post("/api/v1/positions/no-asset/snapshot"), 404, "NOT_FOUND")


def test_many_snapshots_at_once_are_all_durable(service, held, db, asset):
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = [taken["id"] for taken in pool.map(lambda _: snapshot(service, asset), range(60))]
    assert db.query("select count(*) from position_snapshots where id = any(%s::uuid[])", ids) == [(60,)]


def test_the_timer_takes_all_positions_in_one_transaction(instead, held, broker, db, asset, other_asset):
    broker.drain(SNAPSHOT_QUEUE)
    timed = instead({"POSITION_MANAGER_SNAPSHOT_INTERVAL": "1"})
    broker.fill(other_asset, "Buy", "1", "100")
    timed.expect(other_asset, version=1)
    # Wholly after the second position appeared.
    seen = len(listed(timed, asset))
    wait_until(lambda: len(listed(timed, asset)) >= seen + 3)
    transactions = db.query("""select count(*), count(distinct position_id), (select count(*) from positions) from position_snapshots
                               where created_at > (select min(created_at) from position_snapshots where asset = %s) group by xmin::text order by max(created_at)""", other_asset)
    assert transactions and all(rows == positions == everyone for rows, positions, everyone in transactions), transactions
    properties, event = announced(broker, asset)[0]
    assert POSITION_FIELDS - {"id"} <= set(event) and {"snapshot_id", "position_id", "snapshot_timestamp", "trace_id", "timestamp"} <= set(event)
    assert properties.delivery_mode == 2 and properties.message_id and properties.headers["trace_id"] == event["trace_id"]
    wait_until(lambda: any(line["event"] == "snapshots_taken" for line in timed.log()) and timed.metric("snapshots_total") >= 2, what="log and metric")
    assert timed.stop()[0] == 0


def test_a_snapshot_that_was_answered_is_announced_even_after_a_kill(world, service, servers, held, broker, asset):
    """The broker is away when it is taken, and the service is killed before it comes back."""
    assert service.stop()[0] == 0
    broker.drain(SNAPSHOT_QUEUE)
    proxy = Proxy(servers.amqp["host"], servers.amqp["port"]).open()
    cut_off = world.service({"RABBITMQ_PORT": proxy.port})
    try:
        cut_off.start()
        proxy.close()
        wait_until(lambda: cut_off.get("/health").json()["queue_connected"] is False)
        taken = [snapshot(cut_off, asset) for _ in range(3)]
        cut_off.kill()
    finally:
        cut_off.kill()
        proxy.close()
    assert broker.depth(SNAPSHOT_QUEUE) == 0
    service.start()
    messages = announced(broker, asset, 3)
    assert [event["snapshot_id"] for _, event in messages] == [one["id"] for one in taken]
    wait_until(lambda: world.db.query("select count(*) from position_manager_outbox") == [(0,)])
    assert service.stop()[0] == 0
    service.start()
    assert broker.drain(SNAPSHOT_QUEUE) == [], "confirmed is confirmed"


def test_kills_among_snapshots_lose_none(world, service, held, broker, db, asset):
    import threading
    broker.drain(SNAPSHOT_QUEUE)
    before = {row[0] for row in db.query("select id::text from position_snapshots where asset = %s", asset)}
    answered = []
    for _ in range(3):
        def ask():
            try:
                while True:
                    answered.append(snapshot(service, asset)["id"])
            except Exception:  # noqa: BLE001 - the service was killed
                pass
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        count = len(answered)
        wait_until(lambda: len(answered) > count + 20)
        service.kill()
        for thread in threads:
            thread.join()
        service.start()
    stored = {row[0] for row in db.query("select id::text from position_snapshots where asset = %s", asset)} - before
    assert set(answered) <= stored, "an answer that is not durable"
    seen = set()

    def all_announced():
        heard = [json.loads(body) for _, body in broker.drain(SNAPSHOT_QUEUE)]
        seen.update(one["snapshot_id"] for one in heard if one["asset"] == asset)
        return stored <= seen
    wait_until(all_announced, what="every stored snapshot being announced")
    assert seen == stored


def test_what_is_older_than_the_retention_goes_at_the_start(instead, service, held, db, asset):
    position = held["id"]
    fresh = snapshot(service, asset)["id"]
    db.query("""insert into position_snapshots (id, position_id, asset, mode, snapshot_data, created_at)
                select gen_random_uuid(), %s, %s, 'one-way', '{}', (now() at time zone 'utc') - n * interval '1 hour' from generate_series(30, 3030) n""", position, asset)
    other = instead({"POSITION_MANAGER_SNAPSHOT_RETENTION_DAYS": "2"})
    wait_until(lambda: db.query("select count(*) from position_snapshots where asset = %s and created_at < (now() at time zone 'utc') - interval '49 hours'", asset) == [(0,)])
    kept = db.query("select count(*) from position_snapshots where asset = %s", asset)[0][0]
    assert 18 <= kept <= 20 and db.query("select count(*) from position_snapshots where id = %s", fresh) == [(1,)]
    wait_until(lambda: any(line["event"] == "snapshots_deleted" for line in other.log()))
    wait_until(lambda: other.metric("snapshots_deleted_total") >= 2980, what="the metric")
    assert other.stop()[0] == 0


def test_the_old_journal_is_folded_and_still_recounts(instead, service, broker, db, world, asset):
    import subprocess
    first = broker.fill(asset, "Buy", "2", "100", fees="1", executed_at=rfc3339(PAST))
    broker.fill(asset, "Sell", "1", "110", fees="1")
    broker.fill(asset, "Buy", "1", "120", fees="1")
    position = service.expect(asset, version=3)
    db.query("update position_manager_journal set recorded_at = recorded_at - interval '10 days' where asset = %s and version < 3", asset)
    other = instead({"POSITION_MANAGER_JOURNAL_RETENTION_DAYS": "5"})
    wait_until(lambda: db.query("select count(*) from position_manager_journal where asset = %s", asset) == [(2,)], what="one opening entry and the youngest")
    wait_until(lambda: any(line["event"] == "journal_folded" for line in other.log()), what="the log line")
    assert subprocess.run([str(world.binary), "--verify"], env=other.environment, stdout=subprocess.DEVNULL, timeout=60).returncode == 0
    broker.fill(asset, "Buy", "1", "130")
    after = other.expect(asset, version=4, size="3.0")
    assert after["realized_pnl"] == position["realized_pnl"] and after["fees_paid"] == "3.00"
    assert subprocess.run([str(world.binary), "--verify"], env=other.environment, stdout=subprocess.DEVNULL, timeout=60).returncode == 0
    assert first and other.stop()[0] == 0


# ---- validation ----

def test_statuses_sides_and_dry_runs_of_orders(service, held, orders, asset):
    for number, (side, quantity, status, dry) in enumerate((("BUY", "3", "filled", False), ("sell", "1", "partially_filled", False), ("Buy", "9", "rejected", False),
                                                             ("Buy", "9", "created", False), ("Sell", "9", "filled", True))):
        orders(f"{asset}-{number}", asset, side, quantity, "100", status, dry, number)
    result = validate(service, asset)
    assert (result["is_valid"], result["discrepancies"], result["error_message"], result["updated_position"]) == (True, [], None, None)


def test_sizes_are_compared_within_the_threshold_and_averages_too(service, held, orders, db, asset):
    orders(asset, asset, "Buy", "2.0001", "100.1")
    assert validate(service, asset, fix_discrepancies="false")["is_valid"] is True
    db.query("update orders set filled_quantity = 2.00010001 where order_id = %s", asset)
    assert [found["field"] for found in validate(service, asset, fix_discrepancies="false")["discrepancies"]] == ["size"]
    db.query("update orders set filled_quantity = 2, average_price = 100.3 where order_id = %s", asset)
    result = validate(service, asset, fix_discrepancies="false")
    assert result["is_valid"] is False and result["error_message"]
    assert result["discrepancies"] == [{"field": "average_entry_price", "stored": "100.00", "computed": "100.30"}]


def test_the_average_follows_the_order_of_execution(service, broker, orders, asset):
    """Buy 2 at 100, sell 1, buy 1 at 200: 150 in this order, another figure in any other."""
    for number, (side, quantity, price) in enumerate((("Buy", "2", "100"), ("Sell", "1", "300"), ("Buy", "1", "200"))):
        broker.fill(asset, side, quantity, price)
        orders(f"{asset}-{9 - number}", asset, side, quantity, price, seconds=number)
    service.expect(asset, version=3, average_entry_price="150.00")
    assert validate(service, asset)["discrepancies"] == []


@pytest.mark.parametrize("path", ["", "/validate"])
def test_a_fix_is_one_more_version_announced_and_journalled(service, held, orders, db, broker, asset, path):
    from world import POSITION_QUEUE
    orders(asset, asset, "Sell", "3", "90")
    broker.drain(POSITION_QUEUE)
    answer = service.http.post(f"/api/v1/positions/{asset}{path}", headers={"X-Trace-Id": f"trace-{asset}"}).json()
    assert answer["is_valid"] is True and {found["field"] for found in answer["discrepancies"]} == {"size", "average_entry_price"}
    assert (answer["updated_position"]["size"], answer["updated_position"]["version"]) == ("-3.0", 2)
    fixed = service.expect(asset, version=2, size="-3.0", average_entry_price="90.00")
    assert fixed["realized_pnl"] == held["realized_pnl"] and fixed["fees_paid"] == held["fees_paid"]
    events = []

    def by_validation():
        events.extend(json.loads(body) for _, body in broker.drain(POSITION_QUEUE))
        return [event for event in events if event["asset"] == asset and event["version"] == 2]
    event = wait_until(by_validation)[0]
    assert event["update_source"] == "validation" and event["trace_id"] == f"trace-{asset}" and event["size"] == "-3.0"
    assert db.query("select size, version from position_manager_journal where asset = %s order by seq", asset) == [(2, 1), (-3, 2)]
    again = validate(service, asset)
    assert again["is_valid"] is True and again["discrepancies"] == [] and again["updated_position"] is None


def test_a_fix_to_flat_closes_the_position(service, held, orders, asset):
    orders(f"{asset}-1", asset, "Buy", "2", "100")
    orders(f"{asset}-2", asset, "Sell", "2", "110", seconds=1)
    assert validate(service, asset)["updated_position"]["size"] == "0.0"
    assert service.expect(asset, version=2, average_entry_price=None)["closed_at"] is not None


def test_orders_of_others_are_nothing_to_compare(service, held, orders, other_asset):
    orders(other_asset, other_asset, "Buy", "1", "1")
    result = validate(service, held["asset"])
    assert result["is_valid"] is True and result["error_message"] and result["discrepancies"] == []


def test_the_periodic_run_only_reports(instead, held, orders, asset):
    orders(asset, asset, "Buy", "7", "100")
    timed = instead({"POSITION_MANAGER_VALIDATION_INTERVAL": "1"})
    line = wait_until(lambda: next((line for line in timed.log() if line["event"] == "validation_discrepancy" and line.get("asset") == asset), None))
    assert line["level"] == "WARNING"
    wait_until(lambda: timed.metric("validations_total") >= 2 and timed.metric("validation_discrepancies_total") >= 1)
    assert timed.metric("validation_fixes_total") == 0 and timed.position(asset)["version"] == 1
    summary = timed.http.get("/metrics", headers={"Accept": "application/json"}).json()["validation_statistics"]
    assert summary and any(isinstance(value, (int, float)) and value >= 1 for value in summary.values())
    assert timed.stop()[0] == 0


def test_the_periodic_run_fixes_where_that_is_wanted(instead, held, orders, asset):
    orders(asset, asset, "Buy", "7", "100")
    timed = instead({"POSITION_MANAGER_VALIDATION_INTERVAL": "1", "POSITION_MANAGER_VALIDATION_FIX": "yes"})
    timed.expect(asset, version=2, size="7.0")
    wait_until(lambda: timed.metric("validation_fixes_total") >= 1, what="the metric")
    assert timed.stop()[0] == 0


def test_a_discrepancy_of_the_market_schedules_a_validation(service, held, orders, broker, asset):
    """No timer runs here: what is validated was scheduled by the event."""
    orders(asset, asset, "Buy", "9", "100")
    broker.market(asset, at=PAST, side="Buy", size="9", markPrice="100")
    line = wait_until(lambda: next((line for line in service.log() if line["event"] == "validation_discrepancy" and line.get("asset") == asset), None))
    assert line["level"] == "WARNING"
    # It reports only, as the periodic run does.
    assert service.position(asset)["size"] == "2.0"


def test_without_the_database_history_says_unavailable_and_comes_back(world, service, servers, held, asset):
    assert service.stop()[0] == 0
    proxy = Proxy(servers.pg["host"], servers.pg["port"]).open()
    cut_off = world.service({"POSTGRES_PORT": proxy.port})
    try:
        cut_off.start()
        taken = snapshot(cut_off, asset)
        proxy.close()
        wait_until(lambda: cut_off.get("/health").json()["database_connected"] is False)
        for method, path in (("POST", "validate"), ("POST", "snapshot"), ("GET", "snapshots"), ("POST", "")):
            started = time.monotonic()
            answer = cut_off.http.request(method, f"/api/v1/positions/{asset}/{path}".rstrip("/"))
            expect_error(answer, 503, "UNAVAILABLE")
            assert time.monotonic() - started < 10
        assert cut_off.position(asset)["id"] == held["id"]
        proxy.open()
        cut_off.wait_healthy()
        wait_until(lambda: cut_off.get(f"/api/v1/positions/{asset}/snapshots").status_code == 200)
        assert [one["id"] for one in listed(cut_off, asset)] == [taken["id"]]
        assert cut_off.stop()[0] == 0
    finally:
        cut_off.kill()
        proxy.close()
        service.start()
