"""What an API key may allow; here, since the registry itself takes longer to import than a help should."""

from __future__ import annotations

from typing import Final

SCOPES: Final = ("predict", "feedback", "bundles", "metrics", "admin")
