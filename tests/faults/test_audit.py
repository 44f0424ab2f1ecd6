"""The alarm rings: each kind of damage is found by the auditor, so that its zeros mean something."""

import json
from decimal import Decimal

import pytest
from audit import Announcements, Findings, check_announced, check_counted, check_portfolio
from scene import Outcome, Scene
from watch import Look, Watch, database_is_gone

CONFIRMED = {"a": ("XUSDT", Decimal("2")), "b": ("XUSDT", Decimal("-1")), "c": ("YUSDT", Decimal("5"))}
ROWS = {"XUSDT": (Decimal("1"), Decimal("0.02"), 2), "YUSDT": (Decimal("5"), Decimal("0.01"), 1)}


def counted(journal=("a", "b", "c"), rows=None, confirmed=None):
    findings = Findings()
    check_counted(findings, confirmed or CONFIRMED, journal, {**ROWS, **(rows or {})})
    return findings


def test_nothing_is_found_where_nothing_is():
    assert counted().is_clean() and counted().confirmed == 3


@pytest.mark.parametrize("damage, lost, twice, wrong", [
    ({"journal": ["a", "c"], "rows": {"XUSDT": (Decimal("2"), Decimal("0.01"), 1)}}, 1, 0, 0),
    ({"rows": {"XUSDT": (Decimal("2"), Decimal("0.01"), 1)}}, 1, 0, 0),  # in the journal, but not counted
    ({"rows": {"XUSDT": (Decimal("3"), Decimal("0.03"), 3)}}, 0, 1, 0),
    ({"journal": ["a", "c"]}, 1, 1, 0),  # another was counted in its place
    ({"rows": {"YUSDT": (Decimal("4"), Decimal("0.01"), 1)}}, 0, 0, 1),
    ({"journal": ["a", "b", "c", "d"]}, 0, 0, 1),
])
def test_damage_is_found(damage, lost, twice, wrong):
    findings = counted(**damage)
    assert (findings.lost, findings.twice, len(findings.wrong)) == (lost, twice, wrong)
    assert not findings.is_clean()


def test_a_position_that_is_missing_is_found():
    findings = Findings()
    check_counted(findings, CONFIRMED, ["a", "b", "c"], {"XUSDT": ROWS["XUSDT"]})
    assert findings.lost == 1


@pytest.mark.parametrize("newest, unannounced, wrong", [(2, 0, 0), (1, 1, 0), (0, 1, 0), (3, 0, 1)])
def test_announcements_are_compared_with_the_row(newest, unannounced, wrong):
    findings, announcements = Findings(), Announcements()
    announcements.newest = {"XUSDT": newest, "YUSDT": 1}
    check_announced(findings, announcements, ROWS)
    assert (findings.unannounced, len(findings.wrong)) == (unannounced, wrong)


def test_two_figures_for_one_version_are_found():
    findings, announcements = Findings(), Announcements()
    for size in ("1.0", "2.0"):
        announcements.take({"asset": "XUSDT", "version": 2, "size": size, "average_entry_price": "1.00", "realized_pnl": "0.00"})
    check_announced(findings, announcements, {"XUSDT": ROWS["XUSDT"]})
    assert len(findings.wrong) == 1


@pytest.mark.parametrize("said, wrong", [(["1.00", "2.00"], 0), (["2.00", "1.00"], 1), ([], 1)])
def test_the_last_portfolio_is_compared(said, wrong):
    findings = Findings()
    bodies = [json.dumps({"event_type": "portfolio_updated", "total_exposure_usdt": figure, "timestamp": "now"}) for figure in said]
    check_portfolio(findings, bodies, {"total_exposure_usdt": "2.00", "timestamp": "then", "by_asset": {}})
    assert len(findings.wrong) == wrong


def look(at, status, database):
    return Look(at, at, status, database, True, 0.0, 0)


def test_the_longest_time_of_wrong_health_is_measured():
    watch = Watch(None)
    watch.looks = [look(0, 200, True), look(1, 200, True), look(2.5, 503, False), look(3, 503, False), look(4, 200, True)]
    assert watch.wrong_seconds(0.5, 10, database_is_gone) == 6.0  # from 4 to the end
    assert watch.wrong_seconds(0.5, 3.5, database_is_gone) == 1.5


@pytest.mark.parametrize("damage", [{"lost": 1}, {"twice": 1}, {"unannounced": 1}, {"wrong": ["something"]}, {"confirmed": 0},
                                    {"wrong_health": 2.1}, {"recovery": 5.1}, {"resident_mib": 401}])
def test_a_broken_promise_is_a_failure(damage):
    scene = Scene.__new__(Scene)
    scene.patience = 1.0
    good = {"rounds": 1, "confirmed": 5, "wrong_health": 1.9, "recovery": 4.9, "resident_mib": 400}
    scene.judge(Outcome("good", **good))
    with pytest.raises(AssertionError):
        scene.judge(Outcome("bad", **{**good, **damage}))
