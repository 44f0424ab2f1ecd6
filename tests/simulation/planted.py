#!/usr/bin/python3
"""planted.py: shows that the simulator finds faults: each is planted into a copy of a real source, and must be found.

    tests/simulation/planted.py                        all of them
    tests/simulation/planted.py --build build-x        with the objects of that build (default: build)
    tests/simulation/planted.py --some                 a few that stand for the others (what every test run has)
    tests/simulation/planted.py acknowledge            those whose name contains it
    tests/simulation/planted.py --table                prints the table of README.md

Only the source with the fault is compiled; the rest is the build's. For each fault: the invariant that broke, the number
of seeds it took, and how long the story was before and after it was shortened. The shortened story is played once more
from its file and must break the same. Ends with 0 only if all were found.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS_MAX = 20000
SECONDS_MAX = 300
SHORTEN_SECONDS = 60  # much more than it takes on a quiet machine
STEPS_SHORT = 40  # a shortened story of those that every test run has has fewer; others depend on the machine's speed
SOME = ("acknowledge before the commit", "lose the announcement after a conflict", "forget identities after a restart")

# name, file, what stands there, what stands there with the fault
FAULTS = [
    ("acknowledge before the commit", "shard_apply.c",
     "    changed_by(work, SOURCE_ORDER_EXECUTION, delivery);\n    applied(shard, work, delivery);\n    return ADMITTED;",
     "    changed_by(work, SOURCE_ORDER_EXECUTION, delivery);\n    applied(shard, work, delivery);\n"
     "    if (delivery->tag % 50 == 0) {\n        struct chain all = work->pending;\n"
     "        work->pending = (struct chain){NULL, NULL};\n        struct delivery *d;\n"
     "        while ((d = chain_take(&all)) != NULL)\n            if (d != delivery)\n"
     "                chain_append(&work->pending, d);\n        shard_settle(shard, delivery);\n    }\n    return ADMITTED;"),
    ("acknowledge before the announcement is confirmed", "shard_announce.c",
     "    work->settling = (struct chain){NULL, NULL};\n    announcement->work = work;",
     "    announcement->settles = NULL;\n    announcement->settles_count = 0;\n    struct delivery *early;\n"
     "    while ((early = chain_take(&work->settling)) != NULL)\n        shard_settle(shard, early);\n"
     "    announcement->work = work;"),
    ("settle without an announcement", "shard_commit.c",
     "    if (announced || delivery->kind == DELIVERY_EXECUTION || delivery->redelivered) /* see settle_without_effect */",
     "    if (false)"),
    ("show the state before the commit", "shard_commit.c",
     "    item->row = work->now;",
     "    item->row = work->now;\n    (void)directory_publish(shard->settings.part, &work->now);"),
    ("announce the working state", "shard_announce.c",
     "    announcement->position = work->base;", "    announcement->position = work->now;"),
    ("go on from the state before the commit", "shard_commit.c",
     "    work->base = work->accounted = *row;", "    work->accounted = *row;\n    work->base.version = row->version;"),
    ("forget identities after a restart", "shard.c",
     "    if (delivery->identity[0] != '\\0')\n        delivery->identity_hash",
     "    if (delivery->redelivered)\n        delivery->identity[0] = '\\0';\n"
     "    if (delivery->identity[0] != '\\0')\n        delivery->identity_hash"),
    ("drop on full", "shard.c",
     "    shard->held_count++;\n    shard_admit(shard, delivery);",
     "    shard->held_count++;\n    if (shard->held_count > shard->settings.full_count) {\n"
     "        shard_settle(shard, delivery);\n        return;\n    }\n    shard_admit(shard, delivery);"),
    ("refuse on full", "shard.c",
     "    shard->held_count++;\n    shard_admit(shard, delivery);",
     "    shard->held_count++;\n    if (shard->held_count > shard->settings.full_count) {\n"
     "        shard_refuse(shard, delivery, STATUS_VERSION_CONFLICT, \"version\");\n        return;\n    }\n"
     "    shard_admit(shard, delivery);"),
    ("take a conflict for a repeat", "shard_apply.c",
     "        if (fingerprint == delivery->fingerprint)", "        if (true)"),
    ("forget that a repeat may be pending", "shard_apply.c",
     "    struct delivery *pending = identities_find_pending(shard->identities, delivery);",
     "    struct delivery *pending = NULL;"),
    ("count a redo twice", "shard_apply.c",
     "    work->now = work->base;\n    work->row_changed = false;", "    work->row_changed = false;"),
    ("leave an order's pending sum after a redo", "shard_apply.c",
     "    if (delivery->order != NULL)\n        order_take_back(delivery->order, &delivery->fill);", ""),
    ("forget what a commit added to an order", "orders.c",
     "    if (slot->is_known)\n        order_total_add(&slot->committed, &addend);",
     "    if (false)\n        order_total_add(&slot->committed, &addend);"),
    ("lose the announcement after a conflict", "shard_commit.c",
     "    bool announced = changes != 0 || item->external.wanted;",
     "    bool announced = (changes != 0 || item->external.wanted) && work->conflict_tries == 0;"),
    ("keep silent about somebody else's change", "shard_commit.c",
     "    if (!position_is_same_figures(&found, &work->accounted)) {", "    if (false) {"),
    ("give up at the first conflict", "shard_commit.c",
     "    if (work->conflict_tries > shard->settings.conflict_tries_max) {", "    if (work->conflict_tries > 0) {"),
    ("take one's own row for somebody else's change", "shard_commit.c",
     "    if (is_written_already(item)) {", "    if (false && is_written_already(item)) {"),
    ("forget the rest of a group that waits for a lookup", "shard_apply.c",
     "            chain_prepend(&work->waiting, delivery);\n            return;",
     "            work->waiting = (struct chain){NULL, NULL};\n            chain_prepend(&work->waiting, delivery);\n            return;"),
    ("refuse a repeat that does not fit any more", "shard_apply.c",
     "        if (!delivery->looked_up && delivery->identity[0] != '\\0')\n            return MUST_ASK;\n        if (!is_state_certain(work))",
     "        if (!is_state_certain(work))"),
    ("refuse for a state that may be taken back", "shard_apply.c",
     "    return !work->row_changed && !work->commit_in_flight;", "    return true;"),
    ("leave waiting what waits for a commit", "shard_commit.c",
     "    if (!work->lookup_in_flight) /* what waited for this commit's outcome */", "    if (false)"),
    ("drop an announcement when the pool is empty", "shard_announce.c",
     "    while (shard->announce_queue.first != NULL && shard->free_announcement != NULL) {",
     "    if (shard->free_announcement->head.next == NULL) {\n        struct work *lost = shard->announce_queue.first;\n"
     "        struct delivery *d;\n        while ((d = chain_take(&lost->settling)) != NULL)\n"
     "            shard_settle(shard, d);\n    }\n"
     "    while (shard->announce_queue.first != NULL && shard->free_announcement != NULL) {"),
    ("settle a redelivered repeat before what it repeats", "shard_apply.c",
     "    if (delivery->redelivered && (!chain_is_empty(&work->pending) || work->commit_in_flight)) {",
     "    if (false) {"),
    ("never tell the aggregator of a change during its publication", "shard_announce.c",
     "    if (!shard->totals_dirty || shard->totals == NULL)\n        return;\n    shard->totals_dirty = false;",
     "    bool dirty = shard->totals_dirty;\n    shard->totals_dirty = false;\n"
     "    if (!dirty || shard->totals == NULL)\n        return;"),
    ("forget what a full request left over", "shard_commit.c",
     "    if (shard->commit->count == 0)\n        return;",
     "    struct work *forgotten = shard->has_left_over ? shard->commit_queue.first : NULL;\n    if (forgotten != NULL) {\n"
     "        (void)work_queue_take(&shard->commit_queue, offsetof(struct work, commit_next));\n"
     "        forgotten->in_commit_queue = false;\n    }\n    if (shard->commit->count == 0)\n        return;"),
    ("say nothing of the portfolio after a restart", "shard.c",
     "    shard->totals_dirty = true;\n    if (!position->announcement_due)", "    if (!position->announcement_due)"),
]


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


class Workshop:
    """Compiles one source with a fault, and links it before the libraries of a build, whose own one is then not taken."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.compile_commands = {
            Path(entry["file"]).name: shlex.split(entry["command"])
            for entry in json.loads(run(["ninja", "-t", "compdb"], cwd=build).stdout)
            if "/src/actors/" in entry["file"] and " -c " in entry["command"]}
        last = run(["ninja", "-t", "commands", "simulate"], cwd=build).stdout.strip().split("\n")[-1]
        self.link_command = [word for word in shlex.split(last) if word not in ("&&", ":")]

    def make(self, number, file, text):
        source, made, program = (self.folder / f"{number}{end}" for end in (".c", ".o", ""))
        source.write_text(text, encoding="utf-8")
        words = list(self.compile_commands[file])
        words[words.index("-c") + 1] = str(source)
        words[words.index("-o") + 1] = str(made)
        if "-MF" in words:
            words[words.index("-MF") + 1] = str(made) + ".d"
        # A file of its own sees its folder's headers by the include directories; a fault may leave something unused.
        built = run(words + ["-w", f"-I{ROOT / 'src/actors'}"], cwd=self.build)
        if built.returncode == 0:
            words = list(self.link_command)
            words[words.index("-o") + 1] = str(program)
            words.insert(words.index("-o"), str(made))
            built = run(words, cwd=self.build)
        return program, built


class Outcome:
    def __init__(self, name, problem=None):
        self.name, self.problem = name, problem
        self.invariant = self.seed = self.before = self.after = None

    def line(self):
        if self.problem:
            return f"MISS {self.name}: {self.problem}"
        return (f"ok   {self.name}: \"{self.invariant}\" in seed {self.seed}; {self.before[0]} messages and "
                f"{self.before[1]} steps became {self.after[0]} and {self.after[1]}")

    def row(self):
        before, after = (f"{pair[0]} + {pair[1]}" for pair in (self.before, self.after))
        return f"| {self.name} | {self.invariant.replace('|', chr(92) + '|')} | {self.seed} | {before} | {after} |"


def check_story(program, story, outcome, is_short_wanted):
    again = run([program, "--story", story], timeout=SECONDS_MAX)
    found = re.search(r'breaks "(.+)" after', again.stdout)
    if again.returncode != 1 or not found or found[1] != outcome.invariant:
        outcome.problem = "its shortened story does not break the same: " + again.stdout[-300:]
    elif is_short_wanted and outcome.after[1] >= STEPS_SHORT:
        outcome.problem = f"its shortened story has still {outcome.after[1]} steps"


def try_fault(workshop, number, fault):
    name, file, old, new = fault
    outcome = Outcome(name)
    original = (ROOT / "src/actors" / file).read_text(encoding="utf-8")
    if original.count(old) != 1:
        return Outcome(name, f"the place to plant it is not there any more ({original.count(old)} times)")
    program, built = workshop.make(number, file, original.replace(old, new))
    if built.returncode != 0:
        return Outcome(name, "cannot be built:\n" + built.stdout[-1500:])
    story = workshop.folder / f"{number}.story"
    try:
        ran = run([program, "--seeds", str(SEEDS_MAX), "--shorten", str(SHORTEN_SECONDS), "--story-to", story],
                  timeout=SECONDS_MAX)
        found = re.search(r'seed (\d+) breaks "(.+)" after', ran.stdout)
        short = re.search(r"shortened from (\d+) messages and (\d+) steps to (\d+) messages and (\d+) steps", ran.stdout)
        if not found or not short:
            return Outcome(name, "not found: " + ran.stdout[-300:])
        outcome.seed, outcome.invariant = int(found[1]), found[2]
        outcome.before, outcome.after = (short[1], short[2]), (int(short[3]), int(short[4]))
        check_story(program, story, outcome, name in SOME)
    except subprocess.TimeoutExpired:
        outcome.problem = f"not found in {SECONDS_MAX} s"
    return outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--some", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("name", nargs="?", default="")
    wanted = parser.parse_args()
    faults = [fault for fault in FAULTS if wanted.name in fault[0] and (not wanted.some or fault[0] in SOME)]
    with tempfile.TemporaryDirectory(prefix="pm-planted.") as folder:
        workshop = Workshop((ROOT / wanted.build).resolve(), Path(folder))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = []
            for outcome in pool.map(lambda pair: try_fault(workshop, *pair), enumerate(faults)):
                outcomes.append(outcome)
                print(outcome.line(), flush=True)
    missed = sum(outcome.problem is not None for outcome in outcomes)
    if wanted.table:
        print("\n| fault | caught as | seeds | story (messages + steps) | shortened |\n| --- | --- | ---: | ---: | ---: |")
        print("\n".join(outcome.row() for outcome in outcomes if not outcome.problem))
    print(f"{len(outcomes) - missed} found, {missed} not")
    sys.exit(1 if missed or not outcomes else 0)


if __name__ == "__main__":
    main()
