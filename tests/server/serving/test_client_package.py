"""The npm package of the generated client: packed, compiled against, and used by Node against a server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.small_engine import SmallEngine

from fedaffect.server.serving.app import background

WEB = Path(__file__).resolve().parents[3] / "server" / "web"
MODULES = WEB / "node_modules"
EXAMPLE = """
import { connect, type Answer, type Prediction } from "fedaffect-client";

export const faces = (answer: Answer): number => answer.faces?.length ?? 0;
const asked = await connect(process.argv[2] ?? "").POST("/v1/predict", { body: { text: "well" } });
const answer: Prediction | undefined = asked.data;
console.log(answer?.label, answer?.modalities.join());
"""

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None or not (MODULES / ".bin" / "tsc").exists(), reason="npm ci in server/web first"
)


def run(*command: str, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)


def test_the_package_is_typed_and_works(tmp_path: Path) -> None:
    packed = run("npm", "pack", "--silent", "--pack-destination", str(tmp_path), at=WEB / "packages" / "client")
    assert packed.returncode == 0, packed.stdout + packed.stderr
    unpacked = tmp_path / "node_modules" / "fedaffect-client"
    unpacked.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", next(tmp_path.glob("*.tgz")), "-C", unpacked, "--strip-components", "1"], check=True)
    for name in ("openapi-fetch", "openapi-typescript-helpers"):
        (tmp_path / "node_modules" / name).symlink_to(MODULES / name)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    declared = "declare const process: { argv: string[] };\n"
    compiler = [str(MODULES / ".bin" / "tsc"), "--strict", "--module", "nodenext", "--target", "es2023"]
    compiler += ["--lib", "es2023,dom"]
    (tmp_path / "example.ts").write_text(declared + EXAMPLE)
    compiled = run(*compiler, "example.ts", at=tmp_path)
    assert compiled.returncode == 0, compiled.stdout
    (tmp_path / "wrong.ts").write_text(declared + EXAMPLE.replace('"/v1/predict"', '"/v1/predicted"'))
    refused = run(*compiler, "--noEmit", "wrong.ts", at=tmp_path)
    assert "/v1/predicted" in refused.stdout
    with background(SmallEngine()) as server:
        said = run("node", "example.js", server.rest_url, at=tmp_path)
    assert said.stdout.split()[1:] == ["text"], said.stderr
