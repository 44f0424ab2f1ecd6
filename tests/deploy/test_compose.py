"""The compose file and what it mounts, as far as they can be judged without an engine; heavy_compose.py brings them up."""

import base64
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess

import pika
import pytest
import yaml
from world import wait_until

SECRETS = ("POSITION_MANAGER_API_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD")


def values_of(path):
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    """A copy of deploy/ with secrets of its own: what is in the tree is not touched."""
    directory = tmp_path_factory.mktemp("compose") / "deploy"
    shutil.copytree(root / "deploy", directory, ignore=shutil.ignore_patterns(".env*"))
    subprocess.run([directory / "make-env.sh"], check=True, stdout=subprocess.DEVNULL)
    return directory


def config(directory, *arguments, environment=None):
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("no docker-compose")
    return subprocess.run([command, "-f", directory / "docker-compose.yml", *arguments, "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=environment or {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, timeout=60)


@pytest.fixture(scope="module")
def services(place):
    done = config(place, "--profile", "demo")
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


@pytest.fixture(scope="module")
def written(root):
    return (root / "deploy" / "docker-compose.yml").read_text()


def test_compose_takes_the_file_with_and_without_the_stand_ins(place, root):
    done = config(place, "-f", root / "tests" / "deploy" / "compose.stand-in.yml")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a variable without a default"


def test_without_secrets_it_says_how_to_make_them(root, tmp_path):
    (tmp_path / "docker-compose.yml").write_text((root / "deploy" / "docker-compose.yml").read_text())
    (tmp_path / ".env").write_text("")
    done = config(tmp_path)
    assert done.returncode != 0 and "make-env.sh" in done.stderr


def test_the_file_is_of_the_second_compose_and_images_are_pinned(written, services):
    assert "version" not in yaml.safe_load(written)
    for name, service in services.items():
        if "build" in service:
            continue
        assert re.fullmatch(r"(postgres|rabbitmq|prom/prometheus|grafana/grafana):v?\d+\.\d+(\.\d+)?(-[a-z]+)?", service["image"]), name


def test_every_service_is_bounded_and_logs_are_rotated(services):
    assert set(services) == {"position-manager", "postgres", "rabbitmq", "prometheus", "grafana", "demo"}
    for name, service in services.items():
        assert service["mem_limit"] and service["cpus"] and service["pids_limit"], name
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}, name
        assert service["restart"] == "unless-stopped" and service["security_opt"] == ["no-new-privileges:true"], name
        # The image of the service brings its own check; nobody waits for the demo.
        assert "healthcheck" in service or name in ("position-manager", "demo"), name
        assert not service.get("privileged") and "network_mode" not in service, name


def test_the_start_is_ordered_by_health(services):
    def after(name):
        return {other: how["condition"] for other, how in services[name].get("depends_on", {}).items()}
    healthy = "service_healthy"
    assert after("position-manager") == {"postgres": healthy, "rabbitmq": healthy}
    assert after("demo") == {"position-manager": healthy} and after("grafana") == {"prometheus": healthy}
    assert services["demo"]["profiles"] == ["demo"] and not any("profiles" in services[name] for name in services if name != "demo")


def test_the_service_can_write_nowhere_and_is_given_time_to_stop(services):
    service = services["position-manager"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and "volumes" not in service
    assert service["stop_grace_period"] == "15s"
    assert service["environment"]["POSITION_MANAGER_PORT"] == "4800" and service["environment"]["POSTGRES_HOST"] == "postgres"


def test_ports_are_published_on_the_loopback_address_only(services):
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), (name, port)
    assert any(port.endswith(":4800/tcp") or port.endswith(":4800") for port in services["position-manager"]["ports"])


def test_each_container_is_told_only_the_secrets_it_needs(place, services):
    settings = values_of(place / ".env")
    grafana = values_of(place / ".env.grafana")["GF_SECURITY_ADMIN_PASSWORD"]
    secrets = {**{name: settings[name] for name in SECRETS}, "GRAFANA": grafana}
    known = {"position-manager": set(SECRETS), "postgres": {"POSTGRES_PASSWORD"}, "rabbitmq": {"RABBITMQ_PASSWORD"}, "demo": {"RABBITMQ_PASSWORD"},
             "grafana": {"GRAFANA"}, "prometheus": set()}
    for name, service in services.items():
        told = json.dumps(service)
        assert {secret for secret, value in secrets.items() if value in told} == known[name], name


def test_everything_that_is_mounted_is_there(written, root):
    for name, service in yaml.safe_load(written)["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (root / "deploy" / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {volume}"


def test_grafana_finds_its_dashboards_where_they_are_mounted(written, root):
    mounts = dict(volume.split(":")[:2] for volume in yaml.safe_load(written)["services"]["grafana"]["volumes"])
    providers = [provider for path in (root / "deploy" / "grafana" / "provisioning" / "dashboards").glob("*.y*ml")
                 for provider in yaml.safe_load(path.read_text())["providers"]]
    assert [provider["options"]["path"] for provider in providers] == [mounts["./grafana/dashboards"]]
    assert list((root / "deploy" / "grafana" / "dashboards").glob("*.json"))


def test_named_volumes_hold_all_that_has_to_last(written):
    whole = yaml.safe_load(written)
    used = {volume.split(":")[0] for service in whole["services"].values() for volume in service.get("volumes", ()) if not volume.startswith(".")}
    assert used == set(whole["volumes"]) == {"postgres", "rabbitmq", "prometheus", "grafana"}


def test_the_environment_is_complete_private_and_kept(place, binary, root):
    environment = values_of(place / ".env")
    for name in (".env", ".env.grafana"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    assert all(re.fullmatch(r"[0-9a-f]{48}", environment[name]) for name in SECRETS) and len({environment[name] for name in SECRETS}) == 3
    # Versions of Compose differ in what they make of a dollar sign.
    assert not [name for name, value in environment.items() if "$" in value]
    example = values_of(root / "deploy" / "env.example")
    missing = set(example) - set(environment)
    assert all("$" in example[name] for name in missing)
    checked = subprocess.run([binary, "--check-config"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert checked.returncode == 0 and "warning" not in checked.stdout, checked.stdout

    before = (place / ".env").read_text()
    again = subprocess.run([place / "make-env.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "stays as it is" in again and (place / ".env").read_text() == before


def test_what_the_environment_names_as_defaults_are_the_files(place, written):
    comments = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (place / ".env").read_text().split("The rest is for")[1], re.MULTILINE))
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", written))
    ours = {name: value for name, value in defaults.items() if name not in values_of(place / ".env")}
    assert comments == ours


def test_secrets_are_kept_out_of_the_repository(root):
    for name in ("deploy/.env", "deploy/.env.grafana"):
        ignored = subprocess.run(["git", "-c", f"safe.directory={root}", "-C", root, "check-ignore", "-q", name])
        assert ignored.returncode == 0, name


# RabbitMQ's definitions


def render(root, directory, **environment):
    """Runs the container's entry point with a stand-in for the image's own."""
    image = directory / "docker-entrypoint.sh"
    image.write_text('#!/bin/sh\necho "started $* with ${RABBITMQ_PASSWORD:-nothing}"\n')
    image.chmod(0o755)
    # chown to a user that may not be there is the container's business.
    chown = directory / "chown"
    chown.write_text("#!/bin/sh\n")
    chown.chmod(0o755)
    target = directory / "definitions.json"
    target.unlink(missing_ok=True)
    done = subprocess.run(["/bin/sh", root / "deploy" / "rabbitmq" / "entrypoint.sh", "rabbitmq-server"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={"PATH": f"{directory}:/usr/bin:/bin", "DEFINITIONS_TARGET": str(target),
                                                       "DEFINITIONS_TEMPLATE": str(root / "deploy" / "rabbitmq" / "definitions.json"), **environment})
    return done, json.loads(target.read_text()) if target.exists() else None


def test_definitions_are_rendered_with_a_hash_that_fits_the_password(root, tmp_path):
    for password in ("simple", "p\"a\\s$s|&'`%s%%\\n", "ünï", "x" * 200, " leading and trailing "):
        done, definitions = render(root, tmp_path, RABBITMQ_USER="some.one", RABBITMQ_PASSWORD=password, RABBITMQ_VHOST="/")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "started rabbitmq-server with nothing\n"
        user = definitions["users"][0]
        raw = base64.b64decode(user["password_hash"])
        assert raw[4:] == hashlib.sha256(raw[:4] + password.encode()).digest(), password
        assert user["name"] == "some.one" and definitions["vhosts"] == [{"name": "/"}]
        assert "@" not in json.dumps(definitions)
        assert stat.S_IMODE((tmp_path / "definitions.json").stat().st_mode) == 0o600


def test_names_that_would_break_the_definitions_stop_the_start(root, tmp_path):
    good = {"RABBITMQ_USER": "u", "RABBITMQ_PASSWORD": "p", "RABBITMQ_VHOST": "/"}
    for name, value in (("RABBITMQ_USER", 'u"'), ("RABBITMQ_USER", "a|b"), ("RABBITMQ_USER", ""), ("RABBITMQ_USER", "u/"), ("RABBITMQ_VHOST", "a\\b"),
                        ("RABBITMQ_VHOST", "a&b"), ("RABBITMQ_VHOST", ""), ("RABBITMQ_PASSWORD", "")):
        done, definitions = render(root, tmp_path, **{**good, name: value})
        assert done.returncode == 1 and name in done.stderr and definitions is None, (name, value)
        assert "started" not in done.stdout


def test_the_policy_bounds_announcements_and_nothing_else(root):
    definitions = json.loads((root / "deploy" / "rabbitmq" / "definitions.json").read_text())
    (policy,) = definitions["policies"]
    bounded = {queue["name"] for queue in definitions["queues"] if re.search(policy["pattern"], queue["name"])}
    assert bounded == {f"position-manager.{name}" for name in ("position_updated", "portfolio_updated", "position_snapshot_created")}
    assert {queue["name"] for queue in definitions["queues"]} - bounded == {"ws-gateway.position", "order-manager.order_executed",
                                                                            "position-manager.dead_letter"}
    assert policy["definition"]["overflow"] == "drop-head" and policy["definition"]["max-length"] > 0


def test_a_broker_takes_the_definitions(root, servers, tmp_path):
    name = f"compose-{os.getpid()}"
    done, definitions = render(root, tmp_path, RABBITMQ_USER=name, RABBITMQ_PASSWORD="se|cret", RABBITMQ_VHOST=name)
    assert done.returncode == 0
    target = tmp_path / "definitions.json"
    target.chmod(0o644)
    vhost = f'<<"{name}">>'
    try:
        servers.ctl("import_definitions", str(target))
        # The user gets in with the password, and may do what it has to.
        credentials = pika.PlainCredentials(name, "se|cret")
        connection = pika.BlockingConnection(pika.ConnectionParameters(servers.amqp["host"], int(servers.amqp["port"]), name, credentials))
        for queue in definitions["queues"]:
            connection.channel().queue_declare(queue["name"], passive=True)
        connection.close()
        expected = [f"position-manager.{queue}" for queue in ("portfolio_updated", "position_snapshot_created", "position_updated")]

        def bounded():
            found = servers.erlang("[binary_to_list(element(4, amqqueue:get_name(Q))) || "
                                   f"Q <- rabbit_amqqueue:list({vhost}), amqqueue:get_policy(Q) =/= undefined].")
            return sorted(re.findall(r'"(position-manager\.[a-z_]+)"', found))
        wait_until(lambda: bounded() == expected, what="the policy being in force for all three, and for nothing else")
    finally:
        servers.erlang(f'rabbit_vhost:delete({vhost}, <<"tests">>), rabbit_auth_backend_internal:delete_user({vhost}, <<"tests">>).')
