"""A database, a virtual host, a service, and the course of a fault: stream, fault, end of the fault, audit."""

import itertools
import os
import sys
import time
import uuid
from dataclasses import dataclass, field

import pika.exceptions
from audit import Announcements, audit
from machine import Machine
from stream import Stream
from watch import Watch, healthy
from world import DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, Service, wait_until

ASSETS_PER_FAULT = 8
RATE = 300                   # executions a second
WARM_UP_SECONDS = 0.6
AFTERWARDS_SECONDS = 0.3
SETTLE_SECONDS = 120
WRONG_HEALTH_SECONDS_MAX = 2.0
RECOVERY_SECONDS_MAX = 5.0
RESIDENT_KIB_MAX = 400 * 1024
TRIES = 3                    # of a course that only took too long, on a machine that was busy with something else
IS_LONG = os.environ.get("PM_FAULTS_LONG") == "1"
INBOUND_QUEUES = (ORDER_QUEUE, MARKET_QUEUE, DEAD_LETTER_QUEUE)

_numbers = itertools.count(1)


@dataclass
class Outcome:
    """One line of the table."""
    name: str
    rounds: int = 0
    confirmed: int = 0
    lost: int = 0
    twice: int = 0
    unannounced: int = 0
    wrong_health: float = 0.0
    recovery: float = 0.0
    resident_mib: int = 0
    wrong_health_max: float = WRONG_HEALTH_SECONDS_MAX
    in_the_way: str = None  # what the machine did that the times may be longer for
    note: str = ""
    wrong: list = field(default_factory=list)

    def add(self, findings):
        self.confirmed += findings.confirmed
        self.lost += findings.lost
        self.twice += findings.twice
        self.unannounced += findings.unannounced
        self.wrong += findings.wrong


def lasting(seconds, long_seconds):
    """How long a fault lasts in the run of every day, and in the long one."""
    return long_seconds if IS_LONG else seconds


def fresh_assets(prefix):
    """Some that nothing has touched."""
    number = next(_numbers)
    return [f"{prefix}G{number}N{i}USDT" for i in range(ASSETS_PER_FAULT)]


class Scene:
    """What belongs to one service under test. Services take from it what they take from the World of the e2e tests."""

    def __init__(self, neighbours, name, binary, directory, patience):
        self.neighbours = neighbours
        self.servers = neighbours.servers
        self.name = name
        self.binary = binary
        self.directory = directory
        self.patience = patience
        self.services = []
        self.servers.make_database(name)
        self.servers.make_vhost(name)
        self.main = Service(self, {})
        self.service = None  # the one that runs now

    def sql(self, statement, *values):
        return self.neighbours.sql(statement, *values, database=self.name)

    def run(self, service=None):
        """That service and no other runs when this returns: by default the one that reaches its neighbours directly."""
        service = service or self.main
        if self.service is not None and (self.service is not service or not is_running(service)):
            if is_running(self.service):
                assert self.service.stop()[0] == 0, self.service.log_tail()
        self.service = service
        if not is_running(service):
            service.start()
        service.wait_healthy()
        return service

    def stream(self, rate=RATE):
        number = next(_numbers)
        prefix = f"F{number:04d}"
        stream = Stream(str(self.binary.parent / "pm_publish"), self.servers, self.name, fresh_assets(prefix), rate, uuid.uuid4().hex[:12])
        stream.prefix = prefix
        return stream

    def depth(self, connection):
        channel = connection.channel()
        try:
            return sum(channel.queue_declare(queue, passive=True).method.message_count for queue in INBOUND_QUEUES[:2])
        except pika.exceptions.ChannelClosedByBroker:
            return -1  # a queue is not there yet
        finally:
            if channel.is_open:
                channel.close()

    def settle(self):
        """
        Until nothing waits in the queues and nothing is unacknowledged. The broker's word counts: what is on its way to a service that is
        held up is known to nobody else.
        """
        def is_settled():
            counts = self.servers.queue_counts(self.name)
            inbound = [counts.get(queue, (1, 1)) for queue in INBOUND_QUEUES[:2]]
            if any(count != (0, 0) for count in inbound):
                return False
            health = self.service.get("/health").json()
            return health["oldest_unacked_seconds"] == 0 and health["pending_commits"] == 0
        wait_until(is_settled, SETTLE_SECONDS, "empty queues", 0.1)

    def wait_normal(self, stream, since, timeout=60):
        """Until /health says 200, an execution published now is seen by readers, and history is served; the seconds since then."""
        asset = f"{stream.prefix}P{next(_numbers)}USDT"
        stream.publish_one(asset)
        wait_until(lambda: self.is_normal(asset), timeout, "the service being back to normal")
        return time.monotonic() - since

    def is_normal(self, asset):
        assert is_running(self.service), f"the service ended with {self.service.process.returncode}"
        try:
            return (self.service.get("/health").status_code == 200 and self.service.position(asset) is not None
                    and self.service.get(f"/api/v1/positions/{asset}/snapshots").status_code == 200)
        except Exception:  # not back yet, whatever the reason
            return False

    def recover(self, outcome, stream, since):
        """Waits for normal. Where that does not come the outcome says so, and the service is started anew for the audit."""
        try:
            outcome.recovery = max(outcome.recovery, self.wait_normal(stream, since))
        except AssertionError as error:
            outcome.recovery = time.monotonic() - since
            outcome.wrong.append(str(error).splitlines()[0])
            self.neighbours.running()
            self.service.kill()
            self.service.start()

    def check(self, outcome, stream):
        """Settles and audits; everything found goes to the outcome."""
        try:
            self.settle()
        except AssertionError as error:
            outcome.wrong.append(str(error).splitlines()[0])
        outcome.add(audit(self, stream.confirmed, stream.prefix, Announcements(), self.service))

    def tried(self, course):
        """
        The outcome of a course. One that lost, doubled and forgot nothing and took too long only is begun anew where the machine was too
        busy for its times to mean anything; a service that is slow is so each time.
        """
        for tries_left in reversed(range(TRIES)):
            machine = Machine()
            outcome = course()
            reason = outcome.in_the_way or machine.was_too_busy()
            if reason is None or tries_left == 0 or not self.took_too_long_only(outcome):
                return outcome
            print(f"{outcome.name}: once more, for {reason}: {outcome}", file=sys.stderr)

    def took_too_long_only(self, outcome):
        if self.is_in_time(outcome):
            return False
        return not (outcome.lost or outcome.twice or outcome.unannounced or outcome.wrong)

    def is_in_time(self, outcome):
        return outcome.wrong_health <= outcome.wrong_health_max * self.patience and outcome.recovery <= RECOVERY_SECONDS_MAX * self.patience

    def endure(self, name, make_fault, rounds=1):
        """The course of a fault; make_fault makes it, for this scene."""
        return self.tried(lambda: self.suffer(name, make_fault(self), rounds))

    def suffer(self, name, fault, rounds=1):
        """The whole course, several times; returns the Outcome."""
        outcome = Outcome(name, wrong_health_max=fault.wrong_health_max)
        service = self.run(fault.service)
        stream = fault.stream = self.stream(fault.rate)
        fault.prepare_stream(stream)
        for _ in range(rounds):
            watch = Watch(service).start()
            stream.start()
            try:
                time.sleep(WARM_UP_SECONDS)
                fault.begin()
                begun = time.monotonic()
                fault.hold()
                ending = time.monotonic()
                # What the fault befell is left alone from here on: a later change would be announced instead of a forgotten one.
                stream.assets = fresh_assets(stream.prefix)
                fault.end()
                ended = time.monotonic()
                self.recover(outcome, stream_of_probes(self, stream), ended)
                time.sleep(AFTERWARDS_SECONDS)
            finally:
                fault.mend()
                stream.stop()
                watch.stop()
            outcome.rounds += 1
            outcome.in_the_way = outcome.in_the_way or watch.was_in_the_way()
            outcome.wrong_health = max(outcome.wrong_health, watch.wrong_seconds(begun, ending, fault.truth))
            outcome.resident_mib = max(outcome.resident_mib, watch.rss_max_kib // 1024)
        if fault.loses_the_queue:
            stream.publish_all_again()
        self.check(outcome, stream)
        return outcome

    def judge(self, outcome):
        """Fails where the promise was broken."""
        assert (outcome.lost, outcome.twice, outcome.unannounced) == (0, 0, 0), outcome
        assert not outcome.wrong, outcome.wrong
        assert outcome.confirmed > 0 or outcome.note.startswith("not run"), outcome
        assert self.is_in_time(outcome), outcome
        assert outcome.resident_mib * 1024 <= RESIDENT_KIB_MAX, outcome

    def close(self):
        for service in self.services:
            service.kill()
            service.http.close()


def stream_of_probes(scene, stream):
    """Published by another thread than the stream's, for other assets, and counted with it."""
    probes = Stream(stream.command[0], scene.servers, scene.name, fresh_assets(stream.prefix), 0, uuid.uuid4().hex[:12])
    probes.prefix = stream.prefix
    probes.confirmed = stream.confirmed
    probes.records = stream.records
    return probes


def is_running(service):
    return service.process is not None and service.process.poll() is None


class Fault:
    """Begin, hold, end; mend() must leave the neighbours well whatever happened before."""

    seconds = 2.0
    truth = staticmethod(healthy)
    wrong_health_max = WRONG_HEALTH_SECONDS_MAX
    service = None            # None: the scene's own
    rate = RATE
    stream = None             # the one that runs
    loses_the_queue = False   # the broker forgets messages that it had confirmed: upstream sends them again

    def __init__(self, scene):
        self.scene = scene
        self.neighbours = scene.neighbours

    def prepare_stream(self, stream):
        pass

    def begin(self):
        pass

    def hold(self):
        time.sleep(self.seconds)

    def end(self):
        pass

    def mend(self):
        pass

    def told(self):
        """What the service's log says above INFO, but of prices, for which nobody is there to be asked."""
        return [line for line in self.scene.service.log() if line["level"] in ("WARNING", "ERROR") and not line["event"].startswith("price_")]

    def expect_told(self, neighbour):
        """Metrics and log say too that this neighbour is there and does not answer."""
        service = self.scene.service

        def is_told():
            return (service.metric(rf'_{neighbour}_connected({{direction="(in|out)bound"}})?$') == 0
                    and service.metric(rf'neighbour_silences_total{{neighbour="{neighbour}"}}') > 0
                    and [line for line in service.log() if line.get("event") == f"{neighbour}_silent"])
        wait_until(is_told, 10, f"metrics and log telling of the {neighbour}")

