"""The runtime that an app holds."""

from fedaffect.edge.media.timed import TimedPicture, TimedWords
from fedaffect.edge.runtime.intake import sample_of
from fedaffect.edge.runtime.runtime import EdgeRuntime

__all__ = ["EdgeRuntime", "TimedPicture", "TimedWords", "sample_of"]
