"""A TCP proxy that misbehaves: the kernel here has no netem, and a test wants to say when."""

import ctypes
import random
import socket
import struct
import threading
import time

CHUNK = 16384
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
RETURN_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)  # one instruction: keep no byte of a packet


def swallow(one, does):
    """Whether the kernel throws away what comes for that socket before TCP sees it: nothing is acknowledged, as if it were lost."""
    try:
        if does:
            one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(RETURN_NOTHING)))
        else:
            one.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, struct.pack("i", 0))
    except OSError:
        pass  # closed, or with no filter


def end_by_reset(one):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()  # with nothing lingering that is an RST


class Line:
    """One connection through the proxy: two pumps."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.sockets = {"up": client, "down": server}  # up: from the client to the server
        self.left = proxy.bytes_left()
        for direction in ("up", "down"):
            threading.Thread(target=self.pump, args=(direction,), daemon=True).start()

    def pump(self, direction):
        source = self.sockets[direction]
        sink = self.sockets["down" if direction == "up" else "up"]
        try:
            while data := source.recv(CHUNK):
                self.proxy.hinder(direction, len(data))
                if self.left is not None:
                    data = data[:self.left]
                    self.left -= len(data)
                sink.sendall(data)
                if self.left == 0:
                    break
        except OSError:
            pass
        self.end()

    def end(self, reset=False):
        for one in self.sockets.values():
            try:
                if reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RD)  # wakes its pump, or the socket would live on in there
                    one.close()  # with nothing lingering that is an RST
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if not reset:
                one.close()


class BadProxy:
    """Forwards to a server; what it does to the bytes may be changed at any time."""

    def __init__(self, host, port):
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lines = []
        self.lock = threading.Lock()
        self.random = random.Random(self.port)
        self.heal()
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self):
        self.delay_seconds = 0.0       # of each chunk
        self.bytes_a_second = 0        # 0: as fast as it goes
        self.deaf = ()                 # directions in which nothing gets through for now
        self.cut_after_bytes = None    # the most that a new connection carries, both ways together
        self.refuses = False           # new connections end at once
        self.refused = 0               # so many did since then
        self.lose(False)

    def lose(self, does=True):
        """Packets from the client are lost, those of new connections too, and with them what would have come back."""
        self.loses = does
        swallow(self.listener, does)
        with self.lock:
            for line in self.lines:
                swallow(line.sockets["up"], does)

    def hinder(self, direction, count):
        while direction in self.deaf or self.loses:
            time.sleep(0.02)
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        if self.bytes_a_second:
            time.sleep(count / self.bytes_a_second)

    def bytes_left(self):
        return None if self.cut_after_bytes is None else self.random.randrange(1, self.cut_after_bytes)

    def end_all(self, reset=False):
        with self.lock:
            lines, self.lines = self.lines, []
        for line in lines:
            line.end(reset)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.heal()
        self.end_all()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refuses:
                self.refused += 1
                end_by_reset(client)
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.lines.append(Line(self, client, server))
