"""What can happen to PostgreSQL."""

import os
import subprocess
import time

import psycopg2
from scene import Fault
from watch import answers, database_is_gone, work_is_held_up

DISK_MIB = 16


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


class Restarted(Crashed):
    seconds = 0.0
    mode = "fast"


class SessionsTerminated(Fault):
    """Every session of the service, again and again."""
    truth = staticmethod(answers)

    def hold(self):
        for _ in range(10):
            self.neighbours.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
                                self.scene.name)
            time.sleep(0.2)


class Setting(Fault):
    """A setting of the server that makes work impossible."""
    name = "default_transaction_read_only"
    value = "on"
    truth = staticmethod(work_is_held_up)

    def begin(self):
        self.neighbours.postgres_set(self.name, self.value)

    def end(self):
        # A session that is read-only by default may still say that it is not.
        self.neighbours.postgres_set(self.name, None)

    def mend(self):
        self.end()


class StatementTimeout(Setting):
    name = "statement_timeout"
    value = "1ms"
    truth = staticmethod(answers)


class Locked(Fault):
    """Another session holds something that every commit needs."""
    truth = staticmethod(work_is_held_up)
    seconds = 5.0
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
    seconds = 10.0

    def lock_statement(self):
        self.asset, *self.others = self.stream.assets
        return f"select 1 from positions where asset = '{self.asset}' for update"

    def versions(self):
        positions = self.scene.service.get("/api/v1/positions").json()["positions"]
        return {one["asset"]: one["version"] for one in positions}

    def hold(self):
        time.sleep(1)
        for _ in range(3):
            before = self.versions()
            time.sleep((self.seconds - 1) / 3)
            after = self.versions()
            standing = [asset for asset in self.others if after[asset] == before[asset]]
            assert not standing, f"{standing} stand still while {self.asset} is locked"
            assert after[self.asset] == before[self.asset], "the lock holds nothing up"


class DiskFull(Fault):
    """The journal lies on a small disk, which is full. Needs the right to mount."""
    truth = staticmethod(work_is_held_up)
    seconds = 3.0
    prepared = False

    def prepare(self):
        """None, or why it cannot be done."""
        self.mount = os.path.join(self.neighbours.directory, "small-disk")
        os.makedirs(self.mount, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "tmpfs", self.mount],
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            return f"not run: {done.stderr.strip()}"
        self.prepared = True
        place = os.path.join(self.mount, "space")
        self.neighbours.shell("install", "-d", "-m", "700", "-o", "postgres", "-g", "postgres", place)
        self.neighbours.sql(f"create tablespace small location '{place}'")
        self.move("small")
        return None

    def move(self, space):
        self.scene.sql(f"alter table position_manager_journal set tablespace {space}")
        for (index,) in self.scene.sql("select indexrelid::regclass::text from pg_index where indrelid = 'position_manager_journal'::regclass"):
            self.scene.sql(f"alter index {index} set tablespace {space}")

    def begin(self):
        with open(os.path.join(self.mount, "ballast"), "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def end(self):
        os.unlink(os.path.join(self.mount, "ballast"))

    def unmake(self):
        if not self.prepared:
            return
        if os.path.exists(os.path.join(self.mount, "ballast")):
            self.end()
        self.move("pg_default")
        self.neighbours.sql("drop tablespace if exists small")
        subprocess.run(["umount", "-l", self.mount], check=False)


FAULTS = {"PostgreSQL: immediate stop": Crashed, "PostgreSQL: restart": Restarted, "PostgreSQL: sessions terminated": SessionsTerminated,
          "PostgreSQL: read-only": Setting, "PostgreSQL: statement_timeout 1 ms": StatementTimeout,
          "PostgreSQL: row locked for 10 s": RowLocked, "PostgreSQL: journal locked for 5 s": Locked, "PostgreSQL: disk full": DiskFull}
