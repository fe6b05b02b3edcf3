"""A run by its folder, or by its name in the folder of runs."""

from __future__ import annotations

from pathlib import Path

from fedaffect.edge.errors import RunError, nearest


def find_run(name: str | Path, out: Path) -> Path:
    """The folder of a run.

    Parameters
    ----------
    name : str or Path
        Its name, or its folder. A word without a slash names a run in ``out`` before a folder beside it.
    out : Path
        Where run folders lie.

    Raises
    ------
    RunError
        If there is none, with the nearest name or all of them.
    """
    if not isinstance(name, str | Path) or not str(name).strip():
        raise RunError(f"a run is its folder or its name, not {name!r}; 'fedaffect runs list' shows those there are")
    word = isinstance(name, str) and "/" not in name
    for folder in (out / name, Path(name)) if word else (Path(name), out / name):
        if folder.is_dir():
            return folder
    known = sorted(p.name for p in out.iterdir() if p.is_dir()) if out.is_dir() else []
    near = nearest(Path(name).name, known)
    said = f"did you mean {near!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise RunError(f"{str(name)!r} is not a run folder, nor the name of a run in {out}; {said}")
