"""Emotion from face, voice and words: on the device, in the cloud, and learned together without sharing data."""

from __future__ import annotations

from pkgutil import extend_path

# A checkout has this package in four folders (edge_runtime, client, server, simulation), an installation in one.
__path__ = extend_path(__path__, __name__)
if __spec__ is not None:
    # Tools that ask for the package's folders without importing its parts see all four.
    __spec__.submodule_search_locations = __path__
