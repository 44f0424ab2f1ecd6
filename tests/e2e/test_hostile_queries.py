"""Query parameters and paths that nobody sane sends: the right 400 or a right answer, never a 500 (contract §2, §2.3)."""

import itertools
import re
import socket

import pytest
from test_http import expect_error
from world import API_KEY

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
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
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
