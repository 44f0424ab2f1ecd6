"""Looks at /health all the time, and says how long it told something else than the truth."""

import http.client
import json
import threading
import time
from dataclasses import dataclass

from world import seconds_without_processor

INTERVAL_SECONDS = 0.05
PATIENCE_SECONDS = 1.0
HELD_UP_SECONDS = 0.25  # between two looks, beyond the interval: this machine was in the way
WAITED_SHARE_MAX = 0.05  # of the time: what a thread of the service may wait for a processor where nobody else is busy


@dataclass
class Look:
    at: float        # when it was asked
    answered: float  # when the answer was there
    status: int      # 0: no answer
    database: bool
    queue: bool
    unacked: float   # oldest_unacked_seconds
    pending: int


class Watch:
    """
    A thread of its own, from start() to stop(). Also keeps the service's largest memory, and for how long a thread of the service had no
    processor or this one came late.
    """

    def __init__(self, service):
        self.service = service
        self.looks = []
        self.rss_max_kib = 0
        self.begun = time.monotonic()
        self.before, self.waited = {}, {}  # (process, thread): seconds without a processor, at the start and since then
        self.held_up = 0.0                 # seconds
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.begun, self.before = time.monotonic(), self.without_processor()
        self.thread.start()
        return self

    def without_processor(self):
        process = self.service.process.pid
        return {(process, thread): seconds for thread, seconds in seconds_without_processor(process).items()}

    def stop(self):
        self.stopping.set()
        self.thread.join(10)

    def _run(self):
        while not self.stopping.is_set():
            self.looks.append(look(self.service.port))
            self.rss_max_kib = max(self.rss_max_kib, resident_kib(self.service))
            self.waited.update((thread, seconds - self.before.get(thread, 0.0)) for thread, seconds in self.without_processor().items())
            begun = time.monotonic()
            time.sleep(INTERVAL_SECONDS)
            self.held_up += time.monotonic() - begun - INTERVAL_SECONDS

    def was_in_the_way(self):
        """What this machine did to the service or to this watch, that a time of health or recovery may be longer for it; or None."""
        longest = max(self.waited.values(), default=0.0)
        if longest > HELD_UP_SECONDS + WAITED_SHARE_MAX * (time.monotonic() - self.begun):
            return f"a thread of the service was kept from a processor for {longest:.1f} s"
        if self.held_up > 2 * HELD_UP_SECONDS:
            return f"the watch came {self.held_up:.1f} s late"
        return None

    def wrong_seconds(self, begin, end, is_right):
        """
        The longest time between begin and end for which the answers were wrong without a break. Where this thread was kept from looking
        nobody knows what it would have seen: such a time does not count.
        """
        longest, since, last = 0.0, None, None
        for one in [one for one in self.looks if begin <= one.at and one.answered <= end]:
            held_up = 0.0 if last is None else one.at - last.answered - INTERVAL_SECONDS
            if since is not None and held_up > HELD_UP_SECONDS:
                since += held_up
            last = one
            if is_right(one):
                longest, since = max(longest, 0.0 if since is None else one.at - since), None
            elif since is None:
                since = one.at
        if since is None:
            return longest
        # One that had not been answered by then may have waited for the service.
        held_up = end - last.answered - INTERVAL_SECONDS - PATIENCE_SECONDS
        return max(longest, end - since - (held_up if held_up > HELD_UP_SECONDS else 0.0))


def look(port):
    at = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return Look(at, time.monotonic(), answer.status, body["database_connected"], body["queue_connected"],
                    body["oldest_unacked_seconds"], body["pending_commits"])
    except (OSError, http.client.HTTPException, ValueError):
        return Look(at, time.monotonic(), 0, False, False, 0.0, 0)
    finally:
        connection.close()


def resident_kib(service):
    try:
        with open(f"/proc/{service.process.pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS:")), 0)
    except (OSError, AttributeError):
        return 0


# What /health has to say of a fault.

def database_is_gone(one):
    return one.status == 503 and not one.database


def queue_is_gone(one):
    return one.status == 503 and not one.queue


def nobody_is_there(one):
    return one.status == 503 and not one.database and not one.queue


def work_is_held_up(one):
    """The neighbours are there, but what was delivered does not get done: the age of the oldest delivery says so."""
    return one.status == 503 or one.unacked >= 0.5 or (one.status == 200 and one.pending > 0)


def healthy(one):
    return one.status == 200


def silent(one):
    return one.status == 0


def anything(one):
    return True


def answers(one):
    return one.status != 0
