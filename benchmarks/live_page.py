"""The live page in Chromium against a server on loopback: lag, answers and boxes a second, and memory of both.

``python -m benchmarks.live_page --seconds 60``; a soak is ``--seconds 1800 --stretch 60``. Needs ``npm ci`` in
``server/web``, Chromium, and the weights of the default model. With ``--portrait`` the camera shows that picture;
without, a drawn face that goes to and fro. The microphone plays what the voice detector takes for a voice.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
from PIL import Image
from tests.support.server_process import serving

from fedaffect.edge.runtime.probes import drawn_face, spoken

_WEB = Path(__file__).parents[1] / "server" / "web"


def camera_file(path: Path, portrait: Path | None) -> Path:
    """Two seconds at 15 pictures a second, 640 x 480, as YUV4MPEG."""
    height, width = 480, 640
    face = None if portrait is None else Image.open(portrait).convert("RGB").resize((300, 300))
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F15:1 Ip A1:1 C420jpeg\n" % (width, height))
        for at in range(30):
            left = 200 + round(60 * np.sin(2 * np.pi * at / 30))
            scene = Image.fromarray(drawn_face(at=(120, left)))
            if face is not None:
                scene = Image.new("RGB", (width, height), (120, 120, 120))
                scene.paste(face, (left - 30, 90))
            planes = np.asarray(scene.convert("YCbCr"))
            file.write(b"FRAME\n" + planes[:, :, 0].tobytes())
            file.write(planes[::2, ::2, 1].tobytes() + planes[::2, ::2, 2].tobytes())
    return path


def microphone_file(path: Path) -> Path:
    """Three seconds, 16 kHz."""
    sound = np.clip(spoken().samples, -1, 1) * 32767
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(sound.astype("<i2").tobytes())
    return path


def resident_mb(pid: int) -> float:
    """Memory of a process, in MB."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--stretch", type=float, default=20, help="seconds that a row is about")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--portrait", type=Path)
    asked = parser.parse_args()
    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory(prefix="fedaffect-") as name:
        folder = Path(name)
        with serving(folder, "default", "--precision", asked.precision) as server:
            environment = os.environ | {
                "PAGE_URL": server.rest_url,
                "CHROMIUM": str(chromium),
                "CAMERA_FILE": str(camera_file(folder / "camera.y4m", asked.portrait)),
                "MICROPHONE_FILE": str(microphone_file(folder / "microphone.wav")),
                "SECONDS": str(asked.seconds),
                "STRETCH_S": str(asked.stretch),
            }
            print("| after | load | answers /s | boxes /s | frames /s | lag p50 | lag p95 | page | server |")
            print("|---|---|---|---|---|---|---|---|---|")
            began_s = time.monotonic()
            command = ["node", "benchmarks/live.mjs"]
            with subprocess.Popen(command, cwd=_WEB, env=environment, stdout=subprocess.PIPE, text=True) as browser:
                for line in browser.stdout or ():
                    row, server_mb = json.loads(line), resident_mb(server.process.pid)
                    print(
                        f"| {time.monotonic() - began_s:.0f} s | {os.getloadavg()[0]:.1f} | {row['answers_per_s']:.1f} "
                        f"| {row['boxes_per_s']:.0f} | {row['frames_per_s']:.0f} | {row['lag_p50_ms']} ms "
                        f"| {row['lag_p95_ms']} ms | {row['page_mb']:.1f} MB | {server_mb:.0f} MB |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
