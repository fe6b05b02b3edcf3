"""Who reaches whom under the chart's NetworkPolicies, worked out as Kubernetes does."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest
from tests.support.chart import LEAST, NAMESPACE, Manifest, Pod, ci_values, merged, pod_of, pods, render, selects

VALUES: Final = ci_values()
# What no policy may let through unless it says so.
SAMPLE: Final = (22, 53, 80, 443, 5432, 6379, 6443, 8000, 8080, 8081, 8265, 9440, 9441, 10001, 44217)


class Elsewhere:
    """A pod of another namespace, or an address outside the cluster."""

    def __init__(self, namespace: str = "", address: str = "192.0.2.1") -> None:
        self.namespace = namespace
        self.address = address


def may(policies: list[Manifest], source: Pod | Elsewhere, target: Pod | Elsewhere, port: int) -> bool:
    """Whether a TCP connection comes about: the one side may open it, and the other may be reached."""
    return (isinstance(source, Elsewhere) or _passes(policies, source, target, port, "Egress")) and (
        isinstance(target, Elsewhere) or _passes(policies, target, source, port, "Ingress")
    )


def _passes(policies: list[Manifest], pod: Pod, peer: Pod | Elsewhere, port: int, way: str) -> bool:
    mine = [p.spec for p in policies if way in p.spec["policyTypes"] and selects(p.spec["podSelector"], pod.labels)]
    side = "from" if way == "Ingress" else "to"
    rules = [rule for policy in mine for rule in policy.get(way.lower(), ())]
    return not mine or any(
        _has_port(rule.get("ports"), port) and (not rule.get(side) or any(_is_peer(p, peer) for p in rule[side]))
        for rule in rules
    )


def _has_port(ports: list[dict[str, Any]] | None, port: int) -> bool:
    return not ports or any(each["port"] == port and each.get("protocol", "TCP") == "TCP" for each in ports)


def _is_peer(rule: dict[str, Any], peer: Pod | Elsewhere) -> bool:
    if "ipBlock" in rule:
        return isinstance(peer, Elsewhere) and ip_address(peer.address) in ip_network(rule["ipBlock"]["cidr"])
    if isinstance(peer, Pod):
        if "namespaceSelector" in rule and not selects(
            rule["namespaceSelector"], {"kubernetes.io/metadata.name": NAMESPACE}
        ):
            return False
        return selects(rule.get("podSelector", {}), peer.labels)
    return "namespaceSelector" in rule and selects(
        rule["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}
    )


def policies_of(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each.kind == "NetworkPolicy"]


def reached(manifests: list[Manifest], source: Pod | Elsewhere, target: Pod | Elsewhere) -> set[int]:
    """Ports, of the sample, on which one reaches the other."""
    return {port for port in SAMPLE if may(policies_of(manifests), source, target, port)}


@pytest.mark.parametrize("name", ["minimal", "small", "gpu", "ray"])
def test_from_outside_a_pod_is_reached_on_the_ports_of_its_services_alone(name: str) -> None:
    # As if everybody were let in, so that the ports alone decide.
    made = render(merged(VALUES[name], {"networkPolicy": {"inferenceFrom": [], "fleetFrom": []}}))
    services = [each for each in made if each.kind == "Service"]
    for pod in pods(made):
        served = {8000} if pod.labels["app.kubernetes.io/component"] == "inference-ray" else set()
        names = {port["name"]: port["containerPort"] for c in pod.containers for port in c.get("ports", ())}
        for service in services:
            if selects({"matchLabels": service.spec["selector"]}, pod.labels):
                served |= {names[port["targetPort"]] for port in service.spec["ports"]}
        assert reached(made, Elsewhere(), pod) == served, str(pod)


def test_who_is_let_in_can_be_said() -> None:
    made = render(VALUES["small"])
    inference, fleet = pod_of(made, "inference"), pod_of(made, "fleet")
    assert reached(made, Elsewhere(), inference) == set()
    assert reached(made, Elsewhere("ingress"), inference) == {8080, 8081}
    assert reached(made, Elsewhere("monitoring"), inference) == {8080}
    assert reached(made, Elsewhere("monitoring"), fleet) == {9441}
    assert reached(made, Elsewhere(address="203.0.113.9"), fleet) == {9440, 9441}
    assert reached(made, Elsewhere(address="198.51.100.9"), fleet) == set()


def test_parts_reach_what_they_need_and_nothing_else() -> None:
    made = render(VALUES["small"])
    inference, fleet, test = (pod_of(made, name) for name in ("inference", "fleet", "test"))
    database = Elsewhere(address="10.9.0.5")
    for component in ("inference", "fleet", "migrations", "backup"):
        assert reached(made, pod_of(made, component), database) == {5432}
        assert reached(made, pod_of(made, component), Elsewhere()) == set()
        assert reached(made, pod_of(made, component), Elsewhere("kube-system")) == {53}
    assert reached(made, inference, fleet) == reached(made, fleet, inference) == set()
    assert reached(made, test, inference) == {8080}
    assert reached(made, test, fleet) == {9441}
    assert reached(made, test, database) == set()


def test_a_region_reaches_its_root_and_no_other_fleet() -> None:
    made = render(VALUES["region"])
    region = pod_of(made, "fleet")
    assert reached(made, region, Elsewhere(address="203.0.113.9")) == {9440, 9441}
    assert reached(made, region, Elsewhere()) == set()


def test_only_its_operator_reaches_a_ray_clusters_dashboard() -> None:
    made = render(VALUES["ray"])
    service, job = pod_of(made, "inference-ray", "head"), pod_of(made, "job-ray", "head")
    worker = pod_of(made, "inference-ray", "worker")
    assert reached(made, Elsewhere("kuberay-system"), service) == {8000, 8265}
    assert reached(made, Elsewhere("ingress"), service) == {8000}
    assert reached(made, Elsewhere("monitoring"), service) == {8080}
    assert reached(made, Elsewhere("default"), job) == set()
    assert reached(made, pod_of(made, "test"), service) == {8000}
    assert reached(made, worker, service) == set(SAMPLE)
    assert reached(made, worker, job) == reached(made, job, worker) == set()


def test_the_autoscaler_alone_asks_kubernetes() -> None:
    made = render(VALUES["ray"])
    api = Elsewhere(address="10.0.0.1")
    assert reached(made, pod_of(made, "inference-ray", "head"), api) == {6443, 5432}
    assert reached(made, pod_of(made, "inference-ray", "worker"), api) == {5432}
    assert reached(made, pod_of(made, "job-ray", "head"), api) == {6443}
    assert reached(made, pod_of(made, "job-ray", "worker"), api) == set()


def test_without_policies_there_are_none() -> None:
    assert policies_of(render(merged(LEAST, {"networkPolicy": {"enabled": False}}))) == []
