#!/usr/bin/python3
"""Makes docs/images/*.png: the service under the demo stream, as its dashboards show it.

    PM_BINARY=build/position-manager tests/deploy/screenshots.py [minutes] [directory]

Starts a private PostgreSQL, RabbitMQ, service and Prometheus with the shipped rules, publishes the demo stream
(deploy/publish.py), draws both dashboards with stand_in_page.py and takes their pictures with a headless Chromium. Grafana
itself cannot be had from Debian, so the layout is a likeness; queries, units, titles and figures are the dashboards' own.
Not part of a test run: it needs the packages chromium, fonts-dejavu-core and pngquant, and takes as long as it is told.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "deploy")]

from observed import Prometheus, dashboards, scraped_rabbitmq  # noqa: E402
from stand_in_page import page_of  # noqa: E402
from world import Servers, World, die_with_the_tests  # noqa: E402

WIDTH = 1500


def publish_demo(servers, vhost):
    environment = {**os.environ, "RABBITMQ_HOST": servers.amqp["host"], "RABBITMQ_PORT": servers.amqp["port"], "RABBITMQ_USER": servers.amqp["user"],
                   "RABBITMQ_PASSWORD": servers.amqp["password"], "RABBITMQ_VHOST": vhost}
    return subprocess.Popen(["/usr/bin/python3", str(ROOT / "deploy" / "lib" / "publish.py"), "demo"], env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, preexec_fn=die_with_the_tests)


def look_around(service, until):
    """What a few callers of the interface ask."""
    while time.monotonic() < until:
        for path in ("/api/v1/portfolio", "/api/v1/positions", "/api/v1/positions/BTCUSDT", "/api/v1/portfolio/exposure", "/health", "/api/v1/positions/NOUSDT"):
            service.get(path)
            time.sleep(0.1)


def take_picture(html, png, height):
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}",
                        f"--screenshot={png}", html.as_uri()], check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["pngquant", "--force", "--output", png, "64", png], check=True)


def draw(prometheus, directory, seconds):
    for name, dashboard in dashboards(ROOT).items():
        html = directory / name.replace(".json", ".html")
        text, height = page_of(dashboard, prometheus, WIDTH, seconds)
        html.write_text(text)
        take_picture(html, directory / name.replace(".json", ".png"), height)
        html.unlink()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    seconds = float(sys.argv[1] if len(sys.argv) > 1 else 10) * 60
    directory = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "docs" / "images").resolve()
    binary = Path(os.environ.get("PM_BINARY", ROOT / "build" / "position-manager"))
    script = str(ROOT / "tests" / "tools" / "servers.sh")
    with tempfile.TemporaryDirectory(prefix="pm-screenshots.", dir="/tmp") as scratch:
        home = Path(scratch)
        home.chmod(0o755)
        started = subprocess.run([script, "start", str(home / "servers")], check=True, stdout=subprocess.PIPE, text=True).stdout
        try:
            servers = Servers(ROOT, dict(line.split("=", 1) for line in started.splitlines()))
            servers.make_database("demo")
            servers.make_vhost("demo")
            world = World(servers, "demo", binary, home)
            service = world.service({"POSITION_MANAGER_PORTFOLIO_MAX_EXPOSURE_USDT": "150000"}).start()
            with scraped_rabbitmq(servers) as rabbitmq:
                targets = {"position-manager": f"127.0.0.1:{service.port}", "rabbitmq": f"127.0.0.1:{rabbitmq}"}
                prometheus = Prometheus(ROOT, home / "prometheus", targets, "5s").start()
                demo = publish_demo(servers, "demo")
                print(f"Prometheus: http://127.0.0.1:{prometheus.port}", flush=True)
                look_around(service, time.monotonic() + seconds)
                draw(prometheus, directory, seconds)
            demo.terminate()
            demo.wait()
            prometheus.stop()
            world.close()
        finally:
            subprocess.run([script, "stop", str(home / "servers")], check=False)


if __name__ == "__main__":
    main()
