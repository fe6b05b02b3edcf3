"""The runtime that an app holds."""

from edge_runtime.media.timed import TimedPicture, TimedWords
from edge_runtime.runtime.intake import sample_of
from edge_runtime.runtime.runtime import EdgeRuntime

__all__ = ["EdgeRuntime", "TimedPicture", "TimedWords", "sample_of"]
