"""The encoders that corpora are read with, made where they are not there."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from fedaffect.edge.bundle import default_bundle_path
from fedaffect.edge.system.progress import working
from fedaffect.server.models.bundling.recipe import is_outdated


def build_edge_bundle(console: Console, quiet: bool = False) -> Path:
    """Make the encoders that corpora are read with, once; about a minute.

    Parameters
    ----------
    console : Console
    quiet : bool
        Do not say so.
    """
    from fedaffect.server.models.bundling.build import BuildConfig, build_bundle

    target = default_bundle_path("edge")
    if not quiet:
        why = "again: an older recipe made those there" if is_outdated(target) else "this once"
        console.print(f"building the edge encoders in {target}, {why}", highlight=False, soft_wrap=True)
    config = BuildConfig(learn=True)
    with working("building the edge encoders", config.steps, shown=not quiet) as done:
        build_bundle(config, target, lambda step: done(1))
    return target
