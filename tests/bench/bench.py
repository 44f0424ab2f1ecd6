"""Measures the service against its ceilings; started by run.sh, which has made servers and programs ready."""

import json
import os
import platform
import statistics
import sys
import time

import bench_http
import bench_queue
import bench_rest
from bench_world import CORES, World

GROUPS = {**bench_queue.GROUPS, **bench_http.GROUPS, **bench_rest.GROUPS}


class Report:
    """Rows: what was measured, its ceiling, and the ratio that the project promised."""

    def __init__(self, quick):
        self.quick, self.rows = quick, []
        self.rounds = 1 if quick else int(os.environ.get("PM_BENCH_ROUNDS", "5"))

    def interleave(self, *measures):
        """Runs each in turn, again and again; returns the list of results of each."""
        results = [[] for _ in measures]
        for _ in range(self.rounds):
            for kept, measure in zip(results, measures):
                kept.append(measure())
        return results

    def add(self, name, unit, values, ceilings=None, at_least=None, at_most=None, aim=None, note=""):
        values = values if isinstance(values, list) else [values]
        row = {"name": name, "unit": unit, "median": statistics.median(values), "samples": values, "note": note}
        if ceilings:
            ceilings = ceilings if isinstance(ceilings, list) else [ceilings]
            row.update(ceiling=statistics.median(ceilings), ceiling_samples=ceilings)
            row["ratio"] = row["median"] / row["ceiling"] if row["ceiling"] else None
            judged = row["ratio"]
        else:
            judged = row["median"]
        if judged is not None and (at_least is not None or at_most is not None):
            row.update(at_least=at_least, at_most=at_most, aim=aim)
            row["reached"] = judged >= at_least if at_least is not None else judged <= at_most
        self.rows.append(row)
        print(line_of(row), flush=True)


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line_of(row):
    wanted = f">= {row['at_least']}" if row.get("at_least") is not None else \
        f"<= {row['at_most']}" if row.get("at_most") is not None else ""
    reached = {True: "ok", False: "MISSED", None: ""}[row.get("reached")]
    ratio = f"{row['ratio']:.2f}" if row.get("ratio") is not None else ""
    return (f"{row['name']:<52} {number(row['median']):>10} {number(row.get('ceiling')):>10} {row['unit']:<10} {ratio:>6} "
            f"{wanted:<8} {reached:<6} {row['note']}").rstrip()


HEAD = f"{'what':<52} {'median':>10} {'ceiling':>10} {'unit':<10} {'ratio':>6} {'wanted':<8}"


def autogroup():
    """Whether the kernel shares the processors by session: then the broker, with most to do, gets no more than the others."""
    try:
        with open("/proc/sys/kernel/sched_autogroup_enabled", encoding="ascii") as source:
            return source.read().strip() == "1"
    except OSError:
        return False


def main():
    names = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if "--list" in sys.argv:
        for name, group in GROUPS.items():
            print(f"{name:<14} {group.__doc__.splitlines()[0]}")
        return 0
    known = {**GROUPS, **bench_rest.PROFILES}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {' '.join(unknown)}; there are: {' '.join(GROUPS)}", file=sys.stderr)
        return 2
    world, report = World(), Report("--quick" in sys.argv)
    if not names or set(names) & set(GROUPS):
        print(HEAD, flush=True)
    failed = []
    try:
        for name in names or GROUPS:
            try:
                known[name](world, report)
            except Exception as error:  # the others are still worth measuring
                failed.append(name)
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                world.stop_all()
    finally:
        world.stop_all()
    if not report.rows:
        return 1 if failed else 0
    with open(f"{world.build}/bench.json", "w", encoding="utf-8") as out:
        json.dump({"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "revision": os.environ.get("BENCH_REVISION"),
                   "cores": CORES, "kernel": platform.release(), "quick": report.quick, "failed": failed,
                   "sched_autogroup": autogroup(), "load_average": os.getloadavg(), "rows": report.rows}, out, indent=1)
        out.write("\n")
    missed = [row["name"] for row in report.rows if row.get("reached") is False]
    print(f"\n{len(report.rows)} rows, {len(missed)} missed{': ' + ', '.join(missed) if missed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
