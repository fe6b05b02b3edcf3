"""What a bundle says of itself: its encoders and fusion, what it predicts, who may run it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from json import JSONDecodeError, dumps, loads
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.bundle.entries import Calibration, EncoderEntry, FileEntry, FusionEntry, Source, Variant, hash_of
from fedaffect.edge.errors import BundleError, ConfigError, unknown_name
from fedaffect.edge.labels import LABEL_SETS, LabelSet

__all__ = ["MANIFEST", "RUNTIME", "Manifest", "hash_of"]

MANIFEST: Final = "manifest.json"
# Raised when older code could no longer run a new bundle.
RUNTIME: Final = 7
# Raised when this code no longer reads older ones.
_OLDEST: Final = 3
# Both become names of folders.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A bundle's table of contents.

    Parameters
    ----------
    profile : str
        ``edge`` or ``cloud``.
    version : str
        Of the recipe that made it; `Bundle.version` tells two bundles of one recipe apart.
    created : str
        When it was built, ISO 8601, UTC.
    minimum_runtime : int
        The ``RUNTIME`` that it was built for: what can run it.
    encoders : mapping of str to EncoderEntry
        By modality.
    label_set : LabelSet, optional
        What the fusion predicts; None where there is none.
    fusion : FusionEntry, optional
        From tokens to class scores; None in a bundle of encoders alone.
    calibration : Calibration
        Temperatures and thresholds.
    """

    profile: str
    version: str
    created: str
    minimum_runtime: int
    encoders: Mapping[str, EncoderEntry]
    label_set: LabelSet | None = None
    fusion: FusionEntry | None = None
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        for what, name in (("profile", self.profile), ("version", self.version)):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise BundleError(
                    f"a bundle's {what} is letters, digits, dots and dashes, not {name!r}; choose another"
                )
        if self.fusion is None:
            return
        if self.label_set is None:
            raise BundleError("a fusion without a label set predicts nothing anyone could name; build the bundle again")
        for modality, width in self.fusion.widths.items():
            entry = self.encoders.get(modality)
            if entry is None or entry.width != width:
                found = "none" if entry is None else f"one of width {entry.width}"
                raise BundleError(
                    f"the fusion takes {modality} features of width {width}, and of such encoders there is {found}; "
                    f"export a fusion that learned on this bundle's encoders"
                )

    @property
    def built(self) -> datetime:
        """When it was built.

        Raises
        ------
        BundleError
            If that is no time.
        """
        try:
            built = datetime.fromisoformat(self.created)
        except (TypeError, ValueError):
            raise BundleError(f"a bundle was built at {self.created!r}, which is no time; build it again") from None
        return built if built.tzinfo is not None else built.replace(tzinfo=UTC)

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file the manifest names, each once."""
        named = [file for entry in self.encoders.values() for file in entry.files]
        if self.fusion is not None:
            named += self.fusion.files
        return tuple({file.file: file for file in named}.values())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read ``manifest.json`` of a bundle's folder; nothing else is checked.

        Raises
        ------
        BundleError
            If it is missing, damaged, or of another runtime.
        """
        return cls.parse(manifest_bytes(folder), folder)

    @classmethod
    def parse(cls, data: bytes, folder: Path) -> Manifest:
        """A manifest from its bytes; ``folder`` only names it in errors.

        Raises
        ------
        BundleError
            If it is damaged, or of another runtime.
        """
        path = folder / MANIFEST
        try:
            content = loads(data.decode("utf-8"))
        except (UnicodeDecodeError, JSONDecodeError, RecursionError) as error:
            raise BundleError(f"{path} cannot be read ({error}); build the bundle again") from error
        try:
            if content["minimum_runtime"] > RUNTIME:
                raise BundleError(
                    f"{folder} needs runtime {content['minimum_runtime']}, this is {RUNTIME}; update fedaffect"
                )
            if content["minimum_runtime"] < _OLDEST:
                raise BundleError(
                    f"{folder} is of runtime {content['minimum_runtime']}, which this fedaffect no longer reads; "
                    "build it again: fedaffect bundle build"
                )
            _only_known(cls, content)
            encoders = {name: _encoder(name, values) for name, values in content.pop("encoders").items()}
            return cls(
                **{name: value for name, value in content.items() if name not in _NESTED},
                encoders=encoders,
                label_set=_label_set(content.get("label_set"), folder),
                fusion=_fusion(content.get("fusion")),
                calibration=_entry(Calibration, content.get("calibration", {})),
            )
        except ConfigError as error:
            raise BundleError(f"{path}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BundleError(f"{path} is not a bundle's manifest ({error!r}); build the bundle again") from error

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into a folder. A signature that lies there no longer fits; sign again."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        content["encoders"] = {name: asdict(entry) for name, entry in self.encoders.items()}
        for entry in content["encoders"].values():
            del entry["modality"]
        labels = self.label_set
        content["label_set"] = None if labels is None else {"name": labels.name, "labels": list(labels.labels)}
        content["fusion"] = fusion = None if self.fusion is None else asdict(self.fusion)
        if fusion is not None and not fusion["ratings"]:
            del fusion["ratings"]  # runtimes before this one do not know the key
        content["calibration"] = asdict(self.calibration)
        (folder / MANIFEST).write_text(dumps(content, indent=2) + "\n", encoding="utf-8")


_NESTED: Final = ("encoders", "label_set", "fusion", "calibration")


def manifest_bytes(folder: Path) -> bytes:
    """The manifest as it lies there.

    Raises
    ------
    BundleError
        If there is none.
    """
    try:
        return (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{folder} holds no bundle; get one with fedaffect edge fetch or bundle install, or make one with torch: "
            "fedaffect bundle build"
        ) from None
    except OSError as error:
        raise BundleError(f"{folder / MANIFEST} cannot be read ({error}); build the bundle again") from error


def _only_known(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Refuse keys that are no field; a manifest with more of them names a newer runtime."""
    known = [f.name for f in fields(kind)]
    for name in values:
        if name not in known:
            raise unknown_name("key", name, known)


def _entry(kind: type[Any], values: Mapping[str, Any]) -> Any:
    _only_known(kind, values)
    return kind(**values)


def _encoder(modality: str, values: Mapping[str, Any]) -> EncoderEntry:
    nested = {"modality", "network", "assets", "source", "alternatives"}
    _only_known(EncoderEntry, values)
    return EncoderEntry(
        modality=modality,
        network=_entry(FileEntry, values["network"]),
        assets={name: _entry(FileEntry, asset) for name, asset in values["assets"].items()},
        source=_entry(Source, values["source"]),
        alternatives=tuple(
            Variant(_entry(FileEntry, other["network"]), other["precision"]) for other in values.get("alternatives", ())
        ),
        **{name: value for name, value in values.items() if name not in nested},
    )


def _fusion(values: Mapping[str, Any] | None) -> FusionEntry | None:
    if values is None:
        return None
    _only_known(FusionEntry, values)
    files: dict[str, Any] = {
        name: None if (file := values.get(name)) is None else _entry(FileEntry, file)
        for name in ("weights", "population", "step")
    }
    others = {name: value for name, value in values.items() if name not in ("network", "source", *files)}
    others["ratings"] = tuple(others.get("ratings", ()))
    return FusionEntry(
        network=_entry(FileEntry, values["network"]), source=_entry(Source, values["source"]), **files, **others
    )


def _label_set(values: Mapping[str, Any] | None, folder: Path) -> LabelSet | None:
    if values is None:
        return None
    name, labels = values["name"], tuple(values["labels"])
    known = LABEL_SETS.get(name)
    if known is None:
        raise BundleError(f"{folder} predicts label set {name!r}, which this version does not know; update fedaffect")
    if known.labels != labels:
        raise BundleError(
            f"{folder} says that label set {name!r} is {', '.join(map(str, labels))}, "
            f"but it is {', '.join(known.labels)}; build the bundle again"
        )
    return known
