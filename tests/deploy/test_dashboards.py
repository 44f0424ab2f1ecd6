"""The dashboards: a real Prometheus with the shipped rules scrapes the running service; every panel has something to show."""

import re
import threading
import time
import uuid

import pytest
import yaml
from observed import Prometheus, dashboards, expressions, filled_in, panels, rules, scraped_rabbitmq, series_names
from world import ORDER_QUEUE, Broker, fill_event, wait_until

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def trade(world, service, until):
    """A little of everything: fills, repeats, market data, refusals, requests."""
    broker = Broker(world.servers, world.name)
    number = 0
    while not until.is_set():
        number += 1
        asset, price = f"D{number % 7}USDT", str(100 + number % 13)
        fill = fill_event(asset, "Sell" if number % 7 < 2 else "Buy", "1", price)
        broker.publish(ORDER_QUEUE, fill)
        broker.publish(ORDER_QUEUE, fill)
        broker.market(asset, markPrice=price)
        broker.publish(ORDER_QUEUE, {"event_type": "order_executed", "asset": "nonsense", "execution_id": str(uuid.uuid4())})
        service.get(f"/api/v1/positions/{asset}")
        service.get("/api/v1/portfolio")
        time.sleep(0.05)
    broker.connection.close()


@pytest.fixture(scope="module")
def service(world):
    service = world.service({"POSITION_MANAGER_PORTFOLIO_MAX_EXPOSURE_USDT": "1000000"}).start()
    yield service
    assert service.stop()[0] == 0


@pytest.fixture(scope="module")
def rabbitmq(servers):
    with scraped_rabbitmq(servers) as port:
        yield port


@pytest.fixture(scope="module")
def prometheus(root, world, service, rabbitmq, tmp_path_factory):
    stop = threading.Event()
    trader = threading.Thread(target=trade, args=(world, service, stop), daemon=True)
    trader.start()
    prometheus = Prometheus(root, tmp_path_factory.mktemp("prometheus"),
                            {"position-manager": f"127.0.0.1:{service.port}", "rabbitmq": f"127.0.0.1:{rabbitmq}"}).start()
    # Rates need some scrapes, and recorded ones an evaluation after them.
    wait_until(lambda: any(value > 0 for _, value in prometheus.query("job_instance:position_manager_deliveries:rate5m")), what="rates", interval=0.2)
    wait_until(lambda: prometheus.query("rabbitmq_detailed_queue_messages_ready"), what="RabbitMQ's figures", interval=0.2)
    time.sleep(3)
    yield prometheus
    stop.set()
    trader.join()
    prometheus.stop()


def test_promql_words_are_told_from_names():
    assert series_names('sum by (le, asset) (rate(a_total{x="b c"}[5m])) / on (job) group_left c_d > 0 or vector(0)') == {"a_total", "c_d"}
    assert series_names("time() - max(x{y=~\"z\"}) and absent(up) unless a:b:c5m offset 5m") == {"x", "up", "a:b:c5m"}


def test_no_panel_and_no_rule_asks_for_a_series_that_does_not_exist(root, service):
    """What the service shows by itself, with a position and without an hour of history."""
    wait_until(lambda: "position_manager_assets_without_series" in service.get("/metrics").text, what="a look at all positions")
    page = service.get("/metrics").text
    families = set(re.findall(r"^# TYPE (\S+) ", page, re.M))
    exposed = families | set(re.findall(r"^(\w+)(?:\{| )", page, re.M))
    # What comes from elsewhere: Prometheus itself, its rules, RabbitMQ.
    others = {"up", "ALERTS", "rabbitmq_detailed_queue_messages_ready"} | {rule["record"] for rule in rules(root) if "record" in rule}
    of_single_assets = {f"position_manager_position_{name}" for name in ("size", "exposure_usdt", "unrealized_pnl_usdt", "realized_pnl_usdt", "price_age_seconds", "held_seconds")}
    once_there_is_one = {"position_manager_oldest_price_age_seconds"}
    for where, expression in expressions(root):
        missing = series_names(expression) - exposed - others - of_single_assets - once_there_is_one
        assert not missing, f"{where}: {missing}"


def test_every_series_of_the_service_is_in_a_panel_or_a_rule(root, service):
    """Those that are for a closer look only are named here."""
    shown = set().union(*(series_names(expression) for _, expression in expressions(root)))
    families = set(re.findall(r"^# TYPE (position_manager_\S+) ", service.get("/metrics").text, re.M))
    left = {"position_manager_positions", "position_manager_portfolio_value_usdt", "position_manager_stopping", "position_manager_connects_total",
            "position_manager_mailbox_full_total", "position_manager_stale_settlements_total", "position_manager_http_connections_refused_total",
            "position_manager_http_stepped_back_total",
            "position_manager_exposure_limit_breaches_total", "position_manager_validations_total", "position_manager_snapshots_total",
            "position_manager_snapshots_deleted_total"}
    unseen = {family for family in families if not any(name == family or re.fullmatch(family + "_(bucket|sum|count)", name) for name in shown)}
    assert unseen <= left, unseen - left


def test_the_document_lists_every_series_with_its_labels_and_its_help(root, prometheus, service):
    page = service.get("/metrics").text
    documented = re.findall(r"^\| `((?:position_manager|process)_\w+)` \| ([^|]*) \| (?:Histogram\. )?([^|]*) \|$", (root / "docs" / "dashboards.md").read_text(), re.M)
    assert len({name for name, _, _ in documented}) == len(documented)
    for name, help_text in re.findall(r"^# HELP (\S+) (.*)$", page, re.M):
        labels = {label for one in re.findall(rf"^{name}(?:_bucket)?\{{([^}}]*)\}}", page, re.M) for label in re.findall(r'(\w+)="', one)} - {"le"}
        found = [(set(re.findall(r"`(\w+)`", said)), text) for one, said, text in documented if one == name]
        assert found == [(labels, help_text)], f"{name}: put it into docs/dashboards.md"
    assert {name for name, _, _ in documented} == set(re.findall(r"^# HELP (\S+)", page, re.M))


@pytest.mark.parametrize("name", ["portfolio.json", "service.json"])
def test_every_panel_has_something_to_show(root, prometheus, name):
    for panel in panels(dashboards(root)[name]):
        for target in panel["targets"]:
            def found():
                return [one for one in prometheus.query(filled_in(target["expr"])) if one[1] == one[1]]
            shown = wait_until(found, what=f"something to show in {panel['title']}: {target['expr']}", interval=0.5)
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert all(label in labels for labels, _ in shown), f"{panel['title']}: no {label}"


def test_the_figures_of_the_panels_are_those_of_the_service(root, prometheus, service):
    """The query of a panel gives what HTTP says, as near as two moments of a stream can be."""
    titles = {"Net exposure (value)": "net_exposure_usdt", "Realized PnL": "total_realized_pnl_usdt"}
    found = {panel["title"]: filled_in(panel["targets"][0]["expr"]) for panel in panels(dashboards(root)["portfolio.json"])}
    for title, field in titles.items():
        def agree():
            answer = service.get("/api/v1/portfolio").json()[field]
            # Nothing is shown for a moment where a scrape came too late on a busy machine.
            shown = prometheus.query(found[title])
            return shown and abs(shown[0][1] - float(answer)) <= abs(float(answer)) * 0.1 + 50
        wait_until(agree, what=title, interval=0.2)


def test_no_rule_fails_and_no_alert_of_the_neighbours_fires(prometheus):
    def all_rules():
        return [rule for group in prometheus.http.get("/api/v1/rules").json()["data"]["groups"] for rule in group["rules"]]
    # One that is wrong stays so; on a busy machine one may have failed once.
    wait_until(lambda: all(rule["health"] == "ok" for rule in all_rules()), what="every rule having been evaluated", interval=0.5)
    assert len(all_rules()) > 30
    firing = {labels["alertname"] for labels, _ in prometheus.query('ALERTS{alertstate="firing"}')}
    # The stream holds repeats and refused messages on purpose.
    assert firing <= {"PositionManagerRefusing", "PositionManagerSizesDiffer"}, firing


@pytest.mark.parametrize("name", ["portfolio.json", "service.json"])
def test_a_dashboard_is_one_that_grafana_takes_as_it_is(root, name):
    dashboard = dashboards(root)[name]
    assert dashboard["uid"] == f"position-manager-{name.removesuffix('.json')}" and "id" not in dashboard
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "instance"]
    assert dashboard["templating"]["list"][0]["type"] == "datasource" and dashboard["templating"]["list"][0]["query"] == "prometheus"
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} covers another"
        taken |= cells
    for panel in panels(dashboard):
        assert panel["datasource"] == DATASOURCE and panel["title"] and panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE, panel["title"]
            # Rates over what the resolution asks for; a fixed range would be too short or too long.
            assert not re.search(r"\[\d", target["expr"]), target["expr"]
            ours = re.findall(r"(?:position_manager_\w+|process_\w+)(\{[^}]*\})?", re.sub(r"job_instance:\w+:\w+", "", target["expr"]))
            assert all("$instance" in selector for selector in ours), target["expr"]


def test_the_data_source_is_the_one_that_dashboards_choose(root):
    source = yaml.safe_load((root / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    for dashboard in dashboards(root).values():
        assert dashboard["templating"]["list"][0]["current"]["value"] == source["uid"]
