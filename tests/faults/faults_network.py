"""What can happen between the service and its neighbours."""

import time

from network import BadProxy
from scene import Fault, lasting
from watch import answers, database_is_gone, nobody_is_there, queue_is_gone
from world import Service


class BadLine(Fault):
    """Of a service that reaches both neighbours by proxies only."""
    which = ("database", "broker")
    truth = staticmethod(answers)

    def __init__(self, scene):
        super().__init__(scene)
        if not hasattr(scene, "proxies"):
            pg, amqp = scene.servers.pg, scene.servers.amqp
            scene.proxies = {"database": BadProxy(pg["host"], pg["port"]), "broker": BadProxy(amqp["host"], amqp["port"])}
            scene.far = Service(scene, {"POSTGRES_PORT": scene.proxies["database"].port, "RABBITMQ_PORT": scene.proxies["broker"].port})
        self.service = scene.far
        self.proxies = [scene.proxies[name] for name in self.which]

    def end(self):
        for proxy in self.proxies:
            proxy.heal()

    def mend(self):
        self.end()


class Slow(BadLine):
    seconds = lasting(2.0, 10.0)

    def begin(self):
        for proxy in self.proxies:
            proxy.delay_seconds = 0.2


class Narrow(BadLine):
    seconds = lasting(2.0, 10.0)
    rate = 100

    def begin(self):
        for proxy in self.proxies:
            proxy.bytes_a_second = 40000


class Deaf(BadLine):
    """One direction carries nothing any more, and nobody is told."""
    seconds = lasting(4.0, 15.0)
    direction = "up"
    truth = staticmethod(queue_is_gone)

    def begin(self):
        for proxy in self.proxies:
            proxy.deaf = (self.direction,)


class Lossy(BadLine):
    """Packets vanish, and nobody is told: those of connections that stand, and those that would make a new one."""
    seconds = lasting(7.0, 20.0)
    truth = staticmethod(queue_is_gone)

    def begin(self):
        for proxy in self.proxies:
            proxy.lose()


class Refusing(BadLine):
    """For a while nobody is at home. The service asks often enough, but neither floods its log nor keeps a processor busy."""
    seconds = lasting(8.0, 30.0)
    truth = staticmethod(nobody_is_there)
    connections = 4  # committer and history, consumer and publisher

    def begin(self):
        self.lines = len(self.told())
        self.cpu_seconds = self.scene.service.metric("^process_cpu_seconds_total")
        for proxy in self.proxies:
            proxy.refuses = True
            proxy.end_all(reset=True)

    def hold(self):
        super().hold()
        tries = sum(proxy.refused for proxy in self.proxies)
        assert self.connections * self.seconds / 2 < tries < self.connections * (self.seconds * 2 + 5), tries
        told = self.told()[self.lines:]
        assert len(told) <= 6 * self.connections, told  # lost, and away, for up to three reasons
        assert self.scene.service.metric("^process_cpu_seconds_total") - self.cpu_seconds < 0.05 * self.seconds


class Torn(BadLine):
    """Every new connection ends after a random number of bytes."""
    seconds = lasting(2.0, 10.0)
    truth = staticmethod(answers)

    def begin(self):
        for proxy in self.proxies:
            proxy.cut_after_bytes = 30000
            proxy.end_all()

    def end(self):
        super().end()
        for proxy in self.proxies:
            proxy.end_all()


class Reset(BadLine):
    """RST instead of an end, again and again."""
    truth = staticmethod(answers)

    def hold(self):
        for _ in range(8):
            for proxy in self.proxies:
                proxy.end_all(reset=True)
            time.sleep(0.25)


def of(base, name, **values):
    return type(name, (base,), {"which": (name,), **values})


FAULTS = {"network: 200 ms delay": Slow, "network: 40 kB/s": Narrow, "network: resets": Reset,
          "network: torn, database": of(Torn, "database"), "network: torn, broker": of(Torn, "broker"),
          "network: deaf to the database": of(Deaf, "database", direction="down", truth=staticmethod(database_is_gone)),
          "network: deaf database": of(Deaf, "database", direction="up", truth=staticmethod(database_is_gone)),
          "network: deaf to the broker": of(Deaf, "broker", direction="down"),
          "network: deaf broker": of(Deaf, "broker", direction="up"),
          "network: lost packets, database": of(Lossy, "database", truth=staticmethod(database_is_gone)),
          "network: lost packets, broker": of(Lossy, "broker"), "network: lost packets": Lossy,
          "network: refused": Refusing}
