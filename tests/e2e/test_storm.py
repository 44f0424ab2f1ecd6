"""A storm of requests and messages of random shape: afterwards the service lives, has not grown, and answers right.

PM_STORM is the number of requests and of messages (5,000 each), PM_STORM_SEED another storm, or fresh for one that nobody has seen.
"""

import json
import os
import random
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from world import API_KEY, DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, fill_event, market_event, nested_event, seed_of_run, wait_until

COUNT = int(os.environ.get("PM_STORM", "5000"))
SEED = seed_of_run("PM_STORM_SEED")
STEADY = "STEADYUSDT"
# What may be answered to nonsense. 503: the history has more to do than it may have.
CODES = {101, 200, 201, 400, 401, 404, 405, 411, 413, 414, 417, 431, 501, 503}
MARKET_OUTCOMES = ("applied", "unchanged", "stale", "repeated")

METHODS = ["GET"] * 8 + ["POST"] * 3 + ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X", "M" * 300, "PRI"]
PATHS = ["/api/v1/positions", "/api/v1/positions/STORM001USDT", "/api/v1/positions/STORM002USDT/validate", "/api/v1/positions/STORM003USDT/snapshot",
         "/api/v1/positions/STORM004USDT/snapshots", "/api/v1/portfolio", "/api/v1/portfolio/exposure", "/api/v1/portfolio/pnl", "/health",
         "/health/live", "/health/ready", "/metrics", "/openapi.json", "/", "/api/v1/positions/", "//", "/%00", "/..;/", "/api/v1/positions/%ff"]
NAMES = ["asset", "mode", "size_min", "size_max", "limit", "offset", "from", "to", "at", "include_positions", "fix_discrepancies", "x", "", "%61sset"]
VALUES = ["STORM001USDT", "one-way", "hedge", "0", "1", "-1", "1e9", "99999999999999999999999", "0.00000001", "true", "no", "2025-01-15T10:00:00Z",
          "1736935200000", "", "%00", "%ff%fe", "%zz", "a" * 300, "'", "\\", "<x>", "%F0%9F%98%80", "NaN", "..", "+", "%2B1"]
TOKENS = [b"null", b"true", b"-1", b"0", b"1e999", b"99999999999999999999", b'""', b"[]", b"{}", b'"\\u0000"', b'"\\ud800"', b'"NaN"', b"0.000000001",
          b"[[[[[[[[[[[[[[[[[[[[", b"\xff", b"\x00", b'"Sell"', b'"hedge"', b"\\", b'"', b"}", b"{", b","]


def report(text):
    print(f"storm: {text}", flush=True)


def resident_kib(service):
    for line in Path(f"/proc/{service.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def is_sanitized(binary):
    return b"libasan" in subprocess.run(["ldd", str(binary)], stdout=subprocess.PIPE).stdout


# ---- messages ----

def mutate(rng, body):
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(body) + 1)
        kind = rng.randrange(6)
        if kind == 0 and body:
            at = min(at, len(body) - 1)
            body = body[:at] + bytes([body[at] ^ (1 << rng.randrange(8))]) + body[at + 1:]
        elif kind == 1:
            body = body[:at] + rng.choice(TOKENS) + body[at:]
        elif kind == 2:
            body = body[:at] + body[at + rng.randrange(1, 20):]
        elif kind == 3:
            body = body[:at] + body[max(0, at - rng.randrange(1, 60)):]
        elif kind == 4:
            colon = body.find(b":", at)
            end = min((place for place in (body.find(b",", colon), body.find(b"}", colon)) if place > 0), default=len(body))
            if colon > 0:
                body = body[:colon + 1] + rng.choice(TOKENS) + body[end:]
        elif rng.random() < 0.2:
            body = body[:at]
    return body


def good_message(rng):
    asset = f"STORM{rng.randrange(100):03d}USDT"
    kind = rng.randrange(4)
    if kind == 0:
        return MARKET_QUEUE, market_event(asset, side=rng.choice(("Buy", "Sell", "None")), size=str(rng.randrange(5)), avgPrice=str(rng.randrange(1, 99)),
                                          markPrice=str(rng.randrange(1, 99)))
    if kind == 1:
        return ORDER_QUEUE, nested_event(asset, rng.choice(("Buy", "Sell")), str(rng.randrange(1, 9)), "10", f"o{rng.randrange(2000)}-{asset}",
                                         event_type=rng.choice(("partially_filled", "filled", "created", "cancelled")))
    return ORDER_QUEUE, fill_event(asset, rng.choice(("Buy", "Sell")), f"0.{rng.randrange(1, 10**8):08d}", str(rng.randrange(1, 10**6)),
                                   mode="one-way" if kind == 2 else "hedge", position_side=None if kind == 2 else rng.choice(("long", "short")))


def random_message(rng):
    queue, event = good_message(rng)
    shape = rng.random()
    if shape < 0.3:
        return queue, json.dumps(event).encode()
    if shape < 0.85:
        return queue, mutate(rng, json.dumps(event).encode())
    if shape < 0.93:
        return queue, rng.randbytes(rng.randrange(200))
    return queue, json.dumps(rng.choice([event, [event], {"order": event}, {"data": event}, {"event_type": "position", "data": [1]}, 1, "x", None])).encode()


def storm_of_messages(rng, count):
    """[(queue, message id, body)], with a steady fill among each hundred."""
    messages = []
    for number in range(count):
        if number % 100 == 50:
            messages.append((ORDER_QUEUE, "-", json.dumps(fill_event(STEADY, "Buy", "1", "100", fees="0.01")).encode()))
        else:
            queue, body = random_message(rng)
            messages.append((queue, rng.choice(("-", "-", f"id-{rng.randrange(10**9)}")), body))
    return messages


def publish(servers, vhost, binary, messages):
    program = Path(os.environ.get("PM_PUBLISH", binary.resolve().parent / "pm_publish"))
    records = b"".join(f"{queue} {message_id} {len(body)}\n".encode() + body + b"\n" for queue, message_id, body in messages)
    amqp = servers.amqp
    subprocess.run([str(program), amqp["host"], str(amqp["port"]), amqp["user"], amqp["password"], vhost], input=records, check=True,
                   stdout=subprocess.DEVNULL)


def take_all(broker, queue):
    bodies, count = [], broker.depth(queue)
    broker.channel.basic_qos(prefetch_count=2000)
    for method, _, body in broker.channel.consume(queue, inactivity_timeout=2):
        if method is None and len(bodies) >= count:
            break
        if method is None:
            continue
        bodies.append(body)
        if len(bodies) % 1000 == 0:
            broker.channel.basic_ack(method.delivery_tag, multiple=True)
    broker.channel.basic_ack(0, multiple=True)
    broker.channel.cancel()
    return Counter(bodies)


def is_json(body):
    def refuse(constant):
        raise ValueError(constant)
    try:
        json.loads(body.decode("utf-8"), parse_constant=refuse)
        return True
    except (ValueError, RecursionError):
        return False


# ---- requests ----

def target(rng):
    path = rng.choice(PATHS)
    if rng.random() < 0.5:
        path += "?" + "&".join(f"{rng.choice(NAMES)}={rng.choice(VALUES)}" for _ in range(rng.randrange(1, 5)))
    return path


def headers(rng):
    found = [("host", "x")]
    if rng.random() < 0.85:
        found.append(("x-api-key", rng.choice([API_KEY] * 9 + ["wrong"])))
    if rng.random() < 0.3:
        found.append(rng.choice([("x-trace-id", "t" * rng.randrange(1, 200)), ("traceparent", "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"),
                                 ("accept", "application/json"), ("accept-encoding", "gzip"), ("cookie", "a=" + "b" * 500), ("range", "bytes=0-1"),
                                 ("if-none-match", "*"), ("x-" + "y" * 60, "\u00fc"), ("expect", "200-ok"), ("te", "trailers")]))
    if rng.random() < 0.02:
        found += [(f"x-many-{number}", "1") for number in range(80)]
    return found


def http1_request(rng):
    method = rng.choice(METHODS)
    text = f"{method} {target(rng)} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers(rng))
    body = b""
    if method == "POST":
        body = b"x" * rng.choice((0, 0, 1, 1000))
        text += f"content-length: {len(body)}\r\n"
    return method, text.encode("latin-1", "replace") + b"\r\n" + body


def read_answers(connection, methods, codes):
    """Reads as many answers as come; a server may end the connection after nonsense."""
    stream = connection.makefile("rb")
    for method in methods:
        line = stream.readline()
        if not line:
            return
        code = int(line.split(b" ", 2)[1])
        codes[code] += 1
        length, chunked = 0, False
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            chunked = chunked or name.lower() == b"transfer-encoding"
        if chunked or code == 101:
            return
        if method != "HEAD":
            stream.read(length)


def http1_batch(rng, port, count, codes):
    requests = [http1_request(rng) for _ in range(count)]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(b"".join(data for _, data in requests))
            read_answers(connection, [method for method, _ in requests], codes)
        except (ConnectionError, BrokenPipeError):
            codes["cut"] += 1


def http2_batch(rng, port, count, codes):
    state = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False,
                                                                 header_encoding="latin-1"))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            state.initiate_connection()
            open_streams = set()
            for _ in range(count):
                stream = state.get_next_available_stream_id()
                sent = [(":method", rng.choice(METHODS)), (":scheme", "http"), (":path", target(rng)), (":authority", "x")]
                sent += [(name, value) for name, value in headers(rng) if name != "host"]
                if rng.random() < 0.03:
                    rng.shuffle(sent)
                state.send_headers(stream, sent, end_stream=True)
                open_streams.add(stream)
                if rng.random() < 0.02:
                    state.reset_stream(stream)
                    open_streams.discard(stream)
            connection.sendall(state.data_to_send())
            while open_streams:
                data = connection.recv(262144)
                if not data:
                    codes["cut"] += 1
                    return
                for event in state.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        codes[int(dict(event.headers)[":status"])] += 1
                    elif isinstance(event, h2.events.DataReceived):
                        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                        open_streams.discard(event.stream_id)
                    elif isinstance(event, h2.events.ConnectionTerminated):
                        codes["cut"] += 1
                        return
                connection.sendall(state.data_to_send())
        except (ConnectionError, h2.exceptions.ProtocolError):
            codes["cut"] += 1


def garbage(rng, port, codes):
    """Bytes that are no request, or one that was damaged, also behind the preface of HTTP/2."""
    kind = rng.randrange(4)
    if kind == 0:
        data = rng.randbytes(rng.randrange(1, 400))
    elif kind == 1:
        data = mutate(rng, http1_request(rng)[1])
    elif kind == 2:
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(rng.randrange(1, 400))
    else:
        state = h2.connection.H2Connection()
        state.initiate_connection()
        state.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/api/v1/positions"), (":authority", "x"), ("x-api-key", API_KEY)], end_stream=True)
        data = mutate(rng, state.data_to_send())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            # Sometimes gone before an answer, sometimes waiting for it.
            if rng.random() < 0.5:
                connection.settimeout(0.5)
                connection.recv(65536)
        except OSError:
            pass  # ended already, by a reset too, after which there is nothing to shut down
    codes["garbage"] += 1


def storm_of_requests(seed, port, count, codes, faults):
    rng = random.Random(seed)
    try:
        sent = 0
        while sent < count:
            batch = min(count - sent, rng.randrange(1, 16))
            kind = rng.random()
            if kind < 0.5:
                http1_batch(rng, port, batch, codes)
            elif kind < 0.8:
                http2_batch(rng, port, batch, codes)
            else:
                batch = min(batch, 4)
                for _ in range(batch):
                    garbage(rng, port, codes)
            sent += batch
    except Exception as fault:  # noqa: BLE001 - told by the test, which waits for the thread
        faults.append(repr(fault))


# ---- the storm ----

@pytest.fixture(scope="module")
def settings():
    return {"ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:quarantine_size_mb=16", "POSITION_MANAGER_LOG_LEVEL": "ERROR"}


@pytest.fixture
def rage(world, service, servers):
    """One storm: that many requests while that many messages arrive."""
    def run(seed, count):
        messages = storm_of_messages(random.Random(seed), count)
        codes = [Counter() for _ in range(4)]
        faults = []
        threads = [threading.Thread(target=storm_of_requests, args=(seed + number, service.port, count // 4, codes[number], faults)) for number in range(4)]
        threads.append(threading.Thread(target=publish, args=(servers, world.name, world.binary, messages)))
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert service.process.poll() is None, service.log_tail()
        assert not faults, faults
        world.expect_queues_empty(timeout=120)
        seen = sum(codes, Counter())
        report(f"{count} requests and {count} messages in {time.monotonic() - started:.1f} s: {dict(seen)}")
        assert set(seen) - {"cut", "garbage"} <= CODES, seen
        return messages
    return run


def test_after_a_storm_everything_is_as_it_should_be(world, service, broker, rage):
    report(f"PM_STORM_SEED={SEED} PM_STORM={COUNT}")
    warm = max(COUNT // 5, 400)
    messages = rage(SEED, warm)
    before, before_positions = resident_kib(service), service.get("/health").json()["positions_count"]
    messages += rage(SEED + 1000, COUNT - COUNT // 5)
    after, after_positions = resident_kib(service), service.get("/health").json()["positions_count"]
    report(f"resident {before} KiB after a fifth, {after} KiB at the end; positions {before_positions}, {after_positions}")
    allowed = (300 if is_sanitized(world.binary) else 32) * 1024 + 4 * (after_positions - before_positions)
    assert after - before < allowed

    steady = sum(1 for _, _, body in messages if STEADY.encode() in body)
    service.expect(STEADY, version=steady, size=f"{steady}.0", average_entry_price="100.00")

    # Each message is accounted for once: applied, passed over for a reason, or a dead letter as it came.
    passed = service.metric(r"executions_total\{") + service.metric(r"market_events_total\{")
    refused = service.metric(r"messages_refused_total")
    dead = take_all(broker, DEAD_LETTER_QUEUE)
    report(f"{len(messages)} messages: {passed:.0f} passed, {refused:.0f} refused, {sum(dead.values())} dead letters")
    published = Counter(body for _, _, body in messages)
    assert not dead - published, "a dead letter that nobody sent, or twice"
    assert sum(dead.values()) == refused
    hopeless = Counter(body for _, _, body in messages if not is_json(body))
    assert hopeless and not hopeless - dead, "not JSON, and not in the dead letters"
    assert passed + refused == len(messages)

    # And it works as on the first day.
    for queue in ("position_updated", "portfolio_updated", "position_snapshot_created"):
        broker.channel.queue_purge(f"position-manager.{queue}")
    wait_until(lambda: service.get("/health").status_code == 200)
    broker.fill(STEADY, "Sell", str(steady), "110", fees="1")
    service.expect(STEADY, version=steady + 1, size="0.0", realized_pnl=f"{steady * 10 - 1}.00")
    assert service.get("/api/v1/positions", asset=STEADY).json()["count"] == 1
    stored = world.db.query("select size, version from positions where asset = %s", STEADY)
    assert stored == [(0, steady + 1)]
