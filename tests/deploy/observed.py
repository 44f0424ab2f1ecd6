"""What Prometheus and Grafana are shipped with, as the tests see it: rules, dashboards, and a Prometheus that runs them."""

import json
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml
from world import die_with_the_tests, free_port, wait_until

# Words of PromQL that are no names of series.
KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset", "inf", "nan",
            "sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "stddev", "stdvar", "group", "count_values"}


def rule_files(root):
    return sorted((root / "deploy" / "prometheus" / "rules").glob("*.yml"))


def rules(root):
    """Every rule of every file, as it stands there."""
    return [rule for file in rule_files(root) for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts(root):
    return {rule["alert"]: rule for rule in rules(root) if "alert" in rule}


def dashboards(root):
    return {file.name: json.loads(file.read_text()) for file in sorted((root / "deploy" / "grafana" / "dashboards").glob("*.json"))}


def panels(dashboard):
    """Panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def filled_in(expression, interval="1m"):
    """An expression as Grafana would send it, with every instance chosen."""
    return expression.replace("$__rate_interval", interval).replace("$instance", ".*")


def expressions(root):
    """(where, expression) of every panel and every rule."""
    found = [(f"rule {rule.get('alert') or rule['record']}", rule["expr"]) for rule in rules(root)]
    for name, dashboard in dashboards(root).items():
        found += [(f"{name}: {panel['title']} {target['refId']}", filled_in(target["expr"])) for panel in panels(dashboard) for target in panel["targets"]]
    return found


def series_names(expression):
    """The names of the series that an expression asks for."""
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", r"\1", bare)
    words = re.findall(r"(?<![\w:])[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()", bare)
    return {word for word in words if word.lower() not in KEYWORDS}


@contextmanager
def scraped_rabbitmq(servers):
    """The port at which RabbitMQ tells its figures: for a while with the plugin on that the official image has on."""
    enabled = Path(servers.directory) / "rabbitmq" / "enabled_plugins"
    before, port = enabled.read_text(), free_port()
    servers.erlang(f'application:set_env(rabbitmq_prometheus, tcp_config, [{{port, {port}}}, {{ip, "127.0.0.1"}}], [{{persistent, true}}]).')
    enabled.write_text("[rabbitmq_prometheus].\n")
    try:
        done = servers.erlang(f'rabbit_plugins:ensure("{enabled}").')
        assert "[" in done and "rabbitmq_prometheus" in done, done
        yield port
    finally:
        enabled.write_text(before)
        servers.erlang(f'rabbit_plugins:ensure("{enabled}").')


class Asked:
    """A Prometheus that runs somewhere: what it answers."""

    def __init__(self, port):
        self.port = port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def query(self, expression):
        """The instant vector of an expression: [({label: value}, value)]."""
        answer = self.http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        if answer["data"]["resultType"] == "scalar":
            return [({}, float(answer["data"]["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def query_range(self, expression, seconds, step):
        """[({label: value}, [(time, value)])]"""
        now = time.time()
        answer = self.http.get("/api/v1/query_range", params={"query": expression, "start": now - seconds, "end": now, "step": step}).json()
        assert answer["status"] == "success", (expression, answer)
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in answer["data"]["result"]]


class Prometheus(Asked):
    """A private Prometheus with the shipped rules; targets is {job: "host:port"}."""

    def __init__(self, root, directory, targets, interval="1s"):
        super().__init__(free_port())
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        scrapes = []
        shipped = {job["job_name"]: job for job in yaml.safe_load((root / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]}
        for name, target in targets.items():
            scrapes.append({**shipped[name], "scrape_interval": interval, "scrape_timeout": interval, "static_configs": [{"targets": [target]}]})
        groups = []
        for file in rule_files(root):
            groups += [{**group, "interval": interval} for group in yaml.safe_load(file.read_text())["groups"]]
        (directory / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
        (directory / "prometheus.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "scrape_configs": scrapes}))
        self.process = None

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.directory}/prometheus.yml", f"--storage.tsdb.path={self.directory}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-lifecycle", "--log.level=warn"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_the_tests)
        wait_until(self._is_ready, what="Prometheus being ready", interval=0.1)
        return self

    def _is_ready(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self):
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
