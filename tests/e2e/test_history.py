"""Snapshots and validation (contract §2.3, §5)."""

import time

import pytest
from world import wait_until


@pytest.fixture
def held(service, broker, asset):
    broker.fill(asset, "Buy", "2", "100", fees="1")
    return service.expect(asset, version=1)


def snapshot(service, asset):
    answer = service.http.post(f"/api/v1/positions/{asset}/snapshot")
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_snapshot_is_the_position_as_it_stood(service, db, held, asset):
    taken = snapshot(service, asset)
    assert set(taken) == {"id", "position_id", "asset", "mode", "snapshot_data", "created_at"}
    assert taken["position_id"] == held["id"] and (taken["asset"], taken["mode"]) == (asset, "one-way")
    for field in ("size", "average_entry_price", "realized_pnl", "fees_paid", "version", "opened_at"):
        assert taken["snapshot_data"][field] == held[field]
    assert db.query("select count(*) from position_snapshots where id = %s", taken["id"]) == [(1,)]
    after = service.position(asset)
    assert after["version"] == held["version"] and after["last_snapshot_at"] is not None


def test_snapshots_are_listed_newest_first_and_found_by_time(service, broker, held, asset):
    first = snapshot(service, asset)
    broker.fill(asset, "Buy", "2", "200")
    service.expect(asset, version=2)
    time.sleep(0.01)
    second = snapshot(service, asset)
    path = f"/api/v1/positions/{asset}/snapshots"
    listed = service.get(path).json()
    assert [one["id"] for one in listed["snapshots"]] == [second["id"], first["id"]] and listed["count"] == 2
    assert [one["id"] for one in service.get(path, limit=1, offset=1).json()["snapshots"]] == [first["id"]]
    assert [one["id"] for one in service.get(path, to=first["created_at"]).json()["snapshots"]] == [first["id"]]
    assert len(service.get(path, **{"from": first["created_at"]}).json()["snapshots"]) == 2
    assert [one["id"] for one in service.get(path, at=first["created_at"]).json()["snapshots"]] == [first["id"]]
    assert service.get(path, at="2001-01-01T00:00:00Z").status_code == 404
    for wrong in ({"limit": "0"}, {"limit": "1001"}, {"offset": "-1"}, {"from": "then"}, {"at": "x"}):
        answer = service.get(path, **wrong)
        assert answer.status_code == 400 and answer.json()["error_code"] == "VALIDATION_ERROR"


def test_nothing_can_be_snapshot_or_validated_that_is_not_there(service):
    for action in ("snapshot", "validate"):
        answer = service.http.post(f"/api/v1/positions/NOSUCHUSDT/{action}")
        assert answer.status_code == 404 and answer.json()["error_code"] == "NOT_FOUND"


def test_snapshots_are_taken_by_the_timer(instead, held, asset):
    timed = instead({"POSITION_MANAGER_SNAPSHOT_INTERVAL": "1"})
    wait_until(lambda: timed.get(f"/api/v1/positions/{asset}/snapshots").json()["count"] >= 1)
    assert timed.stop()[0] == 0


@pytest.fixture
def orders(db):
    db.query("""create table if not exists orders (order_id text primary key, asset varchar(20), side varchar(10), status varchar(20),
                filled_quantity numeric(20,8), average_price numeric(20,8), executed_at timestamp, is_dry_run boolean)""")

    def add(order_id, asset, side, quantity, price, status="filled", dry=False):
        db.query("insert into orders values (%s, %s, %s, %s, %s, %s, clock_timestamp() at time zone 'utc', %s)", order_id, asset, side,
                 status, quantity, price, dry)
    return add


def validate(service, asset, **parameters):
    answer = service.http.post(f"/api/v1/positions/{asset}/validate", params=parameters)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert {"is_valid", "error_message", "discrepancies", "updated_position"} <= set(result)
    return result


def test_without_orders_there_is_nothing_to_compare(service, held, asset):
    result = validate(service, asset)
    assert result["is_valid"] is True and result["error_message"]


def test_what_the_orders_say_is_valid(service, held, orders, asset):
    orders(f"{asset}-1", asset, "BUY", "3", "100", status="partially_filled")
    orders(f"{asset}-2", asset, "sell", "1", "150")
    orders(f"{asset}-3", asset, "Buy", "50", "1", dry=True)
    orders(f"{asset}-4", asset, "Buy", "50", "1", status="cancelled")
    result = validate(service, asset)
    assert result["is_valid"] is True and result["discrepancies"] == []


def test_a_discrepancy_is_reported_and_fixed_only_when_asked(service, held, orders, asset):
    orders(f"{asset}-1", asset, "Buy", "5", "120")
    result = validate(service, asset, fix_discrepancies="false")
    assert result["is_valid"] is False and result["updated_position"] is None
    assert {found["field"] for found in result["discrepancies"]} == {"size", "average_entry_price"}
    assert service.position(asset)["version"] == 1
    result = validate(service, asset)
    assert result["is_valid"] is True and len(result["discrepancies"]) == 2
    assert result["updated_position"]["size"] == "5.0"
    service.expect(asset, version=2, size="5.0", average_entry_price="120.00")
