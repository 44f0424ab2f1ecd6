"""Request bodies above 1 MiB are 413 in every version, with and without TLS, whether their length is declared or not (contract §2.2)."""

import select
import socket
import ssl
import subprocess

import h2.config
import h2.connection
import h2.events
import pytest
from world import API_KEY, TIMEOUT_SECONDS

MIB = 1 << 20
PATH = "/api/v1/positions"  # knows no POST: a body that is no obstacle ends in 405


def connect(port, secure, protocol):
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
    if not secure:
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(connection, server_hostname="localhost")


class Http2:
    """One connection, one request at a time, which sends as much as it may and reads meanwhile."""

    def __init__(self, port, secure):
        self.socket = connect(port, secure, "h2")
        self.http = h2.connection.H2Connection(config=h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def post(self, size, declared=None, key=API_KEY):
        """(status, body, code of a reset or None, bytes that were not sent)"""
        stream = self.http.get_next_available_stream_id()
        headers = [(":method", "POST"), (":path", PATH), (":scheme", "http"), (":authority", "x")]
        headers += [("x-api-key", key)] if key else []
        headers += [("content-length", str(declared))] if declared is not None else []
        self.http.send_headers(stream, headers)
        self.flush()
        left, status, body, ended, reset = size, None, b"", False, None
        while not (ended and (left == 0 or reset is not None)):
            may = min(left, 16384, self.http.local_flow_control_window(stream)) if reset is None else 0
            if may > 0 and not select.select([self.socket], [], [], 0)[0]:
                left -= may
                self.http.send_data(stream, b"x" * may, end_stream=left == 0)
                self.flush()
                continue
            data = self.socket.recv(65536)
            assert data, (left, status, body)
            for event in self.http.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    ended = True
                elif isinstance(event, h2.events.StreamReset):
                    reset = int(event.error_code)
                assert not isinstance(event, h2.events.ConnectionTerminated), event
            self.flush()
        return status, body, reset, left


def post_http1(port, secure, size, chunked, key=API_KEY, field=""):
    with connect(port, secure, "http/1.1") as connection:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        keyed = f"X-API-Key: {key}\r\n" if key else ""
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{keyed}{field}{length}\r\nConnection: close\r\n\r\n".encode())
        piece = b"4000\r\n" + b"x" * 16384 + b"\r\n" if chunked else b"x" * 16384
        try:
            for _ in range(size // 16384):
                connection.sendall(piece)
            rest = size % 16384
            connection.sendall((b"%x\r\n%s\r\n" % (rest, b"x" * rest) if rest else b"") + b"0\r\n\r\n" if chunked else b"x" * rest)
        except (ConnectionError, ssl.SSLError):
            pass  # it has said all it will say
        heard = b""
        try:
            while data := connection.recv(65536):
                heard += data
        except (ConnectionResetError, ssl.SSLError):
            pass
    return int(heard.split(b" ", 2)[1]), heard


@pytest.fixture(scope="module", params=[False, True], ids=["cleartext", "tls"])
def port(request, world, service, tmp_path_factory):
    """(port, whether TLS is spoken there)"""
    if not request.param:
        yield service.port, False
        return
    assert service.stop()[0] == 0
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", str(key), "-out", str(certificate)], check=True, stderr=subprocess.DEVNULL)
    secure = world.service({"POSITION_MANAGER_TLS_CERT": certificate, "POSITION_MANAGER_TLS_KEY": key})
    secure.http.close()
    secure.http = type(service.http)(base_url=f"https://127.0.0.1:{secure.port}", verify=False, headers={"X-API-Key": API_KEY}, timeout=TIMEOUT_SECONDS)
    secure.start()
    yield secure.port, True
    assert secure.stop()[0] == 0
    service.start()


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "undeclared"])
def test_http2_says_413_and_the_connection_serves_on(port, is_declared):
    client = Http2(*port)
    for size, status in ((MIB, 405), (MIB + 1, 413), (MIB, 405), (3 * MIB, 413), (4 * MIB, 413), (MIB, 405)):
        got, body, reset, left = client.post(size, size if is_declared else None)
        assert (got, reset, left) == (status, None, 0), (size, got, body)
        assert (b'"PAYLOAD_TOO_LARGE"' in body) is (status == 413)


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "undeclared"])
def test_http2_tells_a_client_to_stop_that_goes_on_for_long(port, is_declared):
    """RST_STREAM with NO_ERROR behind the whole answer."""
    client = Http2(*port)
    for _ in range(12):  # more than the places for bodies that may still be coming
        status, body, reset, left = client.post(40 * MIB, 40 * MIB if is_declared else None)
        assert status == 413 and b'"PAYLOAD_TOO_LARGE"' in body and reset == 0 and left > 20 * MIB
    assert client.post(100, 100)[0] == 405


def test_http2_refuses_by_the_declared_length_before_anything_is_read(port):
    client = Http2(*port)
    status, body, _, left = client.post(1, 2**40)
    assert status == 413 and b'"PAYLOAD_TOO_LARGE"' in body


def test_without_a_key_nothing_but_that_is_told(port):
    for chunked in (False, True):
        for key in (None, "wrong"):
            status, heard = post_http1(*port, 2 * MIB, chunked, key)
            assert status == 401 and b'"UNAUTHORIZED"' in heard and b"\r\nwww-authenticate: " in heard and b"ratelimit-" not in heard, heard
    client = Http2(*port)
    assert client.post(2 * MIB, 2 * MIB, key=None)[0] == 401
    assert client.post(2 * MIB, None, key="wrong")[0] == 401
    assert client.post(10, 10)[0] == 405


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_http1_says_413(port, chunked):
    # libh2o counts a chunked body one byte early.
    for size, status in ((MIB - chunked, 405), (MIB + 1, 413), (3 * MIB, 413), (4 * MIB, 413)):
        got, heard = post_http1(*port, size, chunked)
        assert got == status, (size, heard[:300])
        assert (b'"PAYLOAD_TOO_LARGE"' in heard) is (status == 413)
        assert b"\r\nratelimit-limit: " in heard and b"\r\nratelimit-remaining: " in heard and b"\r\nratelimit-reset: " in heard, heard


@pytest.mark.parametrize("field", ["", "Expect: 100-continue\r\n"], ids=["sent at once", "asked before"])
@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 2**40])
def test_http1_refuses_by_the_declared_length_before_anything_is_read(port, size, field):
    with connect(*port, "http/1.1") as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n{field}Content-Length: {size}\r\n\r\n".encode())
        heard = b""
        while b"\r\n\r\n" not in heard:
            assert (piece := connection.recv(65536)), heard
            heard += piece
    assert heard.startswith(b"HTTP/1.1 413 "), heard


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("field, trace_id", [("X-Trace-Id: order-77\r\n", "order-77"),
                                             ("traceparent: 00-" + "ab" * 16 + "-" + "cd" * 8 + "-01\r\n", "ab" * 16)], ids=["x-trace-id", "traceparent"])
def test_http1_says_413_under_the_trace_id_of_the_client(port, chunked, field, trace_id):
    """Also where libh2o answers, which it does before a handler sees the request."""
    got, heard = post_http1(*port, 2 * MIB, chunked, field=field)
    head, _, body = heard.partition(b"\r\n\r\n")
    assert got == 413 and b"\r\nx-trace-id: " + trace_id.encode() in head.lower(), head
    assert f'"{trace_id}"'.encode() in body, body
