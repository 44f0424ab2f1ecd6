"""What can happen at the named points of the code (src/base/fail_point.h), under a stream."""

import itertools
import time

from neighbours import ROOT
from scene import Fault, is_running
from watch import answers, anything
from world import Service, wait_until

VARIABLE = "POSITION_MANAGER_FAIL_POINT"

# Name, and how often it is passed before it acts: in the middle of the stream.
POINTS = {"delivery_taken": 150, "statements_sent": 40, "before_commit": 40, "commit_sent": 40, "after_commit": 40, "before_view": 100,
          "before_announcement": 100, "after_announcement": 40, "after_confirm": 100, "before_acknowledge": 10, "after_acknowledge": 10}
# At which of them which connection can break.
DATABASE_POINTS = ("statements_sent", "before_commit", "commit_sent", "after_commit")
BROKER_POINTS = ("delivery_taken", "before_announcement", "after_announcement", "after_confirm", "before_acknowledge", "after_acknowledge")
MANY = 600
PAUSE_MS = 1500

_numbers = itertools.count(1)


class FailPoint(Fault):
    """One service is started with one point armed, and without it afterwards."""
    point = ""
    action = "crash"
    truth = staticmethod(anything)

    def __init__(self, scene):
        super().__init__(scene)
        self.service = Service(scene, {VARIABLE: f"{self.point}:{self.action}:{POINTS[self.point]}"})

    def prepare_stream(self, stream):
        """So many positions that hardly any event hides what was forgotten of the one before."""
        number = next(_numbers)
        stream.assets = [f"{stream.prefix}M{number}N{i}USDT" for i in range(MANY)]

    def hold(self):
        pass

    def disarm(self):
        self.service.environment.pop(VARIABLE, None)

    def mend(self):
        self.disarm()


class Crash(FailPoint):
    def begin(self):
        wait_until(lambda: not is_running(self.service), 60, f"the service dying at {self.point} (is it built with PM_FAIL_POINTS?)", 0.005)
        assert self.service.process.returncode == -9, self.service.process.returncode

    def end(self):
        self.disarm()
        self.service.start(healthy=False)


class Break(FailPoint):
    """The connection that is in use at that point ends."""
    action = "break"
    truth = staticmethod(answers)

    def begin(self):
        event = "database_lost" if self.point in DATABASE_POINTS else "broker_lost"
        wait_until(lambda: [line for line in self.service.log() if line.get("event") == event], 60, f"{event} at {self.point}")


class Pause(FailPoint):
    """The thread that passes that point stands still for a while; the others go on."""
    action = f"stop={PAUSE_MS}"
    truth = staticmethod(answers)

    def begin(self):
        time.sleep(PAUSE_MS / 1000)


def of(base, name):
    return type(base.__name__, (base,), {"point": name})


CRASHES = {f"fail point: crash at {name}": of(Crash, name) for name in POINTS}
BREAKS = {f"fail point: connection broken at {name}": of(Break, name) for name in DATABASE_POINTS + BROKER_POINTS}
PAUSES = {f"fail point: pause at {name}": of(Pause, name) for name in ("before_commit", "before_view", "after_confirm", "before_acknowledge")}
