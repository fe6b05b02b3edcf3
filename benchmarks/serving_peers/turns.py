"""The full model with and without a server, question by question in turns: both meet the same machine.

As a process (``python -m benchmarks.serving_peers.turns PROFILE PRECISION DEVICE COUNT [DATA_DIR]``) it is the side
without: it reads the number of a question a line and prints how many milliseconds the answer took.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.serving_peers.questions import Asked, questions
from benchmarks.serving_peers.servers import ROOT
from fedaffect.server.models.full_model import Compute, FullModel
from fedaffect.server.serving.engines.inference import Inference, Question
from fedaffect.server.serving.engines.intake import take_in

_HEADERS = {"content-type": "application/json"}
_WARM = 3


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the way over the socket adds to an answer.

    Parameters
    ----------
    served_p50_ms, bare_p50_ms : float
        One caller at a time.
    added_p50_ms : float
        Median over questions of the difference within a pair.
    """

    served_p50_ms: float
    bare_p50_ms: float
    added_p50_ms: float


def overhead(
    url: str, asked: list[Asked], profile: str, precision: str, device: str, rounds: int, data_dir: Path | None = None
) -> Overhead:
    """Ask the server and the bare model each question ``rounds`` times, one after the other, who is first in turns.

    ``asked`` are `questions` of as many, of ``data_dir``.
    """
    command = [sys.executable, "-m", "benchmarks.serving_peers.turns", profile, precision, device, str(len(asked))]
    command += [] if data_dir is None else [str(data_dir)]
    pipe = subprocess.PIPE
    line = http.client.HTTPConnection(url.split("/")[2], timeout=600)
    with closing(line), subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as bare:
        if bare.stdin is None or bare.stdout is None:
            raise RuntimeError("the bare model has no pipes")
        bare.stdout.readline()

        def served_ms(place: int) -> float:
            began_s = time.perf_counter()
            line.request("POST", "/v1/predict", asked[place].body, _HEADERS)
            reply = line.getresponse()
            reply.read()
            if reply.status != 200:
                raise RuntimeError(f"the server answered {reply.status}")
            return (time.perf_counter() - began_s) * 1000

        def bare_ms(place: int) -> float:
            bare.stdin.write(f"{place}\n")  # type: ignore[union-attr]
            return float(bare.stdout.readline())  # type: ignore[union-attr]

        pairs = []
        for number in range(-_WARM, rounds * len(asked)):
            place = number % len(asked)
            if number % 2:
                first = served_ms(place)
                pair = (first, bare_ms(place))
            else:
                second = bare_ms(place)
                pair = (served_ms(place), second)
            if number >= 0:
                pairs.append(pair)
        bare.stdin.close()
    served, alone = np.array(pairs).T
    return Overhead(float(np.median(served)), float(np.median(alone)), float(np.median(served - alone)))


def _answer(profile: str, precision: str, device: str, count: str, *data_dir: str) -> None:
    torch.set_num_threads(1)
    asked = [one.sample for one in questions(int(count), *map(Path, data_dir))]
    model = FullModel.random(profile, Compute(device=device, precision=precision))
    inference = Inference(model)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        began_s = time.perf_counter()
        inference([Question(prepared=take_in(asked[int(line)], model.encoders, None).prepared)])
        sys.stdout.write(f"{(time.perf_counter() - began_s) * 1000}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _answer(*sys.argv[1:])
