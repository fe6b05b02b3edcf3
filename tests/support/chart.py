"""The Helm chart, rendered as Helm renders it, and what its manifests are checked against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

CHART: Final = Path(__file__).resolve().parents[2] / "deploy" / "chart"
RELEASE: Final = "demo"
NAMESPACE: Final = "affect"
# The least that installs.
LEAST: Final[Mapping[str, Any]] = {"registry": {"secretName": "fedaffect-registry"}}
_WHY: Final = "renders and checks the chart: pip install 'fedaffect[deploy-test]'"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One rendered object, and the template that it is from."""

    template: str
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def spec(self) -> dict[str, Any]:
        return dict(self.body["spec"])


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that a manifest makes: its labels, with those that KubeRay adds, and its spec."""

    owner: Manifest
    labels: dict[str, str]
    spec: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.owner.kind} {self.owner.name} ({self.labels.get('ray.io/node-type', 'pod')})"

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def ci_values() -> dict[str, dict[str, Any]]:
    """Values files that the chart is rendered for, by name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "ci").glob("*.yaml"))}


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others on top, as Helm lays one file on another."""
    out = deepcopy(dict(values))
    for key, value in more.items():
        inner = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if inner else deepcopy(value)
    return out


def render(values: Mapping[str, Any] = LEAST) -> list[Manifest]:
    """What `helm install demo deploy/chart --namespace affect -f VALUES` would send.

    Skips the test where Helm's library is not installed.
    """
    helm = pytest.importorskip("helm_python", reason=_WHY)
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(dict(values))
        files = chart.render(dict(values), name=RELEASE, namespace=NAMESPACE)
    found = []
    for path, text in sorted(files.items()):
        if not path.endswith(".txt"):
            template = path.partition("/templates/")[2]
            found += [Manifest(template, body) for body in yaml.safe_load_all(text) if body]
    return found


def notes(values: Mapping[str, Any] = LEAST) -> str:
    """What Helm says after installing."""
    helm = pytest.importorskip("helm_python", reason=_WHY)
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(dict(values), name=RELEASE, namespace=NAMESPACE)
    return str(files["fedaffect/templates/NOTES.txt"])


def refusal(values: Mapping[str, Any]) -> str:
    """Why Helm refuses values."""
    helm = pytest.importorskip("helm_python", reason=_WHY)
    with pytest.raises(helm.HelmError) as caught:
        render(values)
    return str(caught.value)


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The only object of a kind whose name ends so."""
    found = [m for m in manifests if m.kind == kind and m.name.endswith(name)]
    assert len(found) == 1, [m.name for m in manifests if m.kind == kind]
    return found[0]


def ray_cluster(manifest: Manifest) -> dict[str, Any] | None:
    """The RayCluster spec in an object of KubeRay, None in others."""
    where = {"RayService": "rayClusterConfig", "RayJob": "rayClusterSpec"}.get(manifest.kind)
    if manifest.kind == "RayCluster":
        return manifest.spec
    return dict(manifest.spec[where]) if where else None


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    """All pods that the objects would make."""
    for each in manifests:
        spec = each.body.get("spec", {})
        if each.kind == "Pod":
            yield Pod(each, each.body["metadata"]["labels"], spec)
        elif each.kind == "CronJob":
            yield _of_template(each, spec["jobTemplate"]["spec"]["template"])
        elif (cluster := ray_cluster(each)) is not None:
            yield _of_template(each, cluster["headGroupSpec"]["template"], "head")
            for group in cluster["workerGroupSpecs"]:
                yield _of_template(each, group["template"], "worker")
        elif "template" in spec:
            yield _of_template(each, spec["template"])


def _of_template(owner: Manifest, template: dict[str, Any], node_type: str = "") -> Pod:
    labels = dict(template["metadata"]["labels"])
    if node_type:
        labels["ray.io/node-type"] = node_type
    return Pod(owner, labels, template["spec"])


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses a pod; an empty one chooses all, none chooses nothing."""
    if selector is None:
        return False
    for wanted in selector.get("matchExpressions", ()):
        assert wanted["operator"] == "Exists", wanted
        if wanted["key"] not in labels:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def pod_of(manifests: list[Manifest], component: str, node_type: str = "") -> Pod:
    """The first pod of a part."""
    return next(
        pod
        for pod in pods(manifests)
        if pod.labels["app.kubernetes.io/component"] == component
        and node_type in pod.labels.get("ray.io/node-type", "")
    )
