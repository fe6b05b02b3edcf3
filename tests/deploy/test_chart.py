"""The chart as Helm renders it, for each file of values in ``deploy/chart/ci``."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import click
import pytest
import yaml
from tests.support.chart import (
    CHART,
    LEAST,
    Manifest,
    ci_values,
    merged,
    notes,
    one,
    pods,
    refusal,
    render,
    selects,
)
from tests.support.custom_resources import FIELDS, unknown_fields

from fedaffect.edge.cli.main import fedaffect

VALUES: Final = ci_values()
KUBERNETES: Final = "1.34"
ROOT: Final = CHART.parents[1]


@pytest.fixture(scope="module", params=VALUES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(VALUES[request.param])


def test_kubernetes_would_take_every_object(manifests: list[Manifest]) -> None:
    validation = pytest.importorskip("kubernetes_validate", reason="pip install 'fedaffect[deploy-test]'")
    for each in manifests:
        api = (str(each.body["apiVersion"]), each.kind)
        if api in FIELDS:
            assert list(unknown_fields(each.spec, FIELDS[api])) == []
        else:
            validation.validate(each.body, KUBERNETES, strict=True)
    for pod in pods(manifests):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": pod.labels}, "spec": pod.spec}
        validation.validate(body, KUBERNETES, strict=True)


def test_names_are_unique_and_every_object_says_whose_it_is(manifests: list[Manifest]) -> None:
    names = [(each.kind, each.name) for each in manifests]
    assert len(set(names)) == len(names)
    for each in manifests:
        if each.template != "extra-objects.yaml":
            assert each.body["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"
        assert len(each.name) <= 63


def test_pods_run_without_rights(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod
        assert security["runAsUser"] > 0, pod
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is (pod.labels.get("ray.io/node-type") == "head")
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        assert not [volume for volume in pod.spec["volumes"] if "hostPath" in volume]
        for container in pod.containers:
            inner = container["securityContext"]
            assert inner["readOnlyRootFilesystem"] is inner["runAsNonRoot"] is True, (pod, container["name"])
            assert inner["allowPrivilegeEscalation"] is inner["privileged"] is False
            assert inner["capabilities"] == {"drop": ["ALL"]}


def test_containers_say_what_they_need_and_where_they_write(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        claims = {c["metadata"]["name"] for c in pod.owner.body["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in pod.spec["volumes"]} | claims
        for container in pod.containers:
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), (pod, container["name"])
            assert "memory" in container["resources"]["limits"]
            assert {"/tmp", "/var/lib/fedaffect"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert re.fullmatch(r"[a-z0-9./-]+(:[\w.-]+|@sha256:[0-9a-f]{64})", container["image"])


def test_no_secret_stands_in_a_manifest(manifests: list[Manifest]) -> None:
    assert [each.name for each in manifests if each.kind == "Secret"] == []
    for pod in pods(manifests):
        for container in pod.containers:
            for variable in container["env"]:
                secret = re.search("KEY|TOKEN|PASSWORD|SECRET", variable["name"])
                assert ("value" in variable) is (secret is None), variable
    assert re.search(r"://[^/?@]*@", json.dumps([each.body for each in manifests])) is None


def test_the_database_s_password_stands_in_a_file_alone(manifests: list[Manifest]) -> None:
    """Compose's test opens that address; `fleet init` writes it to the fleet's volume."""
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text())
    url = compose["services"]["fleet"]["environment"]["FEDAFFECT_REGISTRY"]
    found = [pod for pod in pods(manifests) if pod.labels.get("fedaffect/registry")]
    assert found
    for pod in found:
        (volume,) = (volume["secret"] for volume in pod.spec["volumes"] if volume["name"] == "registry")
        assert volume["secretName"] == "fedaffect-registry"
        (item,) = volume["items"]
        for container in pod.containers:
            environment = {variable["name"]: variable.get("value") for variable in container["env"]}
            assert environment["FEDAFFECT_REGISTRY"] == url
            (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "registry")
            assert environment["PGSERVICEFILE"] == f"{mount['mountPath']}/{item['path']}"
            # A file of its own would not follow the Secret.
            assert "subPath" not in mount


def test_what_pods_run_are_commands_of_ours(manifests: list[Manifest]) -> None:
    found = [words for each in manifests for words in _commands(each)]
    for words in found:
        parse(words)
    assert found


def test_a_command_that_is_none_would_be_found() -> None:
    with pytest.raises(click.ClickException, match="No such option"):
        parse(["fedaffect", "server", "serve", "--hots", "0.0.0.0"])
    with pytest.raises(LookupError, match="migrates"):
        parse(["fedaffect", "server", "registry", "migrates"])


def _commands(manifest: Manifest) -> Iterator[list[str]]:
    if "entrypoint" in manifest.body.get("spec", {}):
        yield shlex.split(manifest.spec["entrypoint"])
    for pod in pods([manifest]):
        for container in pod.containers:
            words = [*container.get("command", ()), *container.get("args", ())]
            if words and words[0] == "/bin/sh":
                yield from (shlex.split(line) for line in words[-1].splitlines() if line.startswith("fedaffect"))
            elif words and words[0] == "fedaffect":
                yield words
            elif words[:2] == ["python", "-c"]:
                compile(words[2], str(pod), "exec")
            else:
                assert container["name"].startswith("ray-"), words


def parse(words: list[str]) -> None:
    """Read a command line as our program does, up to where it would do something."""
    command: click.Command = fedaffect
    name, *rest = words
    context = click.Context(command, info_name=name)
    while isinstance(command, click.Group):
        name, *rest = rest
        found = command.get_command(context, name)
        if found is None:
            raise LookupError(f"{name!r} is no command of {' '.join(words)}")
        command = found
    command.make_context(name, rest)


def test_probes_ask_what_the_servers_answer(manifests: list[Manifest]) -> None:
    ours = (ROOT / "server/fedaffect/server").rglob("*.py")
    known = {path for source in ours for path in re.findall(r'\.get\("(/[a-z]+)"', source.read_text())}
    assert "/readyz" in known
    for pod in pods(manifests):
        for container in pod.containers:
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                if (probe := container.get(kind)) is not None and "exec" not in probe:
                    asked = probe["httpGet"]
                    assert asked["port"] in ports
                    assert asked["path"] in known


def test_services_and_budgets_choose_pods_that_are_there(manifests: list[Manifest]) -> None:
    there = list(pods(manifests))
    for each in manifests:
        if each.kind == "Service":
            chosen = [pod for pod in there if selects({"matchLabels": each.spec["selector"]}, pod.labels)]
            assert len(chosen) == 1, each.name
            ports = {port["name"] for c in chosen[0].containers for port in c.get("ports", ())}
            assert {port["targetPort"] for port in each.spec["ports"]} <= ports
        elif each.kind in ("PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "PodMonitor"):
            selector = each.spec.get("podSelector", each.spec.get("selector"))
            assert any(selects(selector, pod.labels) for pod in there), each.name


def test_every_template_makes_something_for_some_values() -> None:
    made = {each.template for values in VALUES.values() for each in render(values)}
    silent = {"checks.yaml"}
    assert made == {str(p.relative_to(CHART / "templates")) for p in (CHART / "templates").rglob("*.yaml")} - silent


def test_helm_finds_nothing_to_say() -> None:
    helm = pytest.importorskip("helm_python", reason="pip install 'fedaffect[deploy-test]'")
    for values in VALUES.values():
        said = helm.lint(str(CHART), values, strict=True)
        assert [m for m in said["messages"] if m["severity"] > 1] == []
        assert said["errors"] == []


def test_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart, values = (yaml.safe_load((CHART / name).read_text()) for name in ("Chart.yaml", "values.yaml"))
    assert chart["appVersion"] == project["version"]
    pinned = next(line for line in project["optional-dependencies"]["simulation"] if line.startswith("ray["))
    assert pinned == f"ray[serve]=={values['ray']['version']}"


def test_dashboards_and_alerts_are_those_of_observability() -> None:
    theirs = ROOT / "deploy" / "observability"
    for ours, files in (("dashboards", theirs.glob("dashboards/*.json")), ("rules", [theirs / "alerts.yml"])):
        wanted = {path.name: path.read_text() for path in files}
        assert wanted, ours
        found = {path.name: path.read_text() for path in (CHART / "files" / ours).iterdir()}
        assert found == wanted, "the chart has others; copy them: make chart"


def test_grafana_and_prometheus_get_them_as_they_are() -> None:
    made = render(VALUES["small"])
    shown = {
        key: json.loads(text)
        for m in made
        if m.kind == "ConfigMap" and m.template == "monitors.yaml"
        for key, text in m.body["data"].items()
    }
    assert shown == {path.name: json.loads(path.read_text()) for path in (CHART / "files/dashboards").iterdir()}
    labels = next(m for m in made if m.template == "monitors.yaml" and m.kind == "ConfigMap").body["metadata"]["labels"]
    assert labels["grafana_dashboard"] == "1"
    rule = one(made, "PrometheusRule")
    assert rule.spec == yaml.safe_load((CHART / "files/rules/alerts.yml").read_text())


def test_the_schema_knows_each_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(values, schema)
    assert list(_loose(schema)) == []
    assert schema["properties"].keys() - values.keys() == {"global"}


def _loose(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Objects with fields of ours that would take any other key."""
    if "properties" in schema and schema.get("additionalProperties") is not False:
        yield path
    for key, inner in schema.get("properties", {}).items():
        yield from _loose(inner, f"{path}/{key}")
    if isinstance(schema.get("items"), dict):
        yield from _loose(schema["items"], f"{path}[]")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"inferense": {}}, "inferense"),
        ({"inference": {"replcas": 3}}, "replcas"),
        ({"inference": {"autoscaling": {"kind": "hpq"}}}, "'none', 'hpa', 'keda'"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"registry": {"secretName": ""}}, "registry.secretName is empty; make a Secret"),
        ({"inference": {"device": "cuda"}}, "inference.gpus is 0; set gpus: 1"),
        ({"inference": {"gpus": 1}}, "set device: cuda"),
        ({"inference": {"model": "/models/x"}}, "name a PersistentVolumeClaim in inference.modelsClaim"),
        ({"inference": {"autoscaling": {"kind": "keda"}}}, "prometheusUrl is empty"),
        ({"inference": {"autoscaling": {"minReplicas": 9}}}, "minReplicas 9 is more than maxReplicas 8"),
        ({"inference": {"kind": "rayservice", "model": "registry"}}, "model registry is for kind deployment"),
        ({"inference": {"kind": "rayservice", "transcribe": True}}, "transcribe is for kind deployment"),
        ({"inference": {"kind": "rayservice", "tls": {"secretName": "x"}}}, "tls is for kind deployment"),
        ({"inference": {"kind": "rayservice", "autoscaling": {"kind": "hpa"}}}, "scales by ray.deployments"),
        ({"inference": {"kind": "rayservice", "device": "cuda"}}, "set gpus of encoders and fusion"),
        (
            {"inference": {"kind": "rayservice"}, "ray": {"deployments": {"audio": {"gpus": 0.5}}}},
            "ray.deployments.audio asks for GPUs, and no group in ray.workers has any",
        ),
        (
            {"inference": {"kind": "rayservice"}, "ray": {"upgrade": {"type": "NewClusterWithIncrementalUpgrade"}}},
            "name a GatewayClass",
        ),
        ({"ingress": {"enabled": True}}, "ingress.host is empty"),
        ({"gatewayRoute": {"enabled": True}}, "gatewayRoute.parentRefs is empty"),
        ({"inference": {"enabled": False}, "ingress": {"enabled": True, "host": "x"}}, "set inference.enabled to true"),
        ({"fleet": {"enabled": True}}, "fleet.hosts is empty"),
        ({"backup": {"enabled": True}}, "backup.claim is empty"),
        ({"monitoring": {"monitors": {"enabled": True}}}, "keySecretName is empty"),
        ({"jobs": [{"name": "a", "command": "simulate", "workers": 1, "resources": {}}]}, "runsClaim"),
    ],
)
def test_values_that_cannot_work_are_named_with_their_remedy(more: dict[str, Any], says: str) -> None:
    assert says in refusal(merged(LEAST, more))


def test_notes_say_what_comes_next() -> None:
    said = notes(VALUES["small"])
    assert "exec deploy/demo-fedaffect-inference -- fedaffect server keys create phone --scope predict" in said
    assert "https://fleet.example.org:9441" in said
    assert "travel in the clear" not in said
    assert "travel in the clear" in notes(VALUES["minimal"])
