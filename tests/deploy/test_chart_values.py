"""What a value of the chart changes, template by template."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.support.chart import LEAST, ci_values, merged, one, pod_of, pods, ray_cluster, render
from tests.support.pages import ROOT, Page

VALUES = ci_values()


def inference(more: dict[str, Any]) -> dict[str, Any]:
    """The first container of an inference pod."""
    container: dict[str, Any] = pod_of(render(merged(LEAST, {"inference": more})), "inference").containers[0]
    return container


def flags(container: dict[str, Any]) -> dict[str, str]:
    """Options of a command line with a value each."""
    words = container["args"]
    return {words[i]: words[i + 1] for i in range(len(words) - 1) if words[i].startswith("--")}


def test_inference_is_told_what_the_values_say() -> None:
    told = flags(inference({"keepSessionsDays": 0, "maxBodyMb": 8, "deadlineMs": 2500000, "precision": "int8"}))
    assert told["--host"] == "0.0.0.0"
    assert (told["--model"], told["--precision"], told["--keep-sessions"]) == ("default", "int8", "0")
    assert (told["--max-body-mb"], told["--deadline-ms"]) == ("8", "2500000")
    assert "--transcribe" in inference({"transcribe": True})["args"]
    assert inference({"cors": ["https://a.example", "https://b.example"]})["args"].count("--cors") == 2


def test_tls_of_the_pods_is_mounted_told_and_probed() -> None:
    container = inference({"tls": {"secretName": "pair"}})
    assert flags(container)["--tls-key"] == "/tls/tls.key"
    assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in container["volumeMounts"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert inference({})["readinessProbe"]["httpGet"]["scheme"] == "HTTP"


def test_gpus_are_asked_for_beside_memory_and_nodes_chosen() -> None:
    pod = pod_of(render(VALUES["gpu"]), "inference")
    assert pod.containers[0]["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "4Gi"}
    assert flags(pod.containers[0])["--device"] == "cuda"
    assert pod.spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert pod.spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod.containers[0]["image"].endswith("@sha256:" + "a" * 64)
    (secret,) = (volume["secret"] for volume in pod.spec["volumes"] if volume["name"] == "registry")
    assert secret["items"] == [{"key": "service", "path": "pg_service.conf"}]


def test_one_thing_alone_says_how_many_pods_there_are() -> None:
    fixed = one(render(merged(LEAST, {"inference": {"replicas": 3}})), "Deployment")
    assert fixed.spec["replicas"] == 3
    for name in ("small", "gpu"):
        assert "replicas" not in one(render(VALUES[name]), "Deployment").spec
    scaled = one(render(VALUES["gpu"]), "ScaledObject")
    assert scaled.spec["triggers"][0]["metadata"] == {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": 'sum(fedaffect_queue_depth{namespace="affect",service="demo-fedaffect-inference"})',
        "threshold": "4",
    }
    assert scaled.spec["scaleTargetRef"]["name"] == fixed.name
    by_processor = one(render(VALUES["small"]), "HorizontalPodAutoscaler")
    assert (by_processor.spec["minReplicas"], by_processor.spec["maxReplicas"]) == (2, 4)
    assert by_processor.spec["scaleTargetRef"]["name"] == fixed.name


def test_the_queue_that_keda_reads_is_one_that_the_server_shows() -> None:
    from fedaffect.server.serving.gateway.metrics import Metrics

    assert b"\nfedaffect_queue_depth " in Metrics().text()


def test_pods_have_time_to_finish() -> None:
    pod = pod_of(render(merged(LEAST, {"inference": {"drainSeconds": 45}})), "inference")
    assert flags(pod.containers[0])["--drain-s"] == "45"
    assert pod.spec["terminationGracePeriodSeconds"] == 75


def test_the_budget_and_the_affinity_go_where_they_are_not_wanted() -> None:
    off = {"inference": {"podDisruptionBudget": {"enabled": False}, "sessionAffinity": False}}
    made = render(merged(LEAST, off))
    assert "PodDisruptionBudget" not in {each.kind for each in made}
    assert "sessionAffinity" not in one(made, "Service").spec
    assert one(render(LEAST), "Service").spec["sessionAffinity"] == "ClientIP"


def test_migrations_run_before_anything_new() -> None:
    made = render(LEAST)
    hook = one(made, "Job").body["metadata"]["annotations"]
    assert hook["helm.sh/hook"] == "pre-install,pre-upgrade"
    # The account is not there yet.
    assert "serviceAccountName" not in pod_of(made, "migrations").spec
    assert "Job" not in {each.kind for each in render(merged(LEAST, {"migrations": {"enabled": False}}))}


def test_the_fleet_is_made_once_for_the_names_that_devices_use() -> None:
    made = render(VALUES["small"])
    first, running = pod_of(made, "fleet").containers
    assert "--if-missing" in first["args"]
    assert [first["args"][i + 1] for i, word in enumerate(first["args"]) if word == "--host"] == [
        "fleet.example.org",
        "203.0.113.7",
    ]
    assert running["args"][-1] == first["args"][first["args"].index("--fleet") + 1]
    stateful = one(made, "StatefulSet").spec
    assert stateful["replicas"] == 1
    assert stateful["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    # Keys that became the group's are refused by the fleet.
    assert pod_of(made, "fleet").spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    service = one(made, "Service", "-fleet").spec
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    alone = render(VALUES["fleet"])
    assert one(alone, "StatefulSet").spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert "externalTrafficPolicy" not in one(alone, "Service", "-fleet").spec


def test_a_region_joins_its_root_once_by_a_secret() -> None:
    made = render(VALUES["region"])
    _, join, _ = pod_of(made, "fleet").containers
    assert join["args"][:4] == ["fleet", "region", "join", "--if-missing"]
    assert join["args"][join["args"].index("--root") + 1] == "https://fleet.example.org:9441"
    assert join["args"][join["args"].index("--name") + 1] == "north"
    token = next(each for each in join["env"] if each["name"] == "FEDAFFECT_REGION_TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": "region-north", "key": "token", "optional": True}
    assert "region" not in str(pod_of(render(VALUES["fleet"]), "fleet").containers)


def test_routes_lead_to_the_service_that_there_is() -> None:
    small, gpu = render(VALUES["small"]), render(VALUES["gpu"])
    rule = one(small, "Ingress").spec["rules"][0]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert (rule["host"], backend) == (
        "affect.example.org",
        {"name": "demo-fedaffect-inference", "port": {"number": 8080}},
    )
    assert one(gpu, "HTTPRoute").spec["rules"][0]["backendRefs"] == [{"name": "demo-fedaffect-inference", "port": 8080}]
    assert one(gpu, "GRPCRoute").spec["rules"][0]["backendRefs"][0]["port"] == 8081
    from fedaffect.edge.cloud.proto import affect_pb2

    service = one(gpu, "GRPCRoute").spec["rules"][0]["matches"][0]["method"]["service"]
    assert service == affect_pb2.DESCRIPTOR.services_by_name["Affect"].full_name
    route = {"gatewayRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}}
    on_ray = render(merged(VALUES["ray"], route))
    assert one(on_ray, "HTTPRoute").spec["rules"][0]["backendRefs"] == [
        {"name": "demo-fedaffect-inference-serve-svc", "port": 8000}
    ]
    assert "GRPCRoute" not in {each.kind for each in on_ray}


def test_a_ray_service_moves_as_it_is_told() -> None:
    service = one(render(VALUES["ray"]), "RayService").spec
    assert service["upgradeStrategy"] == {
        "type": "NewClusterWithIncrementalUpgrade",
        "clusterUpgradeOptions": {
            "gatewayClassName": "istio",
            "maxSurgePercent": 25,
            "stepSizePercent": 5,
            "intervalSeconds": 10,
        },
    }
    # The strategy shifts capacity by Ray's own autoscaler.
    assert service["rayClusterConfig"]["enableInTreeAutoscaling"] is True
    plain = one(render(merged(VALUES["ray"], {"ray": {"upgrade": {"type": "NewCluster"}}})), "RayService").spec
    assert plain["upgradeStrategy"] == {"type": "NewCluster"}


def test_groups_of_a_ray_cluster_have_their_nodes_and_gpus() -> None:
    made = render(VALUES["ray"])
    cluster = ray_cluster(one(made, "RayService"))
    assert cluster is not None
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    gateways, gpu = cluster["workerGroupSpecs"]
    assert (gpu["minReplicas"], gpu["maxReplicas"]) == (1, 4)
    limits = gpu["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": "1", "cpu": "8", "memory": "32Gi"}
    assert gpu["template"]["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert "nvidia.com/gpu" not in gateways["template"]["spec"]["containers"][0]["resources"]["limits"]
    mounts = gpu["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in mounts
    budget = one(made, "PodDisruptionBudget").spec["selector"]["matchLabels"]
    assert budget["ray.io/node-type"] == "worker"


def test_a_ray_pods_probe_says_what_ray_says(tmp_path: Path) -> None:
    made = render(VALUES["ray"])
    head, worker, job = (
        pod_of(made, component, node_type).containers[0]
        for component, node_type in (("inference-ray", "head"), ("inference-ray", "worker"), ("job-ray", "worker"))
    )
    asked = {name: c["readinessProbe"]["exec"]["command"] for name, c in (("h", head), ("w", worker), ("j", job))}
    assert [url.rpartition("/")[2] for url in asked["h"][3:]] == ["local_raylet_healthz", "gcs_healthz"]
    # A machine without a replica has no proxy, and gets no requests.
    assert asked["w"][-1] == "http://localhost:8000/-/healthz"
    assert len(asked["j"][3:]) == len(worker["livenessProbe"]["exec"]["command"][3:]) == 1
    for said, code in (("success", 0), ("no", 1)):
        (tmp_path / said).write_text(said)
        url = (tmp_path / said).as_uri()
        assert subprocess.run([sys.executable, *asked["j"][1:3], url], check=False).returncode == code


def test_jobs_are_lines_of_a_shell_with_their_words_as_they_were() -> None:
    made = render(VALUES["ray"])
    meld, encoders = one(made, "RayJob", "-meld"), one(made, "RayJob", "-encoders")
    assert shlex.split(meld.spec["entrypoint"]) == [
        *("fedaffect", "simulate", "--ray-address", "auto", "--out", "/runs", "--name", "meld"),
        *("--dataset", "meld", "--data-dir", "/data/MELD", "--rounds", "50"),
    ]
    words = shlex.split(encoders.spec["entrypoint"])
    assert words[words.index("--workers") + 1] == "2"
    assert words[-1] == "/data/a folder/it's"
    assert (encoders.spec["suspend"], encoders.spec["activeDeadlineSeconds"]) == (True, 7200)
    assert meld.spec["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 4
    # Simulations know no registry.
    assert not [pod for pod in pods([meld]) if pod.labels.get("fedaffect/registry")]


def test_backups_go_when_there_are_new_ones() -> None:
    script = pod_of(render(VALUES["small"]), "backup").containers[0]["args"][0].splitlines()
    assert script[1] == 'fedaffect server registry backup "/backups/registry-$at"'
    assert "-mtime +7 " in script[2]
    other = merged(VALUES["small"], {"backup": {"portable": True}})
    assert "--portable" in pod_of(render(other), "backup").containers[0]["args"][0]


def test_monitors_send_a_key_that_they_name() -> None:
    made = render(VALUES["small"])
    endpoint = one(made, "ServiceMonitor", "-inference").spec["endpoints"][0]
    assert endpoint["authorization"]["credentials"] == {"name": "metrics-key", "key": "key"}
    assert endpoint["scheme"] == "https"
    assert one(made, "ServiceMonitor", "-inference").body["metadata"]["labels"]["release"] == "prometheus"
    for part, job in (("inference", "fedaffect-cloud"), ("fleet", "fedaffect-fleet")):
        label = one(made, "ServiceMonitor", f"-{part}").spec["jobLabel"]
        assert one(made, "Service", f"-{part}").body["metadata"]["labels"][label] == job
    fleet = one(made, "ServiceMonitor", "-fleet").spec["endpoints"][0]
    assert fleet["authorization"] == endpoint["authorization"]
    assert fleet["tlsConfig"] == {
        "serverName": "fleet.example.org",
        "ca": {"secret": {"name": "fleet-authority", "key": "ca.pem"}},
    }
    ports = pod_of(render(VALUES["ray"]), "inference-ray").containers[0]["ports"]
    assert one(render(VALUES["ray"]), "PodMonitor").spec["podMetricsEndpoints"][0]["port"] in {p["name"] for p in ports}


def test_labels_accounts_and_further_objects() -> None:
    made = render(VALUES["small"])
    pod = pod_of(made, "inference")
    assert pod.labels["team"] == "affect"
    assert (pod.spec["serviceAccountName"], pod.spec["priorityClassName"]) == ("affect", "standard")
    assert pod.spec["imagePullSecrets"] == [{"name": "pull"}]
    assert one(made, "ServiceAccount").body["metadata"]["annotations"] == {"example/role": "reader"}
    assert pod_of(render(VALUES["gpu"]), "inference").spec["serviceAccountName"] == "default"
    assert {each.name for each in made if each.template == "extra-objects.yaml"} == {"demo-more", "demo-text"}


def test_helm_test_asks_each_part_through_its_service() -> None:
    asked = pod_of(render(VALUES["small"]), "test").containers[0]["args"][1:]
    assert asked == [
        "https://demo-fedaffect-inference:8080/readyz",
        "https://demo-fedaffect-fleet:9441/readyz",
    ]
    on_ray = pod_of(render(VALUES["ray"]), "test").containers[0]["args"][1:]
    assert on_ray == ["http://demo-fedaffect-inference-serve-svc:8000/readyz"]


def test_the_guides_values_install() -> None:
    blocks = [block.text for block in Page(ROOT / "docs/guides/kubernetes.md").blocks() if block.language == "yaml"]
    assert len(blocks) == 5
    for block in blocks:
        assert render(yaml.safe_load(block))
