"""What can happen to the service itself."""

import signal
import subprocess
import time
from pathlib import Path

import psycopg2
from scene import Fault, stream_of_probes
from watch import answers, anything, healthy, silent
from world import Service, wait_until


class Killed(Fault):
    seconds = 0.3
    truth = staticmethod(anything)  # nobody answers, which is true enough

    def begin(self):
        self.scene.service.kill()

    def end(self):
        self.scene.service.start(healthy=False)


class KilledUnderLoad(Killed):
    rate = 4000


class KilledInTheCommit(Killed):
    """Deliveries are taken and statements are on their way, but nothing can be committed."""

    def begin(self):
        session = psycopg2.connect(dbname=self.scene.name, **self.scene.servers.pg)
        session.cursor().execute("lock table position_manager_journal in access exclusive mode")
        time.sleep(0.5)
        super().begin()
        session.close()


class KilledBeforeTheAnnouncement(Killed):
    """All is committed, and the broker takes no announcement: what it never took has to be announced afterwards."""

    def begin(self):
        quiet = stream_of_probes(self.scene, self.stream)  # of assets of which no later event reminds anybody
        self.scene.service.process.send_signal(signal.SIGSTOP)
        quiet.publish(200)
        self.neighbours.rabbitmqctl("set_vm_memory_high_watermark", "0.0001")
        self.scene.service.process.send_signal(signal.SIGCONT)
        wait_until(lambda: self.counted(quiet.assets) == 200, what="the commits")
        time.sleep(0.3)
        super().begin()
        self.mend()

    def counted(self, assets):
        return self.scene.sql("select count(*) from position_manager_journal where source = 'order_execution' and asset = any(%s)",
                              assets)[0][0]

    def mend(self):
        self.neighbours.rabbitmqctl("set_vm_memory_high_watermark", "0.4")


class KilledAlone(Killed):
    """PostgreSQL is away when it dies."""

    def begin(self):
        self.neighbours.postgres_stop("immediate")
        time.sleep(0.5)
        super().begin()

    def end(self):
        super().end()
        self.neighbours.postgres_start()


class Stopped(Fault):
    """SIGSTOP: connections stay, nothing moves."""
    seconds = 3.0
    truth = staticmethod(silent)

    def begin(self):
        self.scene.service.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)

    def end(self):
        self.mend()

    def mend(self):
        self.scene.service.process.send_signal(signal.SIGCONT)


class Restarted(Fault):
    """SIGTERM in the stream, and a new start."""
    seconds = 0.0
    truth = staticmethod(anything)

    def begin(self):
        status, seconds = self.scene.service.stop()
        assert status == 0 and seconds < 10, (status, seconds)

    def end(self):
        self.scene.service.start(healthy=False)


class ClockStep(Fault):
    """The wall clock of the service jumps, and later jumps back."""
    seconds = 1.0
    truth = staticmethod(healthy)
    step_seconds = 3600

    def __init__(self, scene):
        super().__init__(scene)
        self.offset_path = scene.directory / "clock-offset"
        if not hasattr(scene, "clocked"):
            library = scene.directory / "clock_shim.so"
            source = Path(__file__).parent / "clock_shim.c"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
            self.step(0)
            scene.clocked = Service(scene, {"LD_PRELOAD": str(library), "PM_CLOCK_OFFSET": str(self.offset_path)})
        self.service = scene.clocked

    def step(self, seconds):
        if not self.offset_path.exists():
            self.offset_path.write_bytes(bytes(8))
        with open(self.offset_path, "r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))

    def begin(self):
        before = self.service.get("/health").json()["timestamp"]
        self.step(self.step_seconds)
        assert self.service.get("/health").json()["timestamp"][:13] != before[:13], "the shim is not in the way"

    def end(self):
        self.step(0)

    def mend(self):
        self.step(0)


class ClockStepBack(ClockStep):
    step_seconds = -3600


class ClockFlutter(ClockStep):
    """Back and forth, by hours, again and again."""
    truth = staticmethod(answers)

    def hold(self):
        for seconds in (-7200, 5, -86400, 86400, -1, 3600):
            self.step(seconds)
            time.sleep(0.25)


FAULTS = {"service: kill -9": Killed, "service: kill -9 under load": KilledUnderLoad, "service: kill -9 in the commit": KilledInTheCommit,
          "service: kill -9 before the announcement": KilledBeforeTheAnnouncement,
          "service: kill -9 without PostgreSQL": KilledAlone,
          "service: SIGSTOP for 3 s": Stopped, "service: SIGTERM and start": Restarted,
          "clock: one hour ahead": ClockStep, "clock: one hour back": ClockStepBack, "clock: to and fro": ClockFlutter}
