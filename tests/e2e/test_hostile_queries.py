"""Query parameters and paths that nobody sane sends: the right 400 or a right answer, never a 500 (contract §2, §2.3)."""

import itertools
import re
import socket

import pytest
from test_http import expect_error
from world import API_KEY, TIMEOUT_SECONDS

NUMBERS_WRONG = ["", "%20", "1e3", "1E3", "+1", "%2B1", ".5", "5.", "-", "--1", "0x10", "1_000", "1,5", "NaN", "inf", "-Infinity", "%D9%A3",
                 "1%00", "%001", "1%0a", "1 ", "%201", "999999999999999999999999", "1000000000000", "-1000000000000", "0.123456789", "9" * 300,
                 "-" + "9" * 255, "%zz", "%", "%4", "%ff", "%c3%28", "%ed%a0%80", "%f0%9f%98%80", "true", "null", "[1]", "'1'", "1;drop"]
NUMBERS_RIGHT = ["0", "-0", "0.0", "1", "-1", "00001", "1.0", "999999999999.99999999", "-999999999999.99999999", "0.12345678", "0.1234567800000",
                 "%31", "1%2E5", "0." + "0" * 250]
TIMES_WRONG = ["", "yesterday", "2025-13-01T00:00:00Z", "2025-02-30T00:00:00Z", "2025-01-01T25:00:00Z", "2025-01-01T00:00:61Z", "-1x", "1.5e12",
               "2025-01-01T00:00:00+99:00", "99999999999999999999", "%ff", "2025-01-01T00:00:00Z%00", "0x19", "T", "Z", "2025-01-01T00:00:00ZZ"]
TIMES_RIGHT = ["2025-01-15T10:00:00Z", "2025-01-15T10:00:00.123456Z", "2025-01-15T12:00:00%2B02:00", "2025-01-15T12:00:00+02:00",
               "2025-01-15T10:00:00", "2025-01-15t10:00:00z", "1736935200000", "0", "9999-12-31T23:59:59Z"]


@pytest.fixture(scope="module")
def held(service, broker):
    broker.fill("QUERYUSDT", "Buy", "1.5", "100")
    return service.expect("QUERYUSDT", version=1)


def raw(service, target, method="GET"):
    """The status and body for a request target that goes out byte for byte."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: %s\r\n\r\n" % (
            method.encode(), target if isinstance(target, bytes) else target.encode(), API_KEY.encode()))
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def expect_named(service, target, name):
    status, body = raw(service, target)
    assert status == 400 and b'"VALIDATION_ERROR"' in body and name.encode() in body, (target, status, body[:300])


@pytest.mark.parametrize("name", ["size_min", "size_max"])
def test_a_size_that_is_no_plain_decimal_is_named(service, held, name):
    for value in NUMBERS_WRONG:
        if " " not in value:
            expect_named(service, f"/api/v1/positions?{name}={value}", name)


def test_every_plain_decimal_is_taken(service, held):
    for name, value in itertools.product(("size_min", "size_max"), NUMBERS_RIGHT):
        status, body = raw(service, f"/api/v1/positions?{name}={value}")
        assert status == 200 and b'"count":' in body, (name, value, status, body[:300])


def test_size_filters_are_inclusive_to_the_last_digit(service, held):
    for query, count in (("size_min=1.5", 1), ("size_max=1.5", 1), ("size_min=1.50000001", 0), ("size_max=1.49999999", 0),
                         ("size_min=2&size_max=1", 0), ("size_min=-999999999999.99999999&size_max=999999999999.99999999", 1)):
        assert service.get(f"/api/v1/positions?asset=QUERYUSDT&{query}").json()["count"] == count, query


@pytest.mark.parametrize("query", ["mode=one-way&mode=one-way", "size_min=1&size_min=2", "asset=AUSDT&asset=BUSDT", "mode=hedge&m%6Fde=hedge"])
def test_a_parameter_given_twice_is_malformed(service, held, query):
    expect_named(service, f"/api/v1/positions?{query}", query.split("=")[0])


@pytest.mark.parametrize("path", ["/api/v1/positions", "/api/v1/positions/QUERYUSDT"])
@pytest.mark.parametrize("value", ["", "both", "one_way", "ONE-WAYS", "hedge%00", "%68edge%20", "%ff", "0", "a" * 300])
def test_a_mode_that_is_none_is_named(service, held, path, value):
    expect_named(service, f"{path}?mode={value}", "mode")


@pytest.mark.parametrize("value", ["", "%20", "BTC", "BTC-USDT", "A" * 400, "%00USDT", "%ff", "*", "QUERYUSDT%0a", "QUERY%20USDT", "%27OR%271%27%3D%271"])
@pytest.mark.parametrize("path", ["/api/v1/positions", "/api/v1/portfolio"])
def test_an_asset_filter_that_can_be_no_asset_is_named(service, held, path, value):
    expect_named(service, f"{path}?asset={value}", "asset")


@pytest.mark.parametrize("value", ["", "maybe", "2", "-1", "truee", "%00", "tr%ffue"])
def test_a_word_that_is_no_boolean_is_named(service, held, value):
    expect_named(service, f"/api/v1/portfolio?include_positions={value}", "include_positions")


@pytest.mark.parametrize("value, with_positions", [("true", True), ("TRUE", True), ("1", True), ("yes", True), ("on", True), ("false", False),
                                                   ("0", False), ("No", False), ("off", False)])
def test_every_boolean_is_understood(service, held, value, with_positions):
    assert ("positions" in service.get(f"/api/v1/portfolio?include_positions={value}").json()) is with_positions


@pytest.mark.parametrize("query", ["?", "?&&&", "?=", "?=1", "?colour=%zz", "?%ff=%fe", "?mode", "?x=" + "y" * 8000, "?" + "&".join(f"p{n}=1" for n in range(500)),
                                   "?asset%00=1", "?#fragment", "?a[]=1&a[]=2", "?;mode=hedge"])
def test_what_is_not_known_is_ignored_whatever_its_form(service, held, query):
    status, body = raw(service, f"/api/v1/positions{query}")
    assert status == (400 if query == "?mode" else 200), body[:300]


@pytest.mark.parametrize("name", ["from", "to", "at"])
def test_a_time_that_is_none_is_named(service, held, name):
    for value in TIMES_WRONG:
        expect_named(service, f"/api/v1/positions/QUERYUSDT/snapshots?{name}={value}", name)


@pytest.mark.parametrize("name", ["from", "to"])
def test_every_form_of_a_time_is_understood(service, held, name):
    for value in TIMES_RIGHT:
        status, body = raw(service, f"/api/v1/positions/QUERYUSDT/snapshots?{name}={value}")
        assert status == 200 and b'"snapshots":' in body, (value, status, body[:300])


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=-1", "limit=1.0", "limit=", "limit=99999999999999999999999", "limit=1&limit=1",
                                   "limit=%31%30%30%31", "offset=-1", "offset=x", "offset=", "offset=18446744073709551616", "limit=0x10", "limit=+5"])
def test_paging_that_cannot_be_is_named(service, held, query):
    expect_named(service, f"/api/v1/positions/QUERYUSDT/snapshots?{query}", query.split("=")[0])


@pytest.mark.parametrize("query", ["limit=1", "limit=1000", "limit=0001", "offset=0", "offset=1000000", "limit=%31", "from=2025-01-02T00:00:00Z&to=2025-01-01T00:00:00Z"])
def test_paging_at_its_ends_is_answered(service, held, query):
    assert service.get(f"/api/v1/positions/QUERYUSDT/snapshots?{query}").json() == {"snapshots": [], "count": 0}


@pytest.mark.parametrize("time", ["1969-12-31T23:59:59Z", "1900-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00%2B14:00"])
def test_a_time_before_1970_is_a_time_before_everything(service, held, time):
    path = "/api/v1/positions/QUERYUSDT/snapshots"
    assert service.http.post("/api/v1/positions/QUERYUSDT/snapshot?mode=one-way").status_code == 201
    listed = service.get(path).json()
    assert listed["count"] >= 1 and service.get(f"{path}?from={time}").json() == listed
    assert service.get(f"{path}?to={time}").json() == {"snapshots": [], "count": 0}
    assert service.get(f"{path}?at={time}").status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/positions/%", "/api/v1/positions/%zz", "/api/v1/positions/%ff%fe", "/api/v1/positions/" + "A" * 5000,
                                  "/api/v1/positions/..", "/api/v1/positions//", "/api/v1/positions/A/B/C",
                                  "/api/v1/positions/QUERYUSDT%00", "/api/v1/positions/QUERYUSDT;x=1",
                                  "*", "http://elsewhere/api/v1/nothing", "/%00", "/api/v1/positions/\xff\xfe", "/\x7f"])
def test_paths_that_nobody_has_are_not_found(service, held, path):
    status, body = raw(service, path.encode("latin-1"))
    assert status in (400, 404), (status, body[:300])


@pytest.mark.parametrize("path", ["/api/v1/positions/queryusdt", "/api/v1/positions/%51UERYUSDT", "/api/v1/./positions/QUERYUSDT", "/api/v1/x/../positions/QUERYUSDT", "/api/v1/portfolio/%2e%2e/positions/QUERYUSDT"])
def test_paths_are_normalized_before_they_are_looked_up(service, held, path):
    status, body = raw(service, path)
    assert status == 200 and held["id"].encode() in body


def test_a_400_says_what_would_be_right(service, held):
    for query, right in (("mode=x", "hedge"), ("size_min=x", r"decimal|number"), ("asset=%20", "BTCUSDT")):
        body = expect_error(service.get(f"/api/v1/positions?{query}"), 400, "VALIDATION_ERROR")
        assert re.search(right, body["message"]), body


@pytest.mark.parametrize("path", ["/api/v1%2Fpositions", "/api/v1/positions/QUERYUSDT%2Fsnapshots", "/api/v1/positions/QUERYUSDT%2fvalidate",
                                  "/API/v1/positions", "//api/v1/positions", "/api//v1/positions", "/api/v1/positions/", "/api/v1/positions/QUERYUSDT/",
                                  "/api/v1/portfolio/", "/metrics/", "/healthz", "/api/v1/positions#x", "/api/v1/positions;x"])
def test_a_path_is_taken_by_the_letter(service, held, path):
    """An encoded slash, a second one, one at the end, another case: all that is another path."""
    status, body = raw(service, path)
    assert status == 404 and b'"NOT_FOUND"' in body, (status, body[:300])


@pytest.mark.parametrize("target, status", [("http://x/health/live", 200), ("HTTPS://x:443/api/v1/positions?mode=one-way", 200),
                                            ("http://x/api/v1/positions?mode=x", 400), ("http://x", 404), ("http://x/nothing", 404),
                                            ("http://", 404), ("http://x?mode=x", 404), ("http://x?x=/health/live", 404),
                                            ("http://x/health/live?x=/nothing", 200), ("ftp://x/health/live", 404)])
def test_a_target_in_absolute_form_means_its_path(service, held, target, status):
    assert raw(service, target)[0] == status


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "FOO", "GETX" * 30])
def test_other_methods_are_405_on_every_path_that_there_is(service, held, method):
    for path in ("/api/v1/positions", "/api/v1/positions/QUERYUSDT/validate", "/health", "/openapi.json"):
        status, body = raw(service, path, method)
        assert status == 405 and b'"METHOD_NOT_ALLOWED"' in body, (method, path, status, body[:300])
    assert raw(service, "/nothing", method)[0] == 404


def test_head_of_a_path_that_only_takes_post_is_405_without_a_body(service, held):
    assert raw(service, "/api/v1/positions/QUERYUSDT/validate", "HEAD") == (405, b"")


def exchange(service, data, expected, closes=False, last=b""):
    """
    Sends bytes on one connection and reads until as many answers have begun, until what the last one has to end with, and a little longer;
    where the connection is to be closed, until it is.
    """
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(data)
        heard = b""
        while (len(re.findall(rb"HTTP/1\.1 \d+ ", heard)) < expected or last not in heard) and (piece := connection.recv(65536)):
            heard += piece
        connection.settimeout(TIMEOUT_SECONDS if closes else 0.2)
        try:
            while piece := connection.recv(65536):
                heard += piece
            closed = True
        except TimeoutError:
            closed = False
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", heard)], heard, closed


def request(method, path, *headers, version="1.1", body=b""):
    lines = [f"{method} {path} HTTP/{version}", "Host: x", f"X-API-Key: {API_KEY}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


POSITION = "/api/v1/positions/QUERYUSDT"


def test_requests_with_bodies_are_answered_one_after_the_other(service, held):
    """Pipelined: what is a body is no request."""
    data = (request("GET", POSITION) + request("POST", POSITION + "/validate", "Content-Length: 2", body=b"{}") + request("GET", "/nothing") +
            request("HEAD", POSITION) + request("GET", POSITION, "Content-Length: 5", body=b"GET /") +
            request("GET", POSITION, "Transfer-Encoding: chunked", body=b"5\r\nGET /\r\n0\r\n\r\n") + request("GET", "/health/live"))
    codes, _, closed = exchange(service, data, 7)
    assert codes == [200, 200, 404, 200, 200, 200, 200] and not closed


@pytest.mark.parametrize("version, headers, closes", [("1.1", [], False), ("1.1", ["Connection: close"], True), ("1.1", ["Connection: x, Close"], True),
                                                      ("1.0", [], True), ("1.0", ["Connection: keep-alive"], False), ("1.1", ["Connection: Upgrade", "Upgrade: websocket"], True)])
def test_the_connection_is_kept_or_closed_as_asked_for(service, held, version, headers, closes):
    codes, heard, closed = exchange(service, request("GET", POSITION, *headers, version=version), 1, closes, held["id"].encode())
    assert codes == [200] and held["id"].encode() in heard and closed is closes


def test_expectations(service, held):
    path = POSITION + "/validate"
    assert exchange(service, request("POST", path, "Expect: 100-continue", "Content-Length: 2", body=b"{}"), 2)[0] == [100, 200]
    codes, heard, closed = exchange(service, request("POST", path, "Expect: 100-continue", "Content-Length: 2000000"), 1, True)
    assert codes == [413] and b'"PAYLOAD_TOO_LARGE"' in heard and closed
    codes, heard, closed = exchange(service, request("POST", path, "Expect: a miracle", "Content-Length: 2", body=b"{}"), 1, True)
    assert codes == [417] and b'"VALIDATION_ERROR"' in heard and b"\r\nratelimit-limit: " in heard and closed
    assert exchange(service, f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\nContent-Length: 2\r\n\r\n{{}}".encode(), 1)[0] == [401]
    assert exchange(service, request("GET", POSITION, "Expect: 100-continue"), 1)[0] == [200]


@pytest.mark.parametrize("headers", [["Content-Length: 5, 5"], ["Content-Length: +5"], ["Content-Length: -1"], ["Content-Length: 0x5"],
                                     ["Content-Length: 99999999999999999999999"], ["Transfer-Encoding: gzip, chunked"], ["X-Foo : a"], ["X-Foo: a\0b"]])
def test_a_head_that_could_be_read_in_two_ways_is_refused_and_the_connection_closed(service, held, headers):
    codes, _, closed = exchange(service, request("POST", POSITION + "/validate", *headers, body=b"hello"), 1, True)
    assert codes[:1] in ([400], [413]) and len(codes) == 1 and closed


@pytest.mark.parametrize("headers", [["Content-Length: 5", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "content-length: 5"],
                                     ["Content-Length: 5", "Content-Length: 0"], ["Content-Length: 5", "X: y", "CONTENT-LENGTH: 5"]])
def test_a_length_that_is_said_twice_is_refused_and_the_connection_closed(service, held, headers):
    """Right by the one and by the other: what follows would be another request for somebody else."""
    data = request("POST", POSITION + "/validate", *headers, body=b"0\r\n\r\n") + request("GET", "/health/live")
    codes, heard, closed = exchange(service, data, 1, True)
    assert codes == [400] and b'"VALIDATION_ERROR"' in heard and closed


def test_blanks_around_a_value_are_none_of_it(service, held):
    data = f"GET {POSITION} HTTP/1.1\r\nHost: x\r\nX-API-Key:\t {API_KEY} \t\r\nX-Trace-Id:  blank-1 \r\n\r\n".encode()
    codes, heard, _ = exchange(service, data, 1, last=b"\r\n\r\n")
    assert codes == [200] and b"\r\nx-trace-id: blank-1\r\n" in heard
    parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    assert b"\r\nx-trace-id: " + b"ab" * 16 + b"\r\n" in exchange(service, request("GET", POSITION, f"traceparent: {parent}  "), 1, last=b"\r\n\r\n")[1]


@pytest.mark.parametrize("method, headers, code", [("GET", [], 200), ("POST", ["Content-Length: 2"], 200)])
def test_an_upgrade_to_http2_answers_the_request_on_stream_one(service, held, method, headers, code):
    path = POSITION if method == "GET" else POSITION + "/validate"
    data = request(method, path, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", *headers,
                   body=b"{}" if headers else b"")
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(data)
        heard = b""
        while b"is_valid" not in heard and held["id"].encode() not in heard:
            assert (piece := connection.recv(65536)), heard
            heard += piece
    assert heard.startswith(b"HTTP/1.1 101 ") and b"\x01\x04\x00\x00\x00\x01\x88" in heard, "HEADERS of stream 1 with :status 200"


@pytest.mark.parametrize("field", ["HTTP2-Settings: !!!", "X: y"])
def test_an_upgrade_that_makes_no_sense_is_answered_in_http1(service, held, field):
    codes, heard, _ = exchange(service, request("GET", POSITION, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", field), 1, False, held["id"].encode())
    assert codes == [200] and held["id"].encode() in heard


@pytest.mark.parametrize("accept, is_json", [
    ("application/json", True), ("APPLICATION/JSON", True), ("text/html, application/json;q=0.9", True), ("application/json, text/plain", True),
    ("application/json;q=0.5,text/plain;q=0.4", True), ("application/json ; charset=utf-8", True), ("application/json;q=nonsense", True),
    ("application/json;q=0.1 , text/plain", False), ("application/json;q=0.1\t,text/plain", False), ("application/json;q=0.1;v=1,text/plain", False),
    ("application/json, text/plain;q=0.9 ; v=1", True), ("text/plain;q=0.5 , application/json;q=0.5", True),
    ("application/json;q=0", False), ("application/json;q=0.000", False), ("text/plain, application/json;q=0.1", False),
    ("application/jsonx", False), ("xapplication/json", False), ("application/*", False), ("*/*", False), ("text/plain", False), (",,;q=,", False),
    ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False)])
def test_metrics_are_json_for_whoever_wants_that_more(service, accept, is_json):
    answer = service.http.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200 and (answer.headers["Content-Type"] == "application/json") is is_json
