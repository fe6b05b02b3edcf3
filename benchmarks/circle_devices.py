"""The circle of `benchmarks.circle` with devices that are processes, over TLS: one seed, and the same arrays.

    python -m benchmarks.circle_devices --data-dir DIR [--words] [--seed 0] [--rounds 20] [--without-replay]

Each participant is a device of a fleet that is brought up by the commands people type: it enrols, imports its person's
labelled clips (`edge examples import --consent`), and learns in `fleet run`; the run's bundle is signed, rolled out and
fetched. Before and after, in UAR, are answers of the bundle that a device had and of the one that it fetched, for the
participants' other clips, for who stayed out (without any device), and for the guard.

The same federation is then repeated without sockets: the same examples, answered in this process, message by message.
``rounds_equal`` counts rounds whose arrays are the same, bit for bit, and ``rounds_apart`` says how far those of the
last round are apart, as a share of what was learned. Prints one JSON object.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from flwr.app import Context, Message
from numpy.typing import NDArray
from tests.support.in_process_grid import InProcessGrid

from benchmarks.circle import SETTINGS, Answers, Rows, divided, material, replay_of
from benchmarks.speakers import uar_of
from fedaffect import EdgeRuntime
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.training_data import OwnExamples, training_data_of
from fedaffect.client.flower_messages import answer_message
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import task_key
from fedaffect.edge.bundle import Bundle, usual_bundle_path
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.demo.local_fleet import LocalFleet
from fedaffect.server.demo.machines import Machine
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.public_data import public_of
from fedaffect.server.starting_point import start_of

_RUN = "circle"


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--words", is_flag=True, help="MELD's speakers and EmoryNLP instead of nEMO's and RAVDESS.")
@click.option("--seed", default=0, show_default=True)
@click.option("--rounds", default=int(SETTINGS["rounds"]), show_default=True)
@click.option("--without-replay", is_flag=True)
def main(data_dir: Path, words: bool, seed: int, rounds: int, without_replay: bool) -> None:
    """Measure and print."""
    spoken, guard = material(data_dir, words=words, dev=False)
    splits = divided(spoken, seed)
    groups = {"took_part": splits["dev"], "stayed_out": splits["test"], "guard": guard}
    base = Bundle.load(usual_bundle_path())
    with TemporaryDirectory(prefix="circle-") as name:
        folder = Path(name)
        fleet = LocalFleet(folder, base)
        _share_features(fleet.server)
        began = time.perf_counter()
        try:
            fleet.bring_up()
            people = sorted({who for _, _, who in splits["train"]})
            for number, who in enumerate(people):
                machine = fleet.join(f"device-{number}")
                table = _table(machine.folder / "clips.tsv", [row for row in splits["train"] if row[2] == who])
                machine.types("edge", "examples", "import", str(table), "--consent")
            ready_s = time.perf_counter() - began
            settings: dict[str, Any] = {
                "lr": SETTINGS["lr"],
                "local-epochs": SETTINGS["local_epochs"],
                "modality-dropout": 0.0,
            }
            settings |= {"seed": seed, "clients-per-round": len(people), "min-devices": len(people)}
            # What the guard here loses is what is measured; it stops nothing.
            settings |= {"replay": "" if without_replay else replay_of(data_dir, words=words), "guard-loss": 100}
            for _ in fleet.learn(_RUN, rounds, [f"{key}={value}" for key, value in settings.items()]):
                pass
            learned_s = time.perf_counter() - began - ready_s
            fleet.wait_until(fleet.all_updated, "the new bundle on every device")
        finally:
            fleet.stop()
        found: dict[str, float] = {}
        fetched = next(iter(fleet.devices.values())).bundles.current(verify=False)
        for when, bundle in (("before", base), ("after", fetched)):
            with EdgeRuntime.load(bundle) as runtime:
                answers = Answers(runtime)
                found |= {f"{group}_{when}": uar_of(answers.shared(rows), rows) for group, rows in groups.items()}
        said = {name: round(value, 4) for name, value in sorted(found.items())}
        about = {"devices": len(people), "rounds": rounds, **_compared(fleet, folder / "repeated")}
        seconds = {"ready_s": round(ready_s), "learned_s": round(learned_s)}
        print(json.dumps({"seed": seed, **said, **about, **seconds, "load": round(os.getloadavg()[0], 1)}))


def _share_features(server: Machine) -> None:
    """Public clips that were encoded on this machine before are not encoded again."""
    features = cache_folder() / "features"
    features.mkdir(parents=True, exist_ok=True)
    (server.folder / "cache").mkdir()
    (server.folder / "cache" / "features").symlink_to(features)


def _table(path: Path, rows: Rows) -> Path:
    """A person's clips as `edge examples import` reads them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(("file", "text", "label", "speaker"))
        table.writerows((sample.audio or "", sample.text or "", label, who) for sample, label, who in rows)
    return path


class Held(InProcessGrid):
    """Clients that hold what devices hold, and answer in this process."""

    def __init__(self, devices: list[Machine]) -> None:
        super().__init__(len(devices))
        self._data = [_Examples(machine) for machine in devices]

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        """As a device's trainer answers, without its rules: these have been asked already."""
        return answer_message(message, context, self._data[partition])


class _Examples:
    def __init__(self, machine: Machine) -> None:
        with _at(machine):
            data, _ = training_data_of(DeviceFolder.open(machine.folder / "device").settings)
        assert isinstance(data, OwnExamples)
        self._cohort = data._cohort

    def opened(self, config: Mapping[str, Any], context: Context) -> tuple[ClientTask, int]:
        _, model, options = task_key(config)
        assert self._cohort is not None
        return ClientTask(self._cohort, model, json.loads(options)), 0


@contextmanager
def _at(machine: Machine) -> Iterator[None]:
    """With a machine's folders as this process's own."""
    before = dict(os.environ)
    os.environ.update(machine.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _compared(fleet: LocalFleet, out: Path) -> dict[str, float]:
    """How many rounds have the arrays of the same federation in this process, and how far the last one is apart."""
    done = RunFolder.open(fleet.folder.runs / _RUN)
    (cohort,) = (fleet.folder.path / "cohorts").iterdir()
    config = done.config.changed(out=out)
    repeated = RunFolder.create(config)
    held = Held(list(fleet.devices.values()))
    # The fleet's bundle is believed there, and what was encoded of public clips lies there.
    with _at(fleet.server):
        start, public = start_of(config), public_of(config)
        run_federation(held, config, cohort, repeated, start=start, public=public)

    def arrays(folder: RunFolder, number: int) -> NDArray[np.float64]:
        loaded = folder.checkpoints.load(number).arrays
        return np.concatenate([np.ravel(loaded[name]).astype(np.float64) for name in sorted(loaded)])

    numbers = sorted(done.checkpoints.rounds())
    equal = sum(bool((arrays(done, number) == arrays(repeated, number)).all()) for number in numbers)
    first, last, other = arrays(done, numbers[0]), arrays(done, numbers[-1]), arrays(repeated, numbers[-1])
    apart = float(np.linalg.norm(last - other) / max(float(np.linalg.norm(last - first)), 1e-12))
    return {"rounds_equal": equal, "rounds_apart": apart}


if __name__ == "__main__":
    main()
