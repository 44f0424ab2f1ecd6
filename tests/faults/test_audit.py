"""The alarm rings: each kind of damage is found by the auditor, so that its zeros mean something."""

import json
from decimal import Decimal

import pytest
from audit import Announcements, Findings, check_announced, check_counted, check_portfolio
from machine import Machine
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


def looks(begin, end, status, database):
    """So many as a watch that nobody holds up has in that time."""
    return [Look(begin + number / 16, begin + number / 16, status, database, True, 0.0, 0) for number in range(int((end - begin) * 16))]


def test_the_longest_time_of_wrong_health_is_measured():
    watch = Watch(None)
    watch.looks = looks(0, 2.5, 200, True) + looks(2.5, 4, 503, False) + looks(4, 11, 200, True)
    assert watch.wrong_seconds(0.5, 10, database_is_gone) == 6.0  # from 4 to the end
    assert watch.wrong_seconds(1, 3.5, database_is_gone) == 1.5


@pytest.mark.parametrize("again, wrong", [(503, 1.0), (200, 2.0)])
def test_a_time_in_which_the_watch_was_kept_from_looking_is_no_wrong_health(again, wrong):
    watch = Watch(None)
    watch.looks = looks(0, 1, 200, True) + looks(4, 5, again, again == 200) + looks(5, 6, 503, False)
    assert abs(watch.wrong_seconds(0, 6, database_is_gone) - wrong) < 0.15
    assert 3.0 < Watch.wrong_seconds(_with(watch, looks(1, 4, 0, False)), 0, 6, database_is_gone) < 5.1, "a service that is silent is told from that"


def _with(watch, more):
    other = Watch(None)
    other.looks = sorted(watch.looks + more, key=lambda one: one.at)
    return other


@pytest.mark.parametrize("waited, held_up, is_told", [(0.1, 0.1, False), (0.4, 0.1, True), (0.1, 0.7, True)])
def test_a_watch_tells_what_was_in_the_way(waited, held_up, is_told):
    watch = Watch(None)
    watch.waited, watch.held_up = {(1, "1"): 0.01, (1, "2"): waited}, held_up
    assert (watch.was_in_the_way() is not None) is is_told


class Course:
    """Outcomes one after the other, and how busy the machine was meanwhile."""

    def __init__(self, monkeypatch, outcomes, reasons):
        self.outcomes, self.count = outcomes, 0
        monkeypatch.setattr("scene.Machine", lambda: self)
        self.reasons = reasons

    def __call__(self):
        self.count += 1
        return Outcome("a course", rounds=1, confirmed=5, **self.outcomes[self.count - 1])

    def was_too_busy(self):
        return self.reasons[self.count - 1]


@pytest.mark.parametrize("outcomes, reasons, count, recovery", [
    ([{"recovery": 9.0}], [None], 1, 9.0),
    ([{"recovery": 9.0}, {"recovery": 3.0}], ["busy", None], 2, 3.0),
    ([{"wrong_health": 9.0}, {"recovery": 3.0}], ["busy", "busy"], 2, 3.0),
    ([{"recovery": 9.0}, {"recovery": 8.0}, {"recovery": 7.0}], ["busy"] * 3, 3, 7.0),
    ([{"recovery": 9.0, "lost": 1}], ["busy"], 1, 9.0),
    ([{"recovery": 9.0, "wrong": ["something"]}], ["busy"], 1, 9.0),
    ([{"recovery": 9.0, "in_the_way": "a late watch"}, {"recovery": 3.0}], [None, None], 2, 3.0),
    ([{"recovery": 4.0}], ["busy"], 1, 4.0)])
def test_only_what_took_too_long_on_a_busy_machine_is_done_once_more(monkeypatch, outcomes, reasons, count, recovery):
    scene = Scene.__new__(Scene)
    scene.patience = 1.0
    course = Course(monkeypatch, outcomes, reasons)
    assert scene.tried(course).recovery == recovery and course.count == count


def test_a_busy_machine_is_told_from_an_idle_one(monkeypatch):
    figures = iter([(0.0, 5.0, 1.0, 0.0), (10.0, 9.0, 1.5, 0.1), (0.0, 5.0, 1.0, 0.0), (10.0, 13.0, 1.0, 0.0)])
    monkeypatch.setattr(Machine, "now", staticmethod(lambda: next(figures)))
    assert Machine().was_too_busy() is None
    assert "a processor for 8.0 of 10.0 s" in Machine().was_too_busy()


@pytest.mark.parametrize("damage", [{"lost": 1}, {"twice": 1}, {"unannounced": 1}, {"wrong": ["something"]}, {"confirmed": 0},
                                    {"wrong_health": 2.1}, {"recovery": 5.1}, {"resident_mib": 401}])
def test_a_broken_promise_is_a_failure(damage):
    scene = Scene.__new__(Scene)
    scene.patience = 1.0
    good = {"rounds": 1, "confirmed": 5, "wrong_health": 1.9, "recovery": 4.9, "resident_mib": 400}
    scene.judge(Outcome("good", **good))
    with pytest.raises(AssertionError):
        scene.judge(Outcome("bad", **{**good, **damage}))
