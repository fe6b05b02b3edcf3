"""The chart's pods and objects as checkov sees them; what it finds is mended, or the reason stands here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from shutil import which
from typing import Any, Final

import pytest
import yaml
from tests.support.chart import NAMESPACE, ci_values, merged, pods, render

VALUES: Final = ci_values()
# By check: why it does not fit.
ACCEPTED: Final = {
    "CKV_K8S_11": "limits of processor time slow a pod down while the node idles; requests and memory are limited",
}
# And where it fits others: what runs once has no probes, KubeRay gives Ray's pods theirs, and a head with its
# autoscaler asks Kubernetes for machines.
ACCEPTED_OF: Final = {
    "CKV_K8S_8": ("-test-", ".ray-"),
    "CKV_K8S_9": ("-test-", ".ray-"),
    "CKV_K8S_38": (".ray-head-",),
}
# As one installs it: the image by its digest.
DIGEST: Final = {"image": {"digest": f"sha256:{64 * 'a'}"}, "ray": {"image": {"digest": f"sha256:{64 * 'b'}"}}}


def test_checkov_has_nothing_to_say(tmp_path: Path) -> None:
    for name, values in VALUES.items():
        made = render(merged(values, DIGEST))
        objects = [each.body for each in made]
        # In objects of KubeRay it would not look for pods.
        objects += [
            _pod(f"ray-{pod.labels['ray.io/node-type']}-{number}", pod.labels, pod.spec)
            for number, pod in enumerate(pods(made))
            if pod.owner.body["apiVersion"].startswith("ray.io/")
        ]
        for each in objects:
            # Where Helm puts them.
            each["metadata"]["namespace"] = NAMESPACE
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    found = _checkov(tmp_path, ACCEPTED)
    assert found["summary"]["resource_count"] > 50
    wrong = [
        f"{each['check_id']} {each['check_name']}: {each['resource']} of {each['file_path']}"
        for each in found["results"]["failed_checks"]
        if not any(part in each["resource"] for part in ACCEPTED_OF.get(each["check_id"], ()))
    ]
    assert wrong == []


def test_what_is_accepted_is_still_found(tmp_path: Path) -> None:
    """So that a reason goes when what it excuses does; and checkov looks at pods at all."""
    objects = [each.body for each in render(merged(VALUES["small"], DIGEST))]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    root = _pod("root", {}, {"containers": [{"name": "c", "image": "c", "securityContext": {"privileged": True}}]})
    (tmp_path / "root.yaml").write_text(yaml.safe_dump(root), encoding="utf-8")
    found = {each["check_id"] for each in _checkov(tmp_path)["results"]["failed_checks"]}
    assert {*ACCEPTED, "CKV_K8S_16"} <= found


def _pod(name: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _checkov(folder: Path, skipped: Iterable[str] = ()) -> dict[str, Any]:
    beside = Path(sys.executable).with_name("checkov")
    program = str(beside) if beside.exists() else which("checkov")
    if program is None:
        pytest.skip("checkov is not installed; it pins what others pin otherwise, so: pipx install checkov==3.3.30")
    named = ",".join(skipped)
    skip = ("--skip-check", named) if named else ()
    command = (program, "-d", str(folder), "--framework", "kubernetes", "--quiet", "--compact", "-o", "json", *skip)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
