"""Taking the Python service's place, as docs/replacing-the-python-service.md says it is done, with its own words of SQL."""

import subprocess
from pathlib import Path

import pytest

from documents import blocks
from world import wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "replacing-the-python-service.md"

OLD_TABLES = """
    create table positions (id uuid primary key default gen_random_uuid(), asset varchar(20) not null, mode varchar(20) not null default 'one-way',
        size numeric(20,8) not null default 0, average_entry_price numeric(20,8), current_price numeric(20,8), unrealized_pnl numeric(20,8) default 0,
        realized_pnl numeric(20,8) default 0, version integer not null default 1, last_updated timestamp default now(),
        created_at timestamp default now(), unique (asset, mode));
    create table orders (order_id uuid, asset varchar(20), side varchar(10), status varchar(20), filled_quantity numeric(20,8),
        average_price numeric(20,8), executed_at timestamp, is_dry_run boolean default false);
    insert into positions (asset, size, average_entry_price, version) values ('BTCUSDT', 3, 100, 7);
    insert into orders values ('11111111-1111-4111-8111-111111111111', 'BTCUSDT', 'Buy', 'filled', 2, 100, now()),
        ('22222222-2222-4222-8222-222222222222', 'BTCUSDT', 'Buy', 'partially_filled', 1, 100, now());
"""


def sql_of_the_page():
    (block,) = [block for block in blocks(PAGE, ROOT) if block.language == "sql"]
    return block.text


def verify(world, service):
    return subprocess.run([str(world.binary), "--verify"], env=service.environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def old_world(world):
    world.db.query(OLD_TABLES)
    return world


def test_changing_over_counts_each_part_of_an_open_order_once(old_world):
    checked = old_world.service({"POSITION_MANAGER_MIGRATIONS": "check", "RABBITMQ_PORT": "1"})
    checked.start(healthy=False)
    assert checked.process.wait(timeout=60) == 1
    assert any(line["event"] == "migration_missing" for line in checked.log())

    migrating = old_world.service({"RABBITMQ_PORT": "1"}).start(healthy=False)
    wait_until(lambda: any(line["event"] == "service_started" for line in migrating.log()), what="the start")
    assert migrating.stop()[0] == 0
    old_world.db.query(sql_of_the_page())

    service = old_world.service().start()
    # One of the four had been counted before: three are new.
    old_world.broker.nested("BTCUSDT", "Buy", "4", "110", "22222222-2222-4222-8222-222222222222")
    service.expect("BTCUSDT", size="6.0", version=8)
    # The old one's size and average are those of the row: (3 × 100 + 340) ÷ 6.
    assert service.position("BTCUSDT")["average_entry_price"] == "106.66666667"
    verified = verify(old_world, service)
    assert verified.returncode == 0 and "all agree" in verified.stdout, verified.stdout
    assert service.stop()[0] == 0


# What a service that knows the older tables only goes on saying to them.
OF_THE_OLD_ONE = """
    insert into positions (asset, size, average_entry_price, realized_pnl) values ('ETHUSDT', 2, 10, 0);
    update positions set size = size + 1, average_entry_price = 120, unrealized_pnl = 0, version = version + 1, last_updated = now()
        where asset = 'BTCUSDT' and version = 8;
"""


def test_going_back_and_coming_forward_again_loses_nothing(old_world):
    """After the test before: the older service writes to the tables as they are by now, and is followed by this one again."""
    old_world.db.query(OF_THE_OLD_ONE)
    assert (old_world.db.row("BTCUSDT")["size"], old_world.db.row("BTCUSDT")["version"]) == (7, 9)
    # Its rows, and nothing else, are what the journal does not know.
    service = old_world.service()
    verified = verify(old_world, service)
    assert verified.returncode == 1 and "BTCUSDT" in verified.stdout and "ETHUSDT" in verified.stdout, verified.stdout

    service.start()
    assert (service.position("BTCUSDT")["size"], service.position("BTCUSDT")["average_entry_price"]) == ("7.0", "120.00")
    assert service.position("ETHUSDT")["size"] == "2.0"
    verified = verify(old_world, service)
    assert verified.returncode == 0 and "all agree" in verified.stdout, verified.stdout
    old_world.broker.fill("BTCUSDT", "Sell", "7", "130")
    assert service.expect("BTCUSDT", size="0.0")["realized_pnl"] == "70.00"
    assert verify(old_world, service).returncode == 0
    assert service.stop()[0] == 0
