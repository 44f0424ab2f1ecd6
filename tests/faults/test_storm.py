"""Random kills of the service, PostgreSQL and RabbitMQ, alone and together, round after round, with one audit at the end.

PM_FAULTS_STORM says how many rounds, PM_FAULTS_SEED which ones (a number, or fresh), PM_FAULTS_STORM_SECONDS when to stop though there are more to come (a busy
machine takes its time to start a broker). With many rounds this is the long run:
PM_FAULTS_STORM=200 python3 -m pytest -s tests/faults/test_storm.py
"""

import os
import random
import sys
import time
from collections import Counter

from scene import Outcome, fresh_assets, stream_of_probes
from watch import Watch, anything, database_is_gone, queue_is_gone
from world import seed_of_run

# What a service that lives has to say meanwhile.
TRUTHS = {"postgres": database_is_gone, "rabbitmq": queue_is_gone}
VICTIMS = ("service", "service", "postgres", "postgres", "rabbitmq", "service and postgres", "service and rabbitmq", "all")


def kill(scene, victim):
    if "postgres" in victim or victim == "all":
        scene.neighbours.postgres_stop("immediate")
    if "rabbitmq" in victim or victim == "all":
        scene.neighbours.rabbitmq_kill()
    if "service" in victim or victim == "all":
        scene.service.kill()


def revive(scene, victim):
    """The service first: it has to wait for its neighbours by itself."""
    if "service" in victim or victim == "all":
        scene.service.start(healthy=False)
    if "postgres" in victim or victim == "all":
        scene.neighbours.postgres_start()
    if "rabbitmq" in victim or victim == "all":
        scene.neighbours.rabbitmq_start()


def test_a_storm_of_kills_loses_and_doubles_nothing(scene, record):
    record(scene.tried(lambda: storm(scene)))


def storm(scene):
    rounds = int(os.environ.get("PM_FAULTS_STORM", "5"))
    seconds_max = float(os.environ.get("PM_FAULTS_STORM_SECONDS", "inf"))
    seed = seed_of_run("PM_FAULTS_SEED")
    dice = random.Random(seed)
    outcome = Outcome("storm of random kills")
    print(f"storm: {rounds} rounds, PM_FAULTS_SEED={seed}", file=sys.stderr)
    scene.run()
    stream = scene.stream()
    probes = stream_of_probes(scene, stream)
    watch = Watch(scene.service).start()
    killed, spans = Counter(), []
    started = time.monotonic()
    stream.start()
    try:
        for number in range(1, rounds + 1):
            if time.monotonic() - started > seconds_max:
                break
            time.sleep(dice.uniform(0.05, 0.6))
            victim = dice.choice(VICTIMS)
            killed[victim] += 1
            kill(scene, victim)
            begun = time.monotonic()
            time.sleep(dice.uniform(0.0, 0.5))
            spans.append((begun, time.monotonic(), TRUTHS.get(victim, anything)))
            # Left alone from here on: a later change would be announced instead of a forgotten one.
            stream.assets = fresh_assets(stream.prefix)
            revive(scene, victim)
            recovery = scene.wait_normal(probes, time.monotonic())
            outcome.recovery = max(outcome.recovery, recovery)
            outcome.rounds += 1
            if number % 10 == 0:
                print(f"storm: round {number}, {time.monotonic() - started:.0f} s, {victim}: {recovery:.2f} s, "
                      f"{len(stream.confirmed)} confirmed, {stream.resent + probes.resent} batches sent again", file=sys.stderr)
    finally:
        scene.neighbours.running()
        stream.stop()
        watch.stop()
    outcome.wrong_health = max(watch.wrong_seconds(*span) for span in spans)
    outcome.in_the_way = watch.was_in_the_way()
    outcome.resident_mib = watch.rss_max_kib // 1024
    outcome.note = f"seed {seed}, {time.monotonic() - started:.0f} s, " + ", ".join(f"{n} {victim}" for victim, n in sorted(killed.items()))
    scene.check(outcome, stream)
    return outcome
