"""The Kubernetes manifests: they parse, they say what the service needs, and every setting in them is one."""

import re
import subprocess

import pytest
import yaml

MANIFESTS = ("position-manager.yaml", "secret.example.yaml")


@pytest.fixture(scope="module")
def objects(root):
    found = {}
    for name in MANIFESTS:
        for manifest in yaml.safe_load_all((root / "deploy/kubernetes" / name).read_text()):
            found[manifest["kind"]] = manifest
    return found


@pytest.fixture(scope="module")
def pod(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    (only,) = pod["containers"]
    return only


@pytest.fixture(scope="module")
def settings(binary):
    """{name: default} of every setting."""
    example = subprocess.run([str(binary), "--env-example"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(line.split("=", 1) for line in example.splitlines() if re.match(r"[A-Z]", line))


def environment(objects):
    return {**objects["ConfigMap"]["data"], **objects["Secret"]["stringData"]}


def test_all_objects_are_there_and_belong_together(objects, container):
    assert set(objects) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "Secret"}
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (objects["Deployment"]["spec"]["selector"]["matchLabels"], objects["Service"]["spec"]["selector"],
                     objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    sources = [list(source.values())[0]["name"] for source in container["envFrom"]]
    assert sources == [objects["ConfigMap"]["metadata"]["name"], objects["Secret"]["metadata"]["name"]]


def test_every_variable_is_a_setting_and_a_text(objects, settings):
    for name, value in environment(objects).items():
        assert name in settings and isinstance(value, str), name


def test_the_settings_are_accepted_once_the_secrets_are_filled_in(objects, binary):
    def check(filled):
        return subprocess.run([str(binary), "--check-config"], env=filled, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    given = environment(objects)
    done = check({**given, **{name: "0123456789abcdef" for name in objects["Secret"]["stringData"]}})
    assert done.returncode == 0 and "warning" not in done.stdout, done.stdout
    as_shipped = check(given)
    assert as_shipped.returncode == 1 and "POSITION_MANAGER_API_KEY" in as_shipped.stdout, "the placeholder must not run"


def test_there_is_one_writer(objects):
    spec = objects["Deployment"]["spec"]
    assert spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"}
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_probes_ask_what_they_are_for(container, settings):
    port = settings["POSITION_MANAGER_PORT"]
    assert [(one["name"], str(one["containerPort"])) for one in container["ports"]] == [("http", port)]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/health/live", "livenessProbe": "/health/live", "readinessProbe": "/health/ready"}


def test_the_stop_has_the_time_it_needs(pod):
    assert pod["terminationGracePeriodSeconds"] >= 15


def test_service_links_do_not_become_settings(pod):
    assert pod["enableServiceLinks"] is False


def test_the_process_has_no_rights(pod, container):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container["securityContext"]
    assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}


def test_the_user_is_the_images(pod, root):
    found = re.findall(r"^USER (\d+):(\d+)$", (root / "Dockerfile").read_text(), re.M)[-1]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == tuple(map(int, found))


def test_resources_are_bounded(container):
    resources = container["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"]) and resources["requests"]["memory"] == resources["limits"]["memory"]
