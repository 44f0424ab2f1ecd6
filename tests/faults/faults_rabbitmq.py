"""What can happen to RabbitMQ."""

import signal
import time

from scene import IS_LONG, Fault, lasting
from watch import anything, queue_is_gone
from world import MARKET_QUEUE, ORDER_QUEUE, POSITION_QUEUE, wait_until


class Killed(Fault):
    seconds = 2.5
    truth = staticmethod(queue_is_gone)

    def begin(self):
        self.neighbours.rabbitmq_kill()

    def end(self):
        self.neighbours.rabbitmq_start()

    def mend(self):
        self.neighbours.rabbitmq_start()


class Away(Killed):
    """Longer than any wait of the service between two tries."""
    seconds = 20.0


class KilledIdle(Killed):
    """While there is nothing to do."""
    rate = 0


class AppStopped(Fault):
    """The node stays, the broker in it is stopped."""
    seconds = 2.5
    truth = staticmethod(queue_is_gone)

    def begin(self):
        self.neighbours.rabbitmqctl("stop_app")

    def end(self):
        self.neighbours.rabbitmqctl("start_app")


class MemoryAlarm(Fault):
    """Publishers are blocked, consumers are not."""
    seconds = lasting(3.0, 15.0)
    truth = staticmethod(queue_is_gone)

    def begin(self):
        self.neighbours.rabbitmqctl("set_vm_memory_high_watermark", "0.0001")

    def end(self):
        self.neighbours.rabbitmqctl("set_vm_memory_high_watermark", "0.4")

    def mend(self):
        self.end()


class Frozen(Fault):
    """The node stands still; the kernel keeps its connections."""
    seconds = lasting(4.0, 35.0)
    truth = staticmethod(queue_is_gone)

    def begin(self):
        self.neighbours.rabbitmq_signal(signal.SIGSTOP)

    def hold(self):
        super().hold()
        self.expect_told("broker")

    def end(self):
        self.mend()

    def mend(self):
        self.neighbours.rabbitmq_signal(signal.SIGCONT)


class FrozenIdle(Frozen):
    """With nothing outstanding: no answer is missed but to the service's own questions."""
    rate = 0


class ConnectionsClosed(Fault):
    truth = staticmethod(anything)
    seconds = 0.0

    def begin(self):
        self.neighbours.rabbitmqctl("close_all_connections", "--vhost", self.scene.name, "a test")


class QueueDeleted(Fault):
    """With what is in it; the consumer is cancelled by that. Upstream sends again what the broker forgot."""
    truth = staticmethod(anything)
    seconds = 0.5
    loses_the_queue = True
    queue = ORDER_QUEUE

    def begin(self):
        before = self.cancellations()
        connection = self.neighbours.amqp(self.scene.name)
        connection.channel().queue_delete(self.queue)
        connection.close()
        if self.queue != POSITION_QUEUE:
            wait_until(lambda: self.cancellations() > before, 60, "the consumer being cancelled")

    def cancellations(self):
        return len([line for line in self.scene.service.log() if line.get("event") == "consumer_cancelled"])


class MarketQueueDeleted(QueueDeleted):
    queue = MARKET_QUEUE


class QueueProcessKilled(Fault):
    """The broker starts it anew, and gives out again what it had given out."""
    truth = staticmethod(anything)
    seconds = 1.0

    def begin(self):
        killed = self.scene.servers.erlang(
            f'length([exit(amqqueue:get_pid(Q), kill) || Q <- rabbit_amqqueue:list(<<"{self.scene.name}">>), '
            f'element(4, amqqueue:get_name(Q)) =:= <<"{ORDER_QUEUE}">>]).')
        assert killed.startswith("{ok, 1}"), killed


class AnnouncementsDeleted(QueueDeleted):
    """What was announced so far is gone with the queue; what follows has to arrive."""
    queue = POSITION_QUEUE
    loses_the_queue = False

    def hold(self):
        time.sleep(1)


FAULTS = {"RabbitMQ: kill -9": Killed, "RabbitMQ: kill -9, idle": KilledIdle,
          "RabbitMQ: stop_app": AppStopped, "RabbitMQ: memory alarm": MemoryAlarm,
          "RabbitMQ: frozen": Frozen, "RabbitMQ: frozen, idle": FrozenIdle,
          "RabbitMQ: connections closed": ConnectionsClosed, "RabbitMQ: order queue deleted, consumer cancelled": QueueDeleted,
          "RabbitMQ: queue process killed": QueueProcessKilled,
          "RabbitMQ: market queue deleted, consumer cancelled": MarketQueueDeleted, "RabbitMQ: announcement queue deleted": AnnouncementsDeleted}
if IS_LONG:
    FAULTS["RabbitMQ: away for 20 s"] = Away
