"""How busy the machine is: what says whether a time that was too long says anything of the service. See also Watch.was_in_the_way()."""

import os
import time
from pathlib import Path

WAITED_SHARE_MAX = 0.5  # of the time: that long some process waited for a processor, or for a disk
STOLEN_SHARE_MAX = 0.1  # of the processors: what the host took from this machine
TICKS = os.sysconf("SC_CLK_TCK")


def waited_seconds(what):
    """For how long, in all, some process has waited for that; 0 where the kernel does not say."""
    try:
        line = Path("/proc/pressure", what).read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(line.rsplit("=", 1)[1]) / 1e6


def stolen_seconds():
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / TICKS


class Machine:
    """Begins to look when it is made."""

    def __init__(self):
        self.begun = self.now()

    @staticmethod
    def now():
        return time.monotonic(), waited_seconds("cpu"), waited_seconds("io"), stolen_seconds()

    def was_too_busy(self):
        """What was in the way since then, or None."""
        seconds, cpu, disk, stolen = (now - then for now, then in zip(self.now(), self.begun))
        if cpu > WAITED_SHARE_MAX * seconds:
            return f"processes waited for a processor for {cpu:.1f} of {seconds:.1f} s"
        if disk > WAITED_SHARE_MAX * seconds:
            return f"processes waited for a disk for {disk:.1f} of {seconds:.1f} s"
        if stolen > STOLEN_SHARE_MAX * seconds * os.cpu_count():
            return f"the host took {stolen:.1f} s of processor time in {seconds:.1f} s"
        return None
