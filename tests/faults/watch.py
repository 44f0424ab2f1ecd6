"""Looks at /health all the time, and says how long it told something else than the truth."""

import http.client
import json
import threading
import time
from dataclasses import dataclass

INTERVAL_SECONDS = 0.05
PATIENCE_SECONDS = 1.0


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
    """A thread of its own, from start() to stop(). Also keeps the service's largest memory."""

    def __init__(self, service):
        self.service = service
        self.looks = []
        self.rss_max_kib = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.thread.join(10)

    def _run(self):
        while not self.stopping.is_set():
            self.looks.append(look(self.service.port))
            self.rss_max_kib = max(self.rss_max_kib, resident_kib(self.service))
            time.sleep(INTERVAL_SECONDS)

    def wrong_seconds(self, begin, end, is_right):
        """The longest time between begin and end for which the answers were wrong without a break."""
        longest, since = 0.0, None
        for one in [one for one in self.looks if begin <= one.at and one.answered <= end]:
            if is_right(one):
                longest, since = max(longest, 0.0 if since is None else one.at - since), None
            elif since is None:
                since = one.at
        return longest if since is None else max(longest, end - since)


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
