#!/usr/bin/python3
"""planted.py: shows that the simulator finds faults: each is planted into a copy of the real code, and must be found.

    tests/simulation/planted.py                 all of them
    tests/simulation/planted.py acknowledge     those whose name contains it

Prints for each the invariant that broke and the number of seeds it took. Ends with 0 only if all were found.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS_MAX = 6000

# name, file, what stands there, what stands there with the fault
FAULTS = [
    ("acknowledge before the commit", "src/actors/shard_apply.c",
     "    changed_by(work, SOURCE_ORDER_EXECUTION, delivery);\n    applied(shard, work, delivery);\n    return ADMITTED;",
     "    changed_by(work, SOURCE_ORDER_EXECUTION, delivery);\n    applied(shard, work, delivery);\n"
     "    if (delivery->tag % 50 == 0) {\n        work->pending.last = NULL;\n        struct chain all = work->pending;\n"
     "        all.last = NULL;\n        work->pending = (struct chain){NULL, NULL};\n        struct delivery *d;\n"
     "        while ((d = chain_take(&all)) != NULL)\n            if (d != delivery)\n"
     "                chain_append(&work->pending, d);\n        shard_settle(shard, delivery);\n    }\n    return ADMITTED;"),
    ("settle without an announcement", "src/actors/shard_commit.c",
     "    if (announced || delivery->kind == DELIVERY_EXECUTION || delivery->redelivered) /* see settle_without_effect */",
     "    if (false)"),
    ("show the state before the commit", "src/actors/shard_commit.c",
     "    item->row = work->now;",
     "    item->row = work->now;\n    (void)directory_publish(shard->settings.part, &work->now);"),
    ("announce the working state", "src/actors/shard_announce.c",
     "    announcement->position = work->base;", "    announcement->position = work->now;"),
    ("take a conflict for a repeat", "src/actors/shard_apply.c",
     "        if (fingerprint == delivery->fingerprint)", "        if (true)"),
    ("forget that a repeat may be pending", "src/actors/shard_apply.c",
     "    struct delivery *pending = identities_find_pending(shard->identities, delivery);",
     "    struct delivery *pending = NULL;"),
    ("count a redo twice", "src/actors/shard_apply.c",
     "    work->now = work->base;\n    work->row_changed = false;", "    work->row_changed = false;"),
    ("leave an order's pending sum after a redo", "src/actors/shard_apply.c",
     "    if (delivery->order != NULL)\n        order_take_back(delivery->order, &delivery->fill);", ""),
    ("forget what a commit added to an order", "src/actors/orders.c",
     "    if (slot->is_known)\n        total_add(&slot->committed, &addend);",
     "    if (false)\n        total_add(&slot->committed, &addend);"),
    ("lose the announcement after a conflict", "src/actors/shard_commit.c",
     "    bool announced = changes != 0 || item->external.wanted;",
     "    bool announced = (changes != 0 || item->external.wanted) && work->conflict_tries == 0;"),
    ("forget the rest of a group that waits for a lookup", "src/actors/shard_apply.c",
     "            chain_prepend(&work->waiting, delivery);\n            shard_queue_lookup(shard, work);\n            return;",
     "            work->waiting = (struct chain){NULL, NULL};\n            chain_prepend(&work->waiting, delivery);\n"
     "            shard_queue_lookup(shard, work);\n            return;"),
    ("drop an announcement when the pool is empty", "src/actors/shard_announce.c",
     "    while (shard->announce_queue.first != NULL && shard->free_announcement != NULL &&",
     "    if (shard->free_announcement != NULL && shard->free_announcement->head.next == NULL &&\n"
     "        shard->announce_queue.first != NULL) {\n        struct work *lost = shard->announce_queue.first;\n"
     "        struct delivery *d;\n        while ((d = chain_take(&lost->settling)) != NULL)\n"
     "            shard_settle(shard, d);\n    }\n"
     "    while (shard->announce_queue.first != NULL && shard->free_announcement != NULL &&"),
    ("settle a redelivered repeat before what it repeats", "src/actors/shard_apply.c",
     "    if (delivery->redelivered && (!chain_is_empty(&work->pending) || work->commit_in_flight)) {",
     "    if (false) {"),
    ("never tell the aggregator of a change during its publication", "src/actors/shard_announce.c",
     "    if (!shard->totals_dirty || shard->totals == NULL)\n        return;\n    shard->totals_dirty = false;",
     "    bool dirty = shard->totals_dirty;\n    shard->totals_dirty = false;\n"
     "    if (!dirty || shard->totals == NULL)\n        return;"),
]


def build(tree):
    subprocess.run(["cmake", "-S", tree, "-B", tree / "out", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"],
                   check=True, stdout=subprocess.DEVNULL)
    return subprocess.run(["cmake", "--build", tree / "out", "--target", "simulate"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def try_fault(tree, name, file, old, new):
    path = tree / file
    original = path.read_text(encoding="utf-8")
    if original.count(old) != 1:
        return f"the place to plant it is not there any more ({original.count(old)} times)", False
    path.write_text(original.replace(old, new), encoding="utf-8")
    try:
        built = build(tree)
        if built.returncode != 0:
            return "does not compile:\n" + built.stdout[-1500:], False
        run = subprocess.run([tree / "out" / "simulate", "--seeds", str(SEEDS_MAX)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, timeout=900)
        if run.returncode == 0:
            return f"not found in {SEEDS_MAX} seeds", False
        found = re.search(r'seed (\d+) breaks "([^"]+)"', run.stdout)
        if found:
            return f"found as \"{found[2]}\" after {found[1]} seeds", True
        stopped = re.search(r"assertion failed.*", run.stderr)
        return "found by " + (stopped[0] if stopped else f"the program's end ({run.returncode})"), True
    finally:
        path.write_text(original, encoding="utf-8")


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="pm-planted.") as folder:
        tree = Path(folder)
        for part in ("src", "tests", "cmake", "CMakeLists.txt"):
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / part)
        for name, file, old, new in FAULTS:
            if wanted not in name:
                continue
            outcome, found = try_fault(tree, name, file, old, new)
            missed += not found
            print(f"{'ok  ' if found else 'MISS'} {name}: {outcome}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
