"""`fedaffect server align`: adapters for the cloud's encoders, before the trunk that devices learned."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from fedaffect.edge.errors import ConfigError

_HEADS = click.Choice(["shared", "deep", "own"])


class Corpus(click.ParamType):  # type: ignore[type-arg]
    """``NAME=DIR``."""

    name = "NAME=DIR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """A corpus and where it lies."""
        name, equals, folder = str(value).partition("=")
        if not equals or not folder:
            self.fail(f"{value!r} is not NAME=DIR, as in meld=data/meld", param, ctx)
        return name, Path(folder).expanduser()


@click.command()
@click.option(
    "--fusion",
    type=click.Path(path_type=Path),
    help="What devices learned: safetensors or a run folder.  [default: the one that comes with fedaffect]",
)
@click.option("--profile", default="cloud-embedded", show_default=True, help="Encoders to fit adapters for.")
@click.option("--data", "corpora", type=Corpus(), multiple=True, required=True, help="Calibration data; repeatable.")
@click.option("--head", type=_HEADS, default="shared", show_default=True, help="What is fitted.")
@click.option("--text", metavar="PATH_OR_HUB_ID", help="A model of words instead of the profile's.")
@click.option("--speech", metavar="PATH_OR_HUB_ID", help="A model of voices instead of the profile's.")
@click.option("--vision", metavar="PATH_OR_HUB_ID", help="A model of pictures instead of the profile's.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Edge bundle, for profile edge-features.")
@click.option("--voice-copies", type=click.IntRange(0), default=2, show_default=True, help="Varied copies of clips.")
@click.option("--layers", type=click.IntRange(1, 6), default=1, show_default=True, help="Further ones of --head deep.")
@click.option("--steps", type=click.IntRange(1), default=2400, show_default=True, help="Batches of 32.")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--evenness", type=click.FloatRange(0, 1), default=0.55, show_default=True, help="1: all classes alike.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of fresh weights and draws.")
@click.option("--version", "edition", help="Name of the version.  [default: made from profile and fusion]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model folder to write.")
@click.option("--device", default="cpu", show_default=True, help="Where encoders run.")
def align(
    fusion: Path | None,
    profile: str,
    corpora: tuple[tuple[str, Path], ...],
    head: str,
    text: str | None,
    speech: str | None,
    vision: str | None,
    bundle: Path | None,
    voice_copies: int,
    layers: int,
    steps: int,
    lr: float,
    evenness: float,
    seed: int,
    edition: str | None,
    out: Path,
    device: str,
) -> None:
    """Fit the cloud's adapters on calibration data and write a model folder that `server serve` takes.

    The trunk stays as devices learned it: --head shared fits adapters alone, deep adds layers and a head behind the
    trunk, own fits everything again, which is what sharing is measured against. Temperatures are fitted on
    development rows. Nobody is trained on who is held out for comparing edge and cloud: RAVDESS actors 19 to 24,
    development and test lines and faces.
    """
    import torch

    from fedaffect.server.models.alignment.fitting import FitConfig
    from fedaffect.server.models.alignment.pipeline import Alignment, carry_out
    from fedaffect.server.trained_fusion import fusion_at

    if out.exists():
        raise ConfigError(f"{out} exists already; choose another --out")
    torch.set_num_threads(1)
    console = Console(stderr=True)
    own = {"text": text, "audio": speech, "video": vision}
    asked = Alignment(
        fusion=fusion_at(fusion) if fusion else None,
        profile=profile,
        sources={modality: source for modality, source in own.items() if source is not None},
        corpora=dict(corpora),
        head=head,
        voice_copies=voice_copies,
        layers=layers,
        bundle=bundle,
        fit=FitConfig(steps=steps, lr=lr, evenness=evenness, seed=seed),
        version=edition,
        device=device,
    )
    found = carry_out(asked, out, lambda line: console.print(line, highlight=False, soft_wrap=True))
    for line in found:
        Console(width=140).print(line, highlight=False)
