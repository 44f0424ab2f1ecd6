"""HTTP: who may ask, what is answered, how errors look (contract §2)."""

import json
import re
import socket
import subprocess

import httpx
import pytest
from world import API_KEY, TIMEOUT_SECONDS, wait_until

POSITION_FIELDS = {
    "id", "asset", "mode", "size", "average_entry_price", "current_price", "unrealized_pnl", "realized_pnl", "fees_paid", "long_size",
    "short_size", "long_avg_price", "short_avg_price", "unrealized_pnl_pct", "time_held_minutes", "position_size_norm", "version",
    "price_updated_at", "price_stale", "last_updated", "last_snapshot_at", "created_at", "opened_at", "closed_at"}
PORTFOLIO_FIELDS = {
    "total_exposure_usdt", "total_unrealized_pnl_usdt", "total_realized_pnl_usdt", "portfolio_value_usdt", "net_exposure_usdt",
    "open_positions_count", "long_positions_count", "short_positions_count", "by_asset", "limit_exceeded", "unpriced_positions_count",
    "calculated_at"}
ENDPOINTS = ["/api/v1/positions", "/api/v1/portfolio", "/api/v1/portfolio/exposure", "/api/v1/portfolio/pnl"]
OPEN_PATHS = ["/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"]


def expect_error(answer, status, code):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error_code", "message", "trace_id", "details"}
    assert body["error_code"] == code and body["message"] and body["trace_id"] == answer.headers["X-Trace-Id"]
    assert not re.search(r"(?i)select |insert |update positions|127\.0\.0\.1|/src/|\.c:\d", body["message"])
    return body


@pytest.fixture
def held(service, broker, asset):
    """A priced position."""
    broker.fill(asset, "Buy", "2", "100", fees="1")
    service.expect(asset, version=1)
    broker.market(asset, markPrice="110")
    return service.expect(asset, version=2)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY + "x", API_KEY[:-1], API_KEY.upper()])
def test_without_the_key_nothing_is_told(service, path, key):
    answer = httpx.get(f"http://127.0.0.1:{service.port}{path}", headers={} if key is None else {"X-API-Key": key}, timeout=TIMEOUT_SECONDS)
    expect_error(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_some_pages_need_no_key(service, path):
    # Of health a neighbour that this machine held up makes a 503, for a moment.
    wait_until(lambda: httpx.get(f"http://127.0.0.1:{service.port}{path}", timeout=TIMEOUT_SECONDS).status_code == 200, what=f"{path} without a key")


def test_a_position_has_every_field(service, held, asset):
    assert set(held) == POSITION_FIELDS
    assert held["unrealized_pnl"] == "20.00" and held["unrealized_pnl_pct"] == "10.00"
    assert held["time_held_minutes"] == 0 and held["price_stale"] is False and held["last_snapshot_at"] is None
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", held["id"])


def test_the_asset_of_the_path_is_case_insensitive(service, held, asset):
    assert service.get(f"/api/v1/positions/{asset.lower()}").json()["id"] == held["id"]


@pytest.mark.parametrize("asset", ["NOSUCHUSDT", "btceur", "x", "%27%3B--", "A" * 300, "%00USDT", "BTC%2FUSDT"])
def test_what_is_not_there_is_not_found(service, asset):
    expect_error(service.get(f"/api/v1/positions/{asset}"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/api/v1/position", "/api/v1/positions/BTCUSDT/nothing", "/healthy"])
def test_unknown_paths_are_not_found(service, path):
    expect_error(service.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize("query", ["mode=sideways", "size_min=abc", "size_min=1e3", "size_max=", "size_min=NaN", "size_min=1000000000000", "asset=B%20C"])
def test_malformed_parameters_are_named(service, query):
    body = expect_error(service.get(f"/api/v1/positions?{query}"), 400, "VALIDATION_ERROR")
    assert query.split("=")[0] in json.dumps(body)


def test_unknown_parameters_are_ignored(service):
    assert service.get("/api/v1/positions?colour=red").status_code == 200


def test_the_list_is_ordered_and_filtered(service, broker, asset, other_asset):
    for one, side, size in ((other_asset, "Sell", "3"), (asset, "Buy", "2")):
        broker.fill(one, side, size, "10")
        service.expect(one, version=1)
    broker.fill(asset, "Buy", "2", "10")
    broker.fill(asset, "Sell", "4", "10")
    service.expect(asset, version=3, size="0.0")
    listed = service.get("/api/v1/positions").json()
    keys = [(position["asset"], position["mode"]) for position in listed["positions"]]
    assert keys == sorted(keys) and listed["count"] == len(keys) and (asset, "one-way") in keys
    assert [p["asset"] for p in service.get("/api/v1/positions", size_min="-3", size_max="-3.0").json()["positions"]] == [other_asset]
    assert [p["asset"] for p in service.get("/api/v1/positions", asset=other_asset.lower()).json()["positions"]] == [other_asset]
    assert service.get("/api/v1/positions", asset=asset, mode="hedge").json() == {"positions": [], "count": 0}


def test_wrong_methods_are_told_the_right_ones(service):
    for method, path, allowed in (("DELETE", "/api/v1/positions", "GET"), ("POST", "/api/v1/portfolio", "GET"), ("PUT", "/health", "GET"),
                                  ("GET", "/api/v1/positions/BTCUSDT/validate", "POST")):
        answer = service.http.request(method, path)
        expect_error(answer, 405, "METHOD_NOT_ALLOWED")
        assert allowed in answer.headers["Allow"]


@pytest.mark.parametrize("path", ENDPOINTS + OPEN_PATHS)
def test_head_is_get_without_the_body(service, path):
    answer = wait_until(lambda: next((answer for answer in [service.http.head(path)] if answer.status_code == 200), None), what=f"HEAD {path}")
    assert answer.content == b""
    assert answer.headers["Content-Type"] == service.get(path).headers["Content-Type"]


def test_trace_ids_are_echoed_or_made(service):
    assert service.http.get("/api/v1/positions", headers={"X-Trace-Id": "abc-123"}).headers["X-Trace-Id"] == "abc-123"
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert service.http.get("/api/v1/positions", headers={"traceparent": parent}).headers["X-Trace-Id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    made = [service.get("/api/v1/positions").headers["X-Trace-Id"] for _ in range(2)]
    assert made[0] and made[0] != made[1]


def test_the_portfolio(service, held, asset):
    portfolio = service.get("/api/v1/portfolio", asset=asset).json()
    assert set(portfolio) == PORTFOLIO_FIELDS
    assert portfolio["total_exposure_usdt"] == portfolio["net_exposure_usdt"] == portfolio["portfolio_value_usdt"] == "220.00"
    assert portfolio["total_unrealized_pnl_usdt"] == "20.00" and portfolio["total_realized_pnl_usdt"] == "0.00"
    assert (portfolio["open_positions_count"], portfolio["long_positions_count"], portfolio["short_positions_count"]) == (1, 1, 0)
    assert portfolio["by_asset"] == {asset: {"exposure_usdt": "220.00", "unrealized_pnl_usdt": "20.00", "realized_pnl_usdt": "0.00", "size": "2.0"}}
    assert portfolio["limit_exceeded"] is False and portfolio["unpriced_positions_count"] == 0
    with_positions = service.get("/api/v1/portfolio", include_positions="true", asset=asset).json()
    assert [position["id"] for position in with_positions["positions"]] == [held["id"]]


def test_exposure_and_pnl(service, held, asset):
    exposure = service.get("/api/v1/portfolio/exposure").json()
    assert set(exposure) == {"total_exposure_usdt", "net_exposure_usdt", "limit_exceeded", "by_asset", "calculated_at"}
    assert exposure["by_asset"][asset]["exposure_usdt"] == "220.00"
    pnl = service.get("/api/v1/portfolio/pnl").json()
    assert set(pnl) == {"total_unrealized_pnl_usdt", "total_realized_pnl_usdt", "total_pnl_usdt", "by_asset", "calculated_at"}
    assert pnl["by_asset"][asset]["unrealized_pnl_usdt"] == "20.00"


def test_http2_with_prior_knowledge(service, held, asset):
    with httpx.Client(http1=False, http2=True, headers={"X-API-Key": API_KEY}, timeout=TIMEOUT_SECONDS) as client:
        answer = client.get(f"http://127.0.0.1:{service.port}/api/v1/positions/{asset}")
        assert answer.http_version == "HTTP/2" and answer.json()["id"] == held["id"]
        expect_error(client.get(f"http://127.0.0.1:{service.port}/nothing"), 404, "NOT_FOUND")


def test_http2_by_upgrade(service):
    output = subprocess.run(["curl", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "-H", f"X-API-Key: {API_KEY}",
                             f"http://127.0.0.1:{service.port}/api/v1/positions"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert output == "2 200"


def test_a_large_body_is_refused_by_its_declared_length(service):
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(b"POST /api/v1/positions/BTCUSDT/snapshot HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 2000000\r\n\r\n" % API_KEY.encode())
        assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]


def test_openapi_describes_what_is_served(service):
    document = service.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    for path in ENDPOINTS + ["/api/v1/positions/{asset}", "/api/v1/positions/{asset}/validate", "/api/v1/positions/{asset}/snapshot",
                             "/api/v1/positions/{asset}/snapshots", "/health", "/metrics"]:
        assert path in document["paths"], path


def test_metrics_are_clean(service, held):
    answer = service.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run(["promtool", "check", "metrics"], input=answer.content, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert checked.returncode == 0, checked.stdout.decode()
    series = [line.rsplit(" ", 1)[0] for line in answer.text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_metrics_as_json(service):
    body = service.http.get("/metrics", headers={"Accept": "application/json"}).json()
    assert {"timestamp", "database_connected", "queue_connected", "portfolio_cache_hit_rate", "validation_statistics", "rate_limiting"} <= set(body)


def test_an_empty_portfolio_is_all_zeros(servers, world, tmp_path):
    from world import World
    name = f"empty_{world.name}"
    servers.make_database(name)
    servers.make_vhost(name)
    other = World(servers, name, world.binary, tmp_path)
    try:
        service = other.service().start()
        portfolio = service.get("/api/v1/portfolio", include_positions="true").json()
        assert portfolio["total_exposure_usdt"] == "0.00" and portfolio["by_asset"] == {} and portfolio["positions"] == []
        assert portfolio["open_positions_count"] == 0
        assert service.get("/api/v1/positions").json() == {"positions": [], "count": 0}
    finally:
        other.close()


def test_the_exposure_limit(instead, held):
    limited = instead({"POSITION_MANAGER_PORTFOLIO_MAX_EXPOSURE_USDT": "100"})
    assert limited.get("/api/v1/portfolio/exposure").json()["limit_exceeded"] is True
    assert limited.stop()[0] == 0


def test_rate_limits_per_key(instead):
    limited = instead({"POSITION_MANAGER_RATE_LIMIT_ENABLED": "true", "POSITION_MANAGER_RATE_LIMIT_DEFAULT": "5",
                       "POSITION_MANAGER_RATE_LIMIT_OVERRIDES": "generous-key:1000"})
    answers = [limited.get("/api/v1/positions") for _ in range(8)]
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    refused = answers[-1]
    expect_error(refused, 429, "RATE_LIMITED")
    assert int(refused.headers["Retry-After"]) >= 1
    for answer in answers:
        assert answer.headers["RateLimit-Limit"] == "5"
        assert answer.headers["RateLimit-Remaining"].isdigit() and answer.headers["RateLimit-Reset"].isdigit()
    for _ in range(20):
        answer = limited.http.get("/api/v1/positions", headers={"X-API-Key": "generous-key"})
        assert answer.status_code == 200 and answer.headers["RateLimit-Limit"] == "1000"
    wait_until(lambda: limited.get("/health").status_code == 200, what="health, which nothing limits")
    wait_until(lambda: any("rate" in line.get("event", "") for line in limited.log()))
    text = limited.log_path.read_text()
    assert API_KEY not in text and "generous-key" not in text
    assert limited.stop()[0] == 0


def test_tls_with_alpn(instead, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", str(key), "-out", str(certificate)], check=True, stderr=subprocess.DEVNULL)

    def speak_tls(other):
        other.http.close()
        other.http = httpx.Client(base_url=f"https://127.0.0.1:{other.port}", verify=False, http2=True, headers={"X-API-Key": API_KEY}, timeout=TIMEOUT_SECONDS)

    secure = instead({"POSITION_MANAGER_TLS_CERT": certificate, "POSITION_MANAGER_TLS_KEY": key}, speak_tls)
    assert secure.get("/api/v1/positions").http_version == "HTTP/2"
    assert httpx.get(f"https://127.0.0.1:{secure.port}/health", verify=False, timeout=TIMEOUT_SECONDS).http_version == "HTTP/1.1"
    assert secure.stop()[0] == 0


def test_the_log_is_json_with_known_fields(service, held):
    # The last line may be on its way just now.
    written = service.log_path.read_text()
    for line in map(json.loads, written[:written.rindex("\n")].split("\n")):
        assert {"timestamp", "level", "event", "service"} <= set(line), line
        assert re.fullmatch(r"[a-z0-9_]+", line["event"])
