"""The header fields of answers over HTTP/2 are those over HTTP/1.1, whatever the client's HPACK table holds (RFC 7541 §4)."""

import socket

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from world import API_KEY, TIMEOUT_SECONDS

LIMITED_KEY = "header-fields-limited"
COUNTED_KEY = "header-fields-counted"
OTHER_KEYS = {f"header-fields-{limit}": limit for limit in range(200, 245)}  # more than a table of libh2o's has entries
# path, key: of several media types, codes, and fields that not all answers have
REQUESTS = [("/api/v1/portfolio", API_KEY), ("/api/v1/positions", API_KEY), ("/metrics", None), ("/api/v1/portfolio", LIMITED_KEY),
            ("/nothing", API_KEY), ("/api/v1/portfolio/pnl", None), ("/health", None), ("/api/v1/positions/%2F", API_KEY),
            ("/api/v1/positions/BTCUSDT/validate", API_KEY), ("/openapi.json", None)]
# Of those that differ from answer to answer, only the form is compared.
VARYING = {"date", "content-length", "x-trace-id", "ratelimit-remaining", "ratelimit-reset", "retry-after"}
TABLE_SIZES = [0, 1, 64, 90, 150, 200, 250, 300, 500, 4095, 4096, 65536]


@pytest.fixture(scope="module", params=["true", "false"], ids=["limited", "unlimited"])
def settings(request):
    return {"POSITION_MANAGER_RATE_LIMIT_ENABLED": request.param, "POSITION_MANAGER_RATE_LIMIT_DEFAULT": "100000",
            "POSITION_MANAGER_RATE_LIMIT_OVERRIDES": ",".join(f"{key}:{limit}" for key, limit in {LIMITED_KEY: 7, COUNTED_KEY: 30, **OTHER_KEYS}.items())}


class Client:
    """One connection with a table of this many bytes, one request at a time."""

    def __init__(self, port, table_size):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
        kind = h2.settings.SettingCodes.HEADER_TABLE_SIZE
        self.http.local_settings = h2.settings.Settings(client=True, initial_values={kind: table_size})
        self.http.decoder.max_allowed_table_size = table_size
        self.blocks, decode = [], self.http.decoder.decode  # of header fields, as they came
        self.http.decoder.decode = lambda block, raw=False: self.blocks.append(bytes(block)) or decode(block, raw)
        self.http.initiate_connection()

    def resize(self, table_size):
        self.http.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: table_size})

    def get(self, path, key, trace_id, *others):
        """The header fields, in their order."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x"),
                                        ("x-trace-id", trace_id), *([("x-api-key", key)] if key else []), *others], end_stream=True)
        fields, body, has_ended = None, b"", False
        while not has_ended:
            self.socket.sendall(self.http.data_to_send())
            data = self.socket.recv(65536)
            assert data, "the service has closed the connection"
            for event in self.http.receive_data(data):
                assert not isinstance(event, (h2.events.ConnectionTerminated, h2.events.StreamReset)), event
                if isinstance(event, h2.events.ResponseReceived):
                    fields = [(name.decode(), value.decode()) for name, value in event.headers]
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.http.acknowledge_received_data(len(event.data), stream)
                has_ended |= isinstance(event, h2.events.StreamEnded)
        assert int(dict(fields)["content-length"]) == len(body)
        return fields

    def close(self):
        self.socket.close()


def form(fields):
    """What has to be the same in all answers to a request."""
    return sorted((name, "" if name in VARYING else value) for name, value in fields if name not in ("connection", ":status"))


def check(service, client, rounds=3):
    for turn in range(rounds):
        for number, (path, key) in enumerate(REQUESTS):
            trace_id = f"trace-{turn}-{number}"
            expected = service.http.get(path, headers={"X-API-Key": key or ""})
            fields = client.get(path, key, trace_id)
            found = dict(fields)
            # The limited key's bucket may end between the two.
            if expected.status_code == int(found[":status"]):
                assert form(fields) == form(expected.headers.multi_items()), path
            assert len(found) == len(fields) and found["x-trace-id"] == trace_id, path
            assert ("ratelimit-limit" in found) == (expected.headers.get("ratelimit-limit") is not None), path
            if "ratelimit-limit" in found:
                limit, left = int(found["ratelimit-limit"]), int(found["ratelimit-remaining"])
                assert limit == (7 if key == LIMITED_KEY else 100000) and 0 <= left <= limit and found["ratelimit-reset"].isdigit()


@pytest.mark.parametrize("table_size", TABLE_SIZES)
def test_fields_are_the_same_with_a_table_of_any_size(service, table_size):
    client = Client(service.port, table_size)
    check(service, client)
    client.close()


@pytest.mark.parametrize("sizes", [(0, 4096), (300, 100), (100, 300), (4096, 0, 4096), (65536, 200)])
def test_fields_are_the_same_when_the_table_changes_its_size(service, sizes):
    client = Client(service.port, 4096)
    check(service, client, 1)
    for size in sizes:
        client.resize(size)
        check(service, client, 1)
    client.close()


@pytest.mark.parametrize("size, update", [(0, b"\x20\x20"), (30, b"\x20\x3e"), (31, b"\x20\x3f\x00"), (158, b"\x20\x3f\x7f"),
                                          (159, b"\x20\x3f\x80\x01"), (4095, b"\x20\x3f\xe0\x1f")])
def test_a_smaller_table_is_emptied_first_and_said_once(service, size, update):
    """Emptied: the client may have had an even smaller one on its way there, which then has to be said too (RFC 7541 §4.2)."""
    client = Client(service.port, 4096)
    for expected in (b"", update, b""):
        client.get("/health", None, "t")
        assert client.blocks[-1].startswith(expected + b"\x88"), (size, client.blocks[-1][:6].hex())  # :status: 200
        client.resize(size)
    client.close()


@pytest.mark.parametrize("sizes, update", [((0, 4096), b"\x20\x3f\xe1\x1f"), ((100, 65536), b"\x20\x3f\xe1\x1f"), ((200, 0, 300), b"\x20\x3f\x8d\x02"),
                                           ((8192, 4096), b"")])
def test_what_a_client_wanted_between_two_answers_is_heeded(service, sizes, update):
    client = Client(service.port, 4096)
    check(service, client, 1)
    for size in sizes:
        client.resize(size)
    client.get("/health", None, "t")
    assert client.blocks[-1].startswith(update + b"\x88"), client.blocks[-1][:6].hex()
    check(service, client, 1)
    client.close()


def test_an_answer_that_is_none_of_ours_heeds_it_too(service):
    """A field with a control character is refused by libh2o, before the service sees the request."""
    client = Client(service.port, 0)
    for _ in range(2):
        found = dict(client.get("/health", None, "t", ("x-other", "a\x01b")))
        assert found[":status"] == "400" and found["content-type"] == "application/json"
    check(service, client, 1)
    client.close()


def test_more_fields_than_a_table_has_entries(service):
    client = Client(service.port, 65536)
    for _ in range(2):
        for key, limit in OTHER_KEYS.items():
            found = dict(client.get("/api/v1/portfolio", key, key))
            assert (found["ratelimit-limit"], found["x-trace-id"], found["content-type"]) == (str(limit), key, "application/json")
    check(service, client, 1)
    client.close()


def test_what_is_left_of_the_limit_is_told_in_every_answer(service, settings):
    client = Client(service.port, 4096)
    left = [int(dict(client.get("/api/v1/portfolio", COUNTED_KEY, "t"))["ratelimit-remaining"]) for _ in range(20)]
    is_limited = settings["POSITION_MANAGER_RATE_LIMIT_ENABLED"] == "true"
    # One grows again in two seconds.
    assert left[0] == 29 and len(set(left)) > 5 if is_limited else left == [30] * 20
    client.close()
