"""`fedaffect bundle`: build what a device runs, look at it, sign it, pack it, install it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tarfile import is_tarfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.cli.bundle_table import bundle_table

if TYPE_CHECKING:
    from fedaffect.edge.bundle import Manifest, PublicKey

_PATH = click.Path(path_type=Path)
_FLAGS: Final = {"text": "text", "audio": "speech", "video": "vision"}
_unsigned = click.option(
    "--allow-unsigned", is_flag=True, help="Do not ask who signed it. For development: it may be anyone's."
)


@click.group()
def bundle() -> None:
    """Build, check, sign and install what a device runs: encoders and the fusion behind them."""


@bundle.command()
@click.option("--profile", default="edge", show_default=True, help="Named set of encoders.")
@click.option("--out", type=_PATH, help="Folder of the bundle; in the cache if not given.")
@click.option(
    "--licence",
    type=click.Choice(["non-commercial", "permissive"]),
    default="non-commercial",
    show_default=True,
    help="Of this project's weights in it. permissive: an app may ship it; it answers from words alone, and is made "
    "in another folder of the cache.",
)
@click.option(
    "--text",
    metavar="PATH_OR_HUB_ID",
    help="'permissive-words' or a BERT-family model instead of what the licence gives.",
)
@click.option(
    "--speech", metavar="PATH_OR_HUB_ID", help="A Wav2Vec2, HuBERT, WavLM or Whisper model instead of Whisper tiny.en."
)
@click.option(
    "--vision",
    metavar="PATH_OR_HUB_ID",
    help="'efficientnet-lite0' or a ViT instead of this project's expression network.",
)
@click.option(
    "--fusion",
    type=_PATH,
    metavar="RUN_FOLDER|FILE",
    help="A run, whose best round is taken (and encoders, if it trained those), or a safetensors file, instead of the "
    "fusion that this project trained.",
)
@click.option("--quantise/--no-quantise", default=True, show_default=True, help="Fewer bits where that is faithful.")
@click.option(
    "--learn/--no-learn",
    default=True,
    show_default=True,
    help="Carry the training step, by which devices without torch learn; of a fusion of your own half a minute.",
)
@click.option("--carry-both", is_flag=True, help="Keep both precisions where INT8 is faithful; each device picks.")
@click.option(
    "--distil",
    multiple=True,
    type=click.Choice(["text", "audio"]),
    help="Train a smaller student of this encoder first; taken where it is faster and faithful. Repeatable.",
)
@click.option("--distil-data", metavar="NAME=DIR", help="Corpus that it learns on, as in meld=data/meld; or synthetic.")
@click.option("--keep-layers", metavar="1,3,…", help="Layers of the teacher that the student keeps; every other one.")
@click.option("--distil-epochs", default=2, show_default=True, help="Passes over the corpus.")
@click.option(
    "--if-missing",
    is_flag=True,
    help="Do nothing where a sound bundle lies already, but for one in the cache that an older recipe made.",
)
def build(
    profile: str,
    licence: str,
    out: Path | None,
    if_missing: bool,
    distil: tuple[str, ...],
    distil_data: str | None,
    keep_layers: str | None,
    distil_epochs: int,
    fusion: Path | None,
    **choices: Any,
) -> None:
    """Make the ONNX networks, quantise and measure them, describe them in a manifest, and sign that."""
    from fedaffect.edge.bundle import default_bundle_path, usual_bundle_path
    from fedaffect.server.models.bundling.recipe import VERSION, is_outdated

    target = out or default_bundle_path(profile if licence == "non-commercial" else f"{profile}-{licence}")
    console = Console(stderr=True)
    if if_missing and _sound(target):
        if out is not None or not is_outdated(target, licence):
            if console.is_terminal:
                console.print(f"{target} is there already")
            return
        console.print(f"{target} was made by another recipe than {VERSION}; it is built again", soft_wrap=True)
    # Here, not above: torch and transformers take seconds to import, which `show` need not wait for.
    from fedaffect.server.models.bundling.build import BuildConfig, build_bundle
    from fedaffect.server.models.bundling.distilling import requests_of
    from fedaffect.server.trained_fusion import encoders_at, fusion_to_offer, learned_behind

    requests = requests_of(distil, distil_data, keep_layers, distil_epochs)
    trained = fusion_to_offer(fusion) if fusion else None
    learned = encoders_at(fusion) if fusion else None
    if learned is not None:
        choices |= {"readings": learned.readings, **_encoders_of(learned.sources, choices)}
    elif fusion is not None:
        choices["behind"] = learned_behind(fusion)
    config = BuildConfig(profile=profile, licence=licence, distil=requests, fusion=trained, **choices)
    columns = TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=config.steps)

        def report(step: str) -> None:
            progress.update(task, description=step, advance=1)

        manifest = build_bundle(config, target, report)
    Console().print(bundle_table(manifest, target))
    named = f" --bundle {target}" if usual_bundle_path() != target else ""
    if note := _about_licence(manifest):
        console.print(note, soft_wrap=True, highlight=False)
    if manifest.fusion is None:
        console.print(
            "note: encoders alone, for `fedaffect simulate`; no trained fusion fits them, so the bundle predicts "
            "nothing. Train one, then: fedaffect bundle build --fusion runs/NAME",
            soft_wrap=True,
            highlight=False,
        )
    else:
        console.print(
            f"next: fedaffect edge predict{named} --text 'What a lovely day!'", soft_wrap=True, highlight=False
        )


def _about_licence(manifest: Manifest) -> str:
    from fedaffect.server.models.bundling.licences import barred_parts

    if barred_parts(manifest):
        return (
            "note: no app that is sold may ship this bundle. One that it may ship answers from words alone: "
            "fedaffect bundle build --licence permissive"
        )
    if set(manifest.encoders) == {"text"}:
        return (
            "note: words alone, since no corpus of voices or faces with emotions that taught this project lets an app "
            "ship what it taught. How far words carry: docs/results/edge.md. What your own corpora taught comes in by "
            "--speech, --vision and --fusion"
        )
    return ""


def _encoders_of(sources: Mapping[str, str], choices: Mapping[str, Any]) -> dict[str, str]:
    """Encoders that a run trained, by the name of the flag that would take them."""
    own = {_FLAGS[modality]: source for modality, source in sources.items()}
    if given := [f"--{name}" for name in own if choices[name] is not None]:
        raise ConfigError(f"the run of --fusion trained its own encoder for {', '.join(given)}; leave that out")
    return own


@bundle.command()
@click.argument("folder", type=_PATH, required=False)
@_unsigned
def show(folder: Path | None, allow_unsigned: bool) -> None:
    """Check a bundle and say what it holds."""
    from fedaffect.edge.bundle import Bundle, usual_bundle_path

    folder = folder or usual_bundle_path()
    opened = Bundle.load(folder, trust=_trust(allow_unsigned))
    Console().print(bundle_table(opened.manifest, folder, opened.version, _signed_by(folder)))


@bundle.command()
@click.argument("source", type=_PATH, required=False)
@_unsigned
def verify(source: Path | None, allow_unsigned: bool) -> None:
    """Check every byte of SOURCE, a bundle's folder or its tar, and whose it is."""
    from fedaffect.edge.bundle import Bundle, usual_bundle_path
    from fedaffect.edge.bundle.archive import unpack

    source = source or usual_bundle_path()
    with TemporaryDirectory(prefix="fedaffect-verify-") as scratch:
        folder = unpack(source, Path(scratch) / "bundle") if source.is_file() else source
        opened = Bundle.load(folder, trust=_trust(allow_unsigned), source=source)
        click.echo(f"{source} is sound: version {opened.version}, {_signed_by(folder)}")


@bundle.command()
@click.argument("source", type=_PATH)
@click.option("--profile", default="edge", show_default=True, help="Whose store.")
@_unsigned
@click.option("--allow-older", is_flag=True, help="Go back to a bundle built before the one in use.")
def install(source: Path, profile: str, allow_unsigned: bool, allow_older: bool) -> None:
    """Check SOURCE, a bundle's folder or its tar, keep a copy, and use it from now on; the one before stays."""
    from fedaffect.edge.bundle import BundleStore

    store = BundleStore(BundleStore.default(profile).folder, _trust(allow_unsigned))
    installed = store.install(source, allow_older=allow_older)
    click.echo(f"{installed.version} is in use now{store.way_back}")


@bundle.command()
@click.option("--profile", default="edge", show_default=True, help="Whose store.")
@_unsigned
def rollback(profile: str, allow_unsigned: bool) -> None:
    """Use the bundle before the one in use again."""
    from fedaffect.edge.bundle import BundleStore

    store = BundleStore(BundleStore.default(profile).folder, _trust(allow_unsigned))
    click.echo(f"{store.rollback().version} is in use again")


@bundle.command("sign")
@click.argument("folder", type=_PATH)
@click.option("--key", type=_PATH, help="Private key in PEM; your own, made when first needed, if not given.")
def sign_command(folder: Path, key: Path | None) -> None:
    """Check a bundle's files, then sign it: devices that trust your key will run it."""
    from fedaffect.edge.bundle import Bundle, SigningKey, sign

    Bundle.load(folder, trust=None)
    used = SigningKey.own() if key is None else SigningKey.read(key)
    sign(folder, used)
    click.echo(f"{folder} is signed with key {used.public.id}")


@bundle.command()
@click.argument("source", type=_PATH)
def trust(source: Path) -> None:
    """Trust the signer of SOURCE: a bundle's folder, its tar, or a public key in PEM."""
    from fedaffect.edge.bundle.signature import trust_key

    public = _key_of(source)
    click.echo(f"bundles of key {public.id} are trusted from now on, as {trust_key(public)} says; delete it to stop")


@bundle.command()
@click.argument("folder", type=_PATH)
@click.argument("tar", type=_PATH)
@_unsigned
def pack(folder: Path, tar: Path, allow_unsigned: bool) -> None:
    """Put a sound bundle into one file, to be carried to a device."""
    from fedaffect.edge.bundle import Bundle
    from fedaffect.edge.bundle.archive import pack as pack_bundle

    Bundle.load(folder, trust=_trust(allow_unsigned))
    click.echo(
        f"{pack_bundle(folder, tar)} holds {tar.stat().st_size / 1e6:.1f} MB; on the device: "
        f"fedaffect bundle install {tar.name}"
    )


def _trust(allow_unsigned: bool) -> Literal["default"] | None:
    return None if allow_unsigned else "default"


def _key_of(source: Path) -> PublicKey:
    from fedaffect.edge.bundle import PublicKey
    from fedaffect.edge.bundle.archive import unpack
    from fedaffect.edge.bundle.signature import signer

    if not source.exists():
        raise BundleError(f"{source} does not exist; give a bundle's folder, its tar, or a public key in PEM")
    if source.is_dir():
        return signer(source)
    try:
        packed = is_tarfile(source)
    except OSError:
        packed = False
    if not packed:
        return PublicKey.read(source)
    with TemporaryDirectory(prefix="fedaffect-trust-") as scratch:
        return signer(unpack(source, Path(scratch) / "bundle"), source)


def _signed_by(folder: Path) -> str:
    from fedaffect.edge.bundle import SIGNATURE
    from fedaffect.edge.bundle.signature import signer

    return f"signed with key {signer(folder).id}" if (folder / SIGNATURE).exists() else "not signed"


def _sound(folder: Path) -> bool:
    from fedaffect.edge.bundle import Bundle

    try:
        Bundle.load(folder)
    except BundleError:
        return False
    return True
