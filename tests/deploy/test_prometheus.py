"""Prometheus' configuration and rules: promtool accepts them, each alert fires where it should and nowhere else."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from observed import alerts, rule_files, rules

INSTANCE = {"job": "position-manager", "instance": "here:4800"}
P = "position_manager_"


def series(name, **labels):
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in {**INSTANCE, **labels}.items()) + "}"


def buckets(name, counts, length):
    """Histogram series where each minute brings as many observations at or below each bound."""
    return {series(f"{name}_bucket", le=bound): f"0+{count}x{length}" for bound, count in counts.items()}


MINUTES = 100  # that series go on
END = 40  # when it is looked which alerts fire; later where one waits longer
PARTS = 2
LATER = {"DeadLettersUnread": 70}
FAST = {"0.001": 500, "0.01": 1000, "0.1": 1000, "1": 1000, "2.5": 1000, "+Inf": 1000}
SLOW = {"0.001": 0, "0.01": 0, "0.1": 0, "1": 100, "2.5": 1000, "+Inf": 1000}
HEALTHY = {
    series("up"): f"1x{MINUTES}",
    series("process_start_time_seconds"): f"1700000000x{MINUTES}",
    series("process_open_fds"): f"60x{MINUTES}",
    series("process_max_fds"): f"1024x{MINUTES}",
    series(P + "build_info", version="1"): f"1x{MINUTES}",
    series(P + "positions_loaded"): f"1x{MINUTES}",
    series(P + "database_connected"): f"1x{MINUTES}",
    series(P + "broker_connected", direction="inbound"): f"1x{MINUTES}",
    series(P + "broker_connected", direction="outbound"): f"1x{MINUTES}",
    series(P + "broker_blocked_total"): f"0x{MINUTES}",
    # Lost and made again now and then: nothing to wake anybody for.
    series(P + "connection_losses_total", neighbour="database"): f"0x10 1x{MINUTES}",
    series(P + "connection_losses_total", neighbour="broker"): f"0x{MINUTES}",
    series(P + "oldest_unacked_seconds"): f"0.2x{MINUTES}",
    series(P + "unacknowledged_deliveries"): f"400x{MINUTES}",
    series(P + "queue_unacknowledged_deliveries"): f"300x{MINUTES}",
    series(P + "prefetch"): f"8000x{MINUTES}",
    series(P + "queue_prefetch"): f"4000x{MINUTES}",
    series(P + "deliveries_total"): f"0+6000x{MINUTES}",
    series(P + "open_positions"): f"5x{MINUTES}",
    series(P + "messages_refused_total", reason="bad_number"): f"3x{MINUTES}",
    series(P + "messages_refused_total", reason="version_conflict"): f"0x{MINUTES}",
    series(P + "version_conflicts_total"): f"0x10 1x{MINUTES}",
    series(P + "executions_without_identity_total"): f"0x{MINUTES}",
    series(P + "size_discrepancies_total"): f"7x{MINUTES}",
    series(P + "validation_discrepancies_total"): f"0x{MINUTES}",
    series(P + "exposure_usdt"): f"800000x{MINUTES}",
    series(P + "exposure_limit_usdt"): f"1000000x{MINUTES}",
    series(P + "stale_prices"): f"0x{MINUTES}",
    series(P + "price_requests_total"): f"0+2x{MINUTES}",
    series(P + "price_request_failures_total"): f"0x{MINUTES}",
    series(P + "publish_nacks_total"): f"0x{MINUTES}",
    series(P + "http_requests_total", method="GET", route="/api/v1/portfolio", code="200"): f"0+600x{MINUTES}",
    # Probes that say "not ready" are what they should be.
    series(P + "http_requests_total", method="GET", route="/health/ready", code="503"): f"0+60x{MINUTES}",
    series(P + "http_unauthorized_total"): f"0+3x{MINUTES}",
    series(P + "http_rate_limited_total"): f"0+3x{MINUTES}",
    series(P + "log_lines_dropped_total"): f"0x{MINUTES}",
    'rabbitmq_detailed_queue_messages_ready{job="rabbitmq",vhost="/",queue="ws-gateway.position"}': f"20x{MINUTES}",
    'rabbitmq_detailed_queue_messages_ready{job="rabbitmq",vhost="/",queue="order-manager.order_executed"}': f"0x{MINUTES}",
    'rabbitmq_detailed_queue_messages_ready{job="rabbitmq",vhost="/",queue="position-manager.dead_letter"}': f"0x{MINUTES}",
    'rabbitmq_detailed_queue_messages_ready{job="rabbitmq",vhost="/",queue="position-manager.position_updated"}': f"50x{MINUTES}",
    **buckets(P + "event_visible_seconds", FAST, MINUTES),
    **buckets(P + "event_acknowledged_seconds", FAST, MINUTES),
    **buckets(P + "commit_duration_seconds", FAST, MINUTES),
    **buckets(P + "http_request_duration_seconds", FAST, MINUTES),
}


def ready(queue):
    return f'rabbitmq_detailed_queue_messages_ready{{job="rabbitmq",vhost="/",queue="{queue}"}}'


def refused(reason):
    return series(P + "messages_refused_total", reason=reason)


def late(before, after):
    """A value that changes some minutes before the end."""
    return f"{before}x{END - 7} {after}x{MINUTES}"


# What makes each alert fire: series that differ from the healthy ones (None: not there), and the alerts that go with it.
FIRES = {
    "Down": ({series("up"): f"1x20 0x{MINUTES}"}, []),
    "Absent": ({series("up"): None}, []),
    "Restarting": ({series("process_start_time_seconds"): f"1x{END - 10} 2x2 3x2 4x{MINUTES}"}, []),
    "NotLoaded": ({series(P + "positions_loaded"): f"0x{MINUTES}"}, []),
    "DatabaseLost": ({series(P + "database_connected"): late(1, 0)}, []),
    "BrokerLost": ({series(P + "broker_connected", direction="outbound"): late(1, 0)}, []),
    "BrokerBlocked": ({series(P + "broker_blocked_total"): late(0, 1)}, []),
    "Flapping": ({series(P + "connection_losses_total", neighbour="broker"): f"0+1x{MINUTES}"}, []),
    "Stuck": ({series(P + "oldest_unacked_seconds"): f"0+60x{MINUTES}"}, []),
    "Slow": (buckets(P + "event_visible_seconds", SLOW, MINUTES), []),
    "CommitsSlow": (buckets(P + "commit_duration_seconds", SLOW, MINUTES), []),
    "WindowFull": ({series(P + "queue_unacknowledged_deliveries"): f"3900x{MINUTES}"}, []),
    "Backlog": ({ready("ws-gateway.position"): f"0+1000x{MINUTES}"}, []),
    "Unread": ({ready("position-manager.position_updated"): f"200000x{MINUTES}"}, []),
    "Silent": ({series(P + "deliveries_total"): f"6000x{MINUTES}"}, []),
    "Refusing": ({refused("bad_number"): late(3, 4)}, []),
    "ExecutionsSetAside": ({refused("version_conflict"): late(0, 1)}, []),
    "DeadLettersUnread": ({ready("position-manager.dead_letter"): f"1x{MINUTES}"}, []),
    "Conflicts": ({series(P + "version_conflicts_total"): f"0+30x{MINUTES}"}, []),
    "WithoutIdentity": ({series(P + "executions_without_identity_total"): late(0, 1)}, []),
    "SizesDiffer": ({series(P + "size_discrepancies_total"): late(7, 8)}, []),
    "OrdersDiffer": ({series(P + "validation_discrepancies_total"): late(0, 2)}, []),
    "ExposureAboveLimit": ({series(P + "exposure_usdt"): f"1000001x{MINUTES}"}, []),
    "ExposureNearLimit": ({series(P + "exposure_usdt"): f"950000x{MINUTES}"}, []),
    "PricesStale": ({series(P + "stale_prices"): f"1x{MINUTES}"}, []),
    "PriceServiceFails": ({series(P + "price_request_failures_total"): f"0+2x{MINUTES}"}, []),
    "PublishRefused": ({series(P + "publish_nacks_total"): late(0, 1)}, []),
    "HttpErrors": ({series(P + "http_requests_total", method="GET", route="/api/v1/portfolio", code="503"): f"0+60x{MINUTES}"}, []),
    "HttpSlow": (buckets(P + "http_request_duration_seconds", SLOW, MINUTES), []),
    "KeysRefused": ({series(P + "http_unauthorized_total"): f"0+120x{MINUTES}"}, []),
    "RateLimited": ({series(P + "http_rate_limited_total"): f"0+120x{MINUTES}"}, []),
    "LogLinesLost": ({series(P + "log_lines_dropped_total"): late(0, 1)}, []),
    "FewDescriptors": ({series("process_open_fds"): f"900x{MINUTES}"}, []),
}


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def scenario(name, changed, expected):
    """The alerts that fire, and that wait to fire, at the end; while all is well none is even waiting at any time."""
    values = {key: value for key, value in {**HEALTHY, **changed}.items() if value is not None}
    times = [f"{LATER.get(name, END)}m"] if expected else [f"{minute}m" for minute in range(10, 75, 5)]
    asked = 'count by (alertname) (ALERTS{alertstate="firing"})' if expected else "count by (alertname) (ALERTS)"
    samples = [{"labels": f'{{alertname="PositionManager{alert}"}}', "value": 1} for alert in expected]
    return {"name": name, "interval": "1m", "input_series": [{"series": key, "values": value} for key, value in values.items()],
            "promql_expr_test": [{"expr": asked, "eval_time": time, "exp_samples": samples} for time in times]}


def run_scenarios(directory, files, scenarios):
    """What promtool says of those that fail; two of them run at a time."""
    def run(part):
        path = directory / f"scenarios-{part}.json"
        path.write_text(json.dumps({"rule_files": [str(file) for file in files], "evaluation_interval": "1m", "tests": scenarios[part::PARTS]}))
        done = promtool("test", "rules", path)
        return done.stdout if done.returncode != 0 else ""
    with ThreadPoolExecutor(PARTS) as pool:
        return "".join(pool.map(run, range(min(PARTS, len(scenarios)))))


def test_promtool_accepts_the_configuration(root):
    done = promtool("check", "config", root / "deploy" / "prometheus" / "prometheus.yml")
    assert done.returncode == 0 and "FAILED" not in done.stdout and "WARNING" not in done.stdout, done.stdout


def test_promtool_accepts_the_rules(root):
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *rule_files(root))
    assert done.returncode == 0 and len(rules(root)) > 30, done.stdout


def test_each_alert_has_a_scenario_and_the_other_way_round(root):
    assert {f"PositionManager{name}" for name in FIRES} == set(alerts(root))


def test_no_alert_fires_or_waits_while_all_is_well(root, tmp_path):
    failed = run_scenarios(tmp_path, rule_files(root), [scenario("all is well", {}, [])])
    assert not failed, failed


def test_each_alert_fires_where_it_should_and_no_other_with_it(root, tmp_path):
    scenarios = [scenario(name, changed, sorted([name, *others])) for name, (changed, others) in FIRES.items()]
    failed = run_scenarios(tmp_path, rule_files(root), scenarios)
    assert not failed, failed


@pytest.mark.parametrize("name", ["Stuck", "ExposureAboveLimit", "Silent"])
def test_a_rule_that_never_fires_would_be_found(root, tmp_path, name):
    copies = []
    for file in rule_files(root):
        copies.append(tmp_path / file.name)
        text = file.read_text()
        copies[-1].write_text(re.sub(rf"(alert: PositionManager{name}\n\s+expr: (?:>-\n\s+)?)", r"\g<1>vector(0) > 1 and ", text))
    changed, others = FIRES[name]
    assert run_scenarios(tmp_path, copies, [scenario(name, changed, [name, *others])])


def sections(root):
    """{title: text} of the runbook's alerts."""
    parts = re.split(r"^### (PositionManager\w+)$", (root / "docs" / "runbook.md").read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_each_alert_has_a_section_in_the_runbook(root):
    found = sections(root)
    assert list(found) == list(alerts(root)), "the same alerts in the same order"
    for name, text in found.items():
        for word in ("**Means.**", "**At risk.**", "**Do.**"):
            after = text.split(word)
            assert len(after) == 2 and len(after[1].split("**")[0].strip()) > 20, f"{name}: {word}"


def test_each_alert_leads_to_its_section(root):
    for name, alert in alerts(root).items():
        assert alert["labels"] == {"severity": alert["labels"]["severity"]} and alert["labels"]["severity"] in ("critical", "warning"), name
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}, name
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}", name


def test_what_the_runbook_names_exists(root):
    """Log events, metrics and settings that the text names are those of the service."""
    text = (root / "docs" / "runbook.md").read_text()
    names = set(re.findall(r"`(position_manager_\w+)`", text))
    source = "".join(path.read_text() for path in (root / "src").rglob("*.[ch]"))
    for name in names:
        assert f'"{name.removeprefix(P)}' in source, name
    settings = (root / "deploy" / "env.example").read_text()
    for name in re.findall(r"`((?:POSITION_MANAGER|POSTGRES|RABBITMQ)_[A-Z_]+)`", text):
        assert f"\n{name}=" in settings, name
    events = set(re.findall(r"event `(\w+)`", text))
    assert events
    for name in events:
        assert f'"{name}"' in source, name
