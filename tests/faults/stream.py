"""A steady stream of confirmed executions and some market events, and the list of what was published."""

import json
import random
import subprocess
import threading
import time
from decimal import Decimal

from world import MARKET_QUEUE, ORDER_QUEUE, fill_event, market_event

BATCH_SECONDS = 0.25
BATCH_TIMEOUT_SECONDS = 15
FEE = Decimal("0.01")  # of each execution: a position's fees say how many executions it counted


class Stream:
    """Publishes until it is told to stop; whatever was not confirmed is published again, with the same ids."""

    def __init__(self, program, servers, vhost, assets, rate, seed):
        amqp = servers.amqp
        self.command = [program, amqp["host"], amqp["port"], amqp["user"], amqp["password"], vhost]
        self.assets = assets
        self.rate = rate
        self.random = random.Random(seed)
        self.confirmed = {}  # execution_id: (asset, signed quantity)
        self.records = []    # all of them as bytes, to be published again; None: not kept
        self.resent = 0      # batches that had to be published again
        self.made = 0
        self.stopping = threading.Event()
        self.thread = None
        self.errors = []
        self.seed = seed

    def execution(self, asset):
        self.made += 1
        identity = f"{self.seed}-{self.made}"
        quantity = Decimal(self.random.randrange(1, 10**9)).scaleb(-8)
        side = self.random.choice(("Buy", "Buy", "Sell"))
        price = Decimal(self.random.randrange(10**9, 10**10)).scaleb(-6)
        event = fill_event(asset, side, f"{quantity:f}", f"{price:f}", fees=str(FEE), execution_id=identity)
        return identity, (asset, quantity if side == "Buy" else -quantity), record(ORDER_QUEUE, event)

    def market(self):
        return record(MARKET_QUEUE, market_event(self.random.choice(self.assets), markPrice=str(self.random.randrange(1000, 9000))))

    def publish(self, count, rate=0, deadline_seconds=120):
        """Confirmed when this returns. To be called from one thread at a time."""
        made = [self.execution(self.random.choice(self.assets)) for _ in range(count)]
        records = [one[2] for one in made] + [self.market() for _ in range(max(1, count // 20))]
        self.send(records, rate, deadline_seconds)
        if self.records is not None:
            self.records += records
        self.confirmed.update((one[0], one[1]) for one in made)

    def publish_one(self, asset, deadline_seconds=120):
        identity, what, data = self.execution(asset)
        self.send([data], 0, deadline_seconds)
        if self.records is not None:
            self.records.append(data)
        self.confirmed[identity] = what

    def publish_all_again(self):
        """As an upstream does that lost its queue: every message once more."""
        self.send(self.records, 0, 120)

    def send(self, records, rate, deadline_seconds):
        deadline = time.monotonic() + deadline_seconds
        command = self.command + ([str(rate)] if rate else [])
        while not send_once(command, b"".join(records)):
            self.resent += 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} messages were not confirmed within {deadline_seconds} s")
            time.sleep(0.2)

    def _run(self):
        try:
            while not self.stopping.is_set():
                self.publish(max(1, int(self.rate * BATCH_SECONDS)), self.rate)
        except Exception as error:  # told to whoever stops the stream
            self.errors.append(error)

    def start(self):
        """A rate of zero: a few executions now, and then nothing."""
        self.stopping.clear()
        if self.rate == 0:
            self.publish(20)
            return self
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """Returns when all that was begun is confirmed."""
        self.stopping.set()
        if self.thread is None:
            return
        self.thread.join(180)
        assert not self.thread.is_alive(), "the publisher hangs"
        assert not self.errors, self.errors


def record(queue, event):
    body = json.dumps(event).encode()
    return b"%s - %d\n%s\n" % (queue.encode(), len(body), body)


def send_once(command, data):
    """Whether all of it was confirmed."""
    try:
        done = subprocess.run(command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=BATCH_TIMEOUT_SECONDS, check=False)
    except (subprocess.TimeoutExpired, BrokenPipeError):
        return False
    return done.returncode == 0
