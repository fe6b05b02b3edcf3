"""The settings of a run, declared once; every face of them is made from here."""

from fedaffect.server.federation.settings.corpus_defaults import OWN_EXAMPLES
from fedaffect.server.federation.settings.federation import ASYNC, POOLED
from fedaffect.server.federation.settings.fine_tuning import FINE_TUNED, OWN_HEAD
from fedaffect.server.federation.settings.formats import (
    from_flwr,
    from_toml,
    has_sections,
    settings_in,
    to_flwr,
    to_toml,
)
from fedaffect.server.federation.settings.run_settings import RunSettings, sections_by_name

__all__ = [
    "ASYNC",
    "FINE_TUNED",
    "OWN_EXAMPLES",
    "OWN_HEAD",
    "POOLED",
    "RunSettings",
    "from_flwr",
    "from_toml",
    "has_sections",
    "sections_by_name",
    "settings_in",
    "to_flwr",
    "to_toml",
]
