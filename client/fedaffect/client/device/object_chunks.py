"""How long to wait for a piece of a message that is not there yet; Flower waits a second before it looks again."""

from __future__ import annotations

# The first wait; each next is twice as long, up to the longest.
MISSING_S, MISSING_AT_MOST_S = 0.05, 1.0
