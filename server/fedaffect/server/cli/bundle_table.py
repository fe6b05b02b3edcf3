"""What a bundle holds, as a table in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from fedaffect.edge.bundle import EncoderEntry, FusionEntry, Manifest


def bundle_table(manifest: Manifest, folder: Path, version: str = "", signed: str = "") -> Table:
    """One line an encoder, one for the fusion; above them the licence of each and of the whole.

    Parameters
    ----------
    manifest : Manifest
        What the bundle says of itself.
    folder : Path
        Where it lies.
    version, signed : str
        Of this very bundle, and by whom; left out where not known.
    """
    megabytes = sum(file.size_bytes for file in manifest.files) / 1e6
    title = f"{folder}\nprofile {manifest.profile}, version {version or manifest.version}, {manifest.created}"
    title += f", {megabytes:.1f} MB{f', {signed}' if signed else ''}"
    if manifest.label_set is not None:
        title += f"\npredicts {manifest.label_set.name}: {', '.join(manifest.label_set.labels)}"
    title += f"\n{_licences(manifest)}"
    if manifest.fusion is not None and set(manifest.fusion.widths) == {"text"}:
        title += "\nit answers from words alone, and leaves voices and faces out"
    if runs := _runs(manifest, folder):
        title += f"\nlearned by {runs}"
    table = Table("", "from", "precision", "width", "tokens/s", "MB", "ms on one core", "fidelity", title=title)
    for modality, entry in manifest.encoders.items():
        table.add_row(modality, *_encoder(entry))
    if manifest.fusion is not None:
        table.add_row("fusion", *_fusion(manifest.fusion))
    return table


def _licences(manifest: Manifest) -> str:
    from fedaffect.server.models.bundling.licences import as_a_whole, licences_of

    parts = "\n".join(f"licence of {part}: {licence or 'not said'}" for part, licence in licences_of(manifest).items())
    return f"{parts}\nlicence of the whole: {as_a_whole(manifest)}"


def _runs(manifest: Manifest, folder: Path) -> str:
    """Which runs its fusion comes from, the first one first, and the bundles that they began with."""
    from fedaffect.server.models.bundling.recipe import describe

    if manifest.fusion is None or manifest.fusion.weights is None:
        return ""
    lineage = describe(folder / manifest.fusion.weights.file).get("lineage", ())
    said = []
    for one in lineage:
        before = f", from {one['bundle']}" if one["bundle"] else ""
        said.append(f"run {one['run']} (round {one['round']}{before})")
    return ", then ".join(said)


def _encoder(entry: EncoderEntry) -> tuple[str, ...]:
    cosine = entry.fidelity.get("int8_cosine", entry.fidelity.get("cosine"))
    return (
        f"{entry.source.package}\n{entry.source.version}".strip(),
        ", ".join(variant.precision for variant in entry.variants),
        str(entry.width),
        f"{entry.tokens_per_second:g}" if entry.tokens_per_second else "a piece",
        f"{sum(file.size_bytes for file in entry.files) / 1e6:.1f}",
        _times(entry),
        "" if cosine is None else f"cosine {cosine}",
    )


def _fusion(entry: FusionEntry) -> tuple[str, ...]:
    change = entry.fidelity.get(f"{entry.precision}_probability_change")
    return (
        f"{entry.source.package}\n{entry.source.version}".strip(),
        entry.precision,
        "",
        "",
        f"{entry.network.size_bytes / 1e6:.1f}",
        _times(entry),
        "" if change is None else f"p changes by {change} at most",
    )


def _times(entry: EncoderEntry | FusionEntry) -> str:
    times = [f"{name.upper()} {entry.latency_ms[name]}" for name in ("fp32", "int8") if name in entry.latency_ms]
    return "\n".join([*times, str(entry.latency_ms.get("input", ""))])
