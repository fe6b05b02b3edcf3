"""What the bundle in the page costs, in Chromium with a constructed face and voice for camera and microphone.

Run ``python benchmarks/in_browser.py`` where Chromium, `npm ci` in server/web, `make web` and a bundle are. It prints
the bytes from a cold cache, the time to the first answer, boxes, answers and frames a second, and an answer by threads.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.browser_samples import answered, camera_of_face, microphone_of_voice, samples  # noqa: E402
from tests.support.small_engine import SmallEngine  # noqa: E402

from fedaffect import EdgeRuntime  # noqa: E402
from fedaffect.edge.bundle import usual_bundle_path  # noqa: E402
from fedaffect.server.serving.app import background  # noqa: E402
from fedaffect.server.serving.gateway.bundle_files import BundleShelf, ServedBundle  # noqa: E402

WEB = ROOT / "server" / "web"
ASSETS = ROOT / "server" / "fedaffect" / "server" / "serving" / "http" / "page" / "assets"


def main() -> int:
    bundle = usual_bundle_path()
    with TemporaryDirectory() as name, EdgeRuntime.load(bundle) as runtime:
        folder = Path(name)
        given = {each: answered(runtime, sample) for each, sample in samples(None).items()}
        (folder / "samples.json").write_text(json.dumps(given))
        shelf = BundleShelf(bundle, folder / "packed")
        shelf.warm(ServedBundle.of_folder(bundle))
        with background(SmallEngine(), shelf=shelf) as server:
            environment = {
                **os.environ,
                "MEASURE": "1",
                "PAGE_URL": server.rest_url,
                "WORKER": next(ASSETS.glob("worker-*.js")).name,
                "SAMPLES": str(folder / "samples.json"),
                "CHROMIUM": str(shutil.which("chromium")),
                "CAMERA_FILE": str(camera_of_face(folder / "camera.y4m")),
                "MICROPHONE_FILE": str(microphone_of_voice(folder / "microphone.wav")),
                "OUT": str(folder / "out"),
            }
            command = [str(WEB / "node_modules" / ".bin" / "playwright"), "test", "inbrowser.measure"]
            return subprocess.run(command, cwd=WEB, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
