"""position-manager --verify after a history with crashes in it: it agrees, until somebody tampers with a row or with the journal."""

import subprocess

import pytest

TAMPERINGS = {
    "a size in a row": ("update positions set size = size + 0.00000001 where asset = '{asset}'", "size is "),
    "a realized PnL in a row": ("update positions set realized_pnl = realized_pnl - 0.01 where asset = '{asset}'", "realized_pnl is "),
    "a row that is gone": ("delete from positions where asset = '{asset}'", ""),
    "a quantity in the journal": ("update position_manager_journal set quantity = quantity + 1 where seq = {seq}", "journal line {seq}: "),
    "a price in the journal": ("update position_manager_journal set price = price * 2 where seq = {seq}", "journal line {seq}: "),
    "a line of the journal that is gone": ("delete from position_manager_journal where seq = {seq}", "journal line "),
    "an order's total": ("update position_manager_orders set filled_quantity = filled_quantity + 1 where order_id = '{order}'", "order {order}: "),
}


def verify(service, **settings):
    return subprocess.run([str(service.world.binary), "--verify"], env={**service.environment, **settings}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def history(scene):
    """Of a service that was killed in between; it does not run any more, so that nothing mends what is damaged."""
    service = scene.run()
    stream = scene.stream()
    stream.publish(300)
    service.kill()
    stream.publish(300)
    service.start()
    scene.settle()
    assert service.stop()[0] == 0
    return service, stream.assets[0]


def test_it_agrees_with_what_crashes_left(history):
    done = verify(history[0])
    assert done.returncode == 0 and done.stdout.endswith("all agree\n") and done.stderr == "", done


@pytest.mark.parametrize("what", TAMPERINGS)
def test_it_finds_and_names_what_was_tampered_with(scene, history, what):
    service, asset = history
    seq, order = scene.sql("select seq, order_id from position_manager_journal where asset = %s and source = 'order_execution' "
                           "and quantity < 0 order by seq offset 3 limit 1", asset)[0]
    table = TAMPERINGS[what][0].replace("delete from", "update").split()[1]
    statement, words = (text.format(asset=asset, seq=seq, order=order) for text in TAMPERINGS[what])
    scene.sql(f"create table untouched as table {table}")
    # Triggers and references of the table stay out of it.
    tampering = f"set session_replication_role = replica; {statement}"
    mending = f"set session_replication_role = replica; delete from {table}; insert into {table} overriding system value table untouched"
    try:
        scene.sql(tampering)
        done = verify(service)
    finally:
        scene.sql(mending)
        scene.sql("drop table untouched")
    findings = done.stdout.splitlines()
    assert done.returncode == 1, done
    assert findings[-1].endswith("discrepancies") and not findings[-1].endswith(" 0 discrepancies"), done
    assert [line for line in findings[:-1] if asset in line and words in line], done
    assert verify(service).returncode == 0, "it was not put back"


def test_what_it_cannot_look_at_is_no_agreement(history):
    done = verify(history[0], POSTGRES_PORT="1")
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("cannot verify: "), done


def test_it_reads_in_a_session_that_may_not_write(history):
    assert verify(history[0], PGOPTIONS="-c default_transaction_read_only=on").returncode == 0
