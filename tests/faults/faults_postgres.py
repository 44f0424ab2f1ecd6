"""What can happen to PostgreSQL."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg2
from scene import IS_LONG, Fault, lasting
from watch import answers, database_is_gone, work_is_held_up
from world import wait_until

ROOM_BYTES = 16 * 1024 * 1024


class Crashed(Fault):
    seconds = 2.5
    truth = staticmethod(database_is_gone)
    mode = "immediate"

    def begin(self):
        self.neighbours.postgres_stop(self.mode)

    def end(self):
        self.neighbours.postgres_start()

    def mend(self):
        self.neighbours.postgres_start()


class Away(Crashed):
    """Longer than any wait of the service between two tries."""
    seconds = 20.0


class CrashedIdle(Crashed):
    """While there is nothing to do: it is found out all the same."""
    rate = 0


class Restarted(Crashed):
    seconds = 0.0
    mode = "fast"


class SessionsTerminated(Fault):
    """Every session of the service, again and again."""
    truth = staticmethod(answers)

    def hold(self):
        for _ in range(10):
            self.neighbours.end_sessions(self.scene.name)
            time.sleep(0.2)


class Setting(Fault):
    """A setting of the server that makes work impossible."""
    name = "default_transaction_read_only"
    value = "on"
    truth = staticmethod(work_is_held_up)

    def begin(self):
        self.lines = len(self.told())
        self.neighbours.postgres_set(self.name, self.value)

    def end(self):
        # A session that is read-only by default may still say that it is not.
        self.neighbours.postgres_set(self.name, None)

    def mend(self):
        self.end()


class ReadOnly(Setting):
    """It refuses every commit: that may go on for hours, so it is not told each time."""
    seconds = lasting(4.0, 20.0)

    def hold(self):
        super().hold()
        events = [line["event"] for line in self.told()[self.lines:]]
        assert "commit_failed" in events and len(events) <= 8, events

    def begin(self):
        self.resumed = self.commits_resumed()
        super().begin()

    def commits_resumed(self):
        return [line["event"] for line in self.scene.service.log()].count("commits_resumed")

    def mend(self):
        super().mend()
        wait_until(lambda: self.commits_resumed() > self.resumed, what="the log saying that commits go through again")
        assert self.commits_resumed() == self.resumed + 1


class StatementTimeout(Setting):
    name = "statement_timeout"
    value = "1ms"
    truth = staticmethod(answers)


class CommitsHang(Setting):
    """A standby that commits have to wait for does not answer: they are durable, and nobody is told. Then the sessions end."""
    name = "synchronous_standby_names"
    value = "nobody"
    truth = staticmethod(work_is_held_up)

    def hold(self):
        time.sleep(1.5)
        self.neighbours.end_sessions(self.scene.name)
        time.sleep(1.5)


class Frozen(Fault):
    """All processes of the server stand still; the kernel keeps its connections."""
    seconds = lasting(4.0, 15.0)
    truth = staticmethod(database_is_gone)

    def begin(self):
        self.neighbours.postgres_signal(signal.SIGSTOP)

    def hold(self):
        super().hold()
        self.expect_told("database")

    def end(self):
        self.mend()

    def mend(self):
        self.neighbours.postgres_signal(signal.SIGCONT)


class FrozenIdle(Frozen):
    """With nothing outstanding: no answer is missed but to the service's own question."""
    rate = 0


class Locked(Fault):
    """Another session holds something that every commit needs."""
    truth = staticmethod(work_is_held_up)
    seconds = lasting(3.5, 15.0)
    statement = "lock table position_manager_journal in access exclusive mode"

    def begin(self):
        self.session = psycopg2.connect(dbname=self.scene.name, **self.scene.servers.pg)
        with self.session.cursor() as cursor:
            cursor.execute(self.lock_statement())

    def lock_statement(self):
        return self.statement

    def end(self):
        self.session.rollback()

    def mend(self):
        self.session.close()


class RowLocked(Locked):
    """Of one position: the others have to go on meanwhile."""
    seconds = lasting(4.0, 60.0)

    def lock_statement(self):
        self.asset, *self.others = self.stream.assets
        wait_until(lambda: set(self.stream.assets) <= set(self.versions()), what="every position being there")
        return f"select 1 from positions where asset = '{self.asset}' for update"

    def versions(self):
        positions = self.scene.service.get("/api/v1/positions").json()["positions"]
        return {one["asset"]: one["version"] for one in positions}

    def hold(self):
        self.see_the_others_move()  # what was committed just before the lock is seen by now
        locked = self.versions()[self.asset]
        for _ in range(3):
            time.sleep((self.seconds - 1) / 3)
            self.see_the_others_move()
            assert self.versions()[self.asset] == locked, "the lock holds nothing up"

    def see_the_others_move(self):
        before = self.versions()

        def all_move():
            after = self.versions()
            return all(after[asset] > before[asset] for asset in self.others)
        wait_until(all_move, 30, f"a new version of each other position while {self.asset} is locked")


class SlowDisk(Fault):
    """Every commit waits for a disk that takes its time. The server runs with fsync, and with a library that delays it."""
    truth = staticmethod(work_is_held_up)
    seconds = lasting(4.0, 20.0)
    delay_ms = 800

    def prepare(self):
        library = os.path.join(self.neighbours.directory, "slow_disk.so")
        self.delay_path = os.path.join(self.neighbours.directory, "slow-disk")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, str(Path(__file__).parent / "slow_disk.c"), "-ldl"], check=True)
        self.delay(0)
        self.restart(fsync="on", environment={"LD_PRELOAD": library, "PM_SLOW_DISK": self.delay_path})
        return None

    def unmake(self):
        self.delay(0)
        self.restart()

    def restart(self, **how):
        self.neighbours.postgres_stop("fast")
        self.neighbours.postgres_start(**how)

    def delay(self, milliseconds):
        if not os.path.exists(self.delay_path):
            Path(self.delay_path).write_bytes(bytes(8))
        with open(self.delay_path, "r+b") as file:
            file.write(milliseconds.to_bytes(8, "little"))

    def begin(self):
        self.delay(self.delay_ms)
        # The sessions of the tests do not wait for the disk, unless they ask to.
        started = time.monotonic()
        self.scene.sql("set synchronous_commit = on; create table if not exists slow (n integer); insert into slow values (1)")
        assert time.monotonic() - started > self.delay_ms / 1000, "the library is not in the way"

    def end(self):
        self.delay(0)

    def mend(self):
        self.end()


class VerySlowDisk(SlowDisk):
    """So slow that an answer cannot be told from none: /health says that the database does not answer."""
    truth = staticmethod(database_is_gone)
    delay_ms = 3500


class SmallDisk(Fault):
    """Something of the server lies on a small disk, which gets full. Needs the right to mount."""
    truth = staticmethod(work_is_held_up)
    seconds = 3.0
    is_mounted = False

    def prepare(self):
        """None, or why it cannot be done."""
        self.mount = os.path.join(self.neighbours.directory, "small-disk")
        os.makedirs(self.mount, exist_ok=True)
        size = self.bytes_needed() + ROOM_BYTES
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", self.mount],
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            return f"not run: {done.stderr.strip()}"
        self.is_mounted = True
        self.place = os.path.join(self.mount, "place")
        self.ballast = os.path.join(self.mount, "ballast")
        self.move_there()
        return None

    def unmake(self):
        if self.is_mounted:
            self.end()
            self.move_back()
            subprocess.run(["umount", "-l", self.mount], check=False)

    def begin(self):
        with open(self.ballast, "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def end(self):
        if os.path.exists(self.ballast):
            os.unlink(self.ballast)

    def mend(self):
        self.end()


class DiskFull(SmallDisk):
    """The journal has no room: statements fail."""

    def bytes_needed(self):
        return 2 * self.scene.sql("select pg_total_relation_size('position_manager_journal')")[0][0]

    def move_there(self):
        self.neighbours.shell("install", "-d", "-m", "700", "-o", "postgres", "-g", "postgres", self.place)
        self.neighbours.sql(f"create tablespace small location '{self.place}'")
        self.move("small")

    def move_back(self):
        self.move("pg_default")
        self.neighbours.sql("drop tablespace small")

    def move(self, space):
        self.scene.sql(f"alter table position_manager_journal set tablespace {space}")
        for (index,) in self.scene.sql("select indexrelid::regclass::text from pg_index where indrelid = 'position_manager_journal'::regclass"):
            self.scene.sql(f"alter index {index} set tablespace {space}")


class LogDiskFull(SmallDisk):
    """The server's own log (pg_wal) has no room: the server ends itself and cannot come back before there is."""

    def bytes_needed(self):
        return 2 * self.neighbours.sql("select sum(size)::bigint from pg_ls_waldir()")[0][0]

    def move_there(self):
        self.relocate(lambda pg_wal: (shutil.copytree(pg_wal, self.place), shutil.rmtree(pg_wal), os.symlink(self.place, pg_wal)))

    def move_back(self):
        self.relocate(lambda pg_wal: (os.unlink(pg_wal), shutil.copytree(self.place, pg_wal)))

    def relocate(self, action):
        self.neighbours.postgres_start()
        self.neighbours.postgres_stop("fast")
        pg_wal = os.path.join(self.neighbours.postgres_data(), "pg_wal")
        action(pg_wal)
        self.neighbours.shell("chown", "-R", "-h", "postgres:postgres", pg_wal, os.path.realpath(pg_wal))
        self.neighbours.postgres_start()

    def begin(self):
        super().begin()
        try:
            for _ in range(100):
                self.neighbours.sql("select pg_switch_wal(), txid_current()")
        except psycopg2.Error:
            return
        raise AssertionError("the disk is full and the server does not mind")

    def end(self):
        super().end()
        self.neighbours.postgres_start()


FAULTS = {"PostgreSQL: immediate stop": Crashed, "PostgreSQL: immediate stop, idle": CrashedIdle,
          "PostgreSQL: restart": Restarted, "PostgreSQL: sessions terminated": SessionsTerminated,
          "PostgreSQL: read-only": ReadOnly, "PostgreSQL: statement_timeout 1 ms": StatementTimeout,
          "PostgreSQL: row locked": RowLocked, "PostgreSQL: journal locked": Locked, "PostgreSQL: commits hang": CommitsHang,
          "PostgreSQL: frozen": Frozen, "PostgreSQL: frozen, idle": FrozenIdle}
if IS_LONG:
    FAULTS["PostgreSQL: away for 20 s"] = Away
BAD_DISKS = {"PostgreSQL: fsync takes 0.8 s": SlowDisk, "PostgreSQL: fsync takes 3.5 s": VerySlowDisk,
             "PostgreSQL: disk full": DiskFull, "PostgreSQL: disk of the log full": LogDiskFull}
