"""Fields of the custom resources that the chart uses, as their definitions have them; those are in no package.

Read off the types of KubeRay 1.5 (``ray-operator/apis/ray/v1``), KEDA 2.17, the Prometheus operator 0.80 and the
Gateway API 1.2. A mapping lists the fields of an object, a list of one the fields of each entry; POD stands for a pod
template, which Kubernetes' own schema checks; None for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

POD: Final = "pod template"

_GROUP: Final = {"rayStartParams": None, "template": POD}
_RAY_CLUSTER: Final[dict[str, Any]] = {
    "rayVersion": None,
    "enableInTreeAutoscaling": None,
    "autoscalerOptions": {
        "version": None,
        "upscalingMode": None,
        "idleTimeoutSeconds": None,
        "securityContext": None,
        "resources": None,
        "image": None,
        "env": None,
    },
    "headGroupSpec": {**_GROUP, "serviceType": None, "headService": None, "enableIngress": None},
    "workerGroupSpecs": [
        {**_GROUP, "groupName": None, "replicas": None, "minReplicas": None, "maxReplicas": None, "numOfHosts": None}
    ],
}
_BACKENDS: Final = [{"name": None, "port": None, "weight": None, "namespace": None}]
_ENDPOINT: Final = {"port": None, "path": None, "interval": None, "scheme": None}

FIELDS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("ray.io/v1", "RayCluster"): _RAY_CLUSTER,
    ("ray.io/v1", "RayService"): {
        "serveConfigV2": None,
        "rayClusterConfig": _RAY_CLUSTER,
        "upgradeStrategy": {
            "type": None,
            "clusterUpgradeOptions": {
                "gatewayClassName": None,
                "maxSurgePercent": None,
                "stepSizePercent": None,
                "intervalSeconds": None,
            },
        },
    },
    ("ray.io/v1", "RayJob"): {
        "entrypoint": None,
        "entrypointNumCpus": None,
        "submissionMode": None,
        "shutdownAfterJobFinishes": None,
        "ttlSecondsAfterFinished": None,
        "activeDeadlineSeconds": None,
        "suspend": None,
        "rayClusterSpec": _RAY_CLUSTER,
    },
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "scaleTargetRef": {"name": None, "kind": None, "apiVersion": None},
        "minReplicaCount": None,
        "maxReplicaCount": None,
        "pollingInterval": None,
        "cooldownPeriod": None,
        "fallback": {"failureThreshold": None, "replicas": None, "behavior": None},
        "triggers": [
            {
                "type": None,
                "metricType": None,
                "metadata": {"serverAddress": None, "query": None, "threshold": None, "activationThreshold": None},
                "authenticationRef": None,
            }
        ],
    },
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "selector": None,
        "jobLabel": None,
        "endpoints": [
            {
                **_ENDPOINT,
                "tlsConfig": {"serverName": None, "ca": {"secret": {"name": None, "key": None}}},
                "authorization": {"type": None, "credentials": {"name": None, "key": None}},
            }
        ],
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {"selector": None, "podMetricsEndpoints": [_ENDPOINT]},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {
        "groups": [
            {
                "name": None,
                "interval": None,
                "rules": [
                    {
                        "alert": None,
                        "record": None,
                        "expr": None,
                        "for": None,
                        "keep_firing_for": None,
                        "labels": None,
                        "annotations": None,
                    }
                ],
            }
        ]
    },
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {
        "parentRefs": None,
        "hostnames": None,
        "rules": [{"matches": [{"path": {"type": None, "value": None}}], "backendRefs": _BACKENDS}],
    },
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): {
        "parentRefs": None,
        "hostnames": None,
        "rules": [{"matches": [{"method": {"type": None, "service": None, "method": None}}], "backendRefs": _BACKENDS}],
    },
}


def unknown_fields(value: Any, known: Any, path: str = "spec") -> Iterator[str]:
    """Paths of fields that the definition does not have."""
    if isinstance(known, list):
        for place, entry in enumerate(value):
            yield from unknown_fields(entry, known[0], f"{path}[{place}]")
    elif isinstance(known, dict):
        for key, inner in value.items():
            if key not in known:
                yield f"{path}.{key}"
            else:
                yield from unknown_fields(inner, known[key], f"{path}.{key}")
