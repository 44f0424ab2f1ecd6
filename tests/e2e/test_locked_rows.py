"""A row that somebody else holds locked holds up its own position only, and nothing of any other is lost on the way."""

import time

import pytest

ROUNDS = 10


@pytest.fixture(scope="module")
def settings():
    return {"POSITION_MANAGER_SHARDS": 1}


def test_cumulative_fills_beside_a_locked_row_all_count(service, broker, db):
    """An order's total is looked up while the commit of its last fill is still being answered: none may count twice."""
    broker.fill("LOCKEDUSDT", "Buy", "1", "100")
    broker.fill("BESIDEUSDT", "Buy", "1", "100")
    service.expect("LOCKEDUSDT", size="1.0")
    service.expect("BESIDEUSDT", size="1.0")
    lock = db.other_session()
    lock.cursor().execute("select 1 from positions where asset = 'LOCKEDUSDT' for update")
    broker.fill("LOCKEDUSDT", "Buy", "1", "100")
    for i in range(ROUNDS):
        broker.fill("BESIDEUSDT", "Buy", "1", "100", order_id=f"beside-{i}")
        time.sleep(0.002 + 0.001 * i)
        broker.nested("BESIDEUSDT", "Buy", "1.5", "100", f"beside-{i}")
    service.expect("BESIDEUSDT", size=f"{1 + 1.5 * ROUNDS}")
    lock.rollback()
    lock.close()
    service.expect("LOCKEDUSDT", size="2.0")
    total = db.query("select sum(filled_quantity) from position_manager_orders where order_id like 'beside-%%'")
    assert total[0][0] == 1.5 * ROUNDS
