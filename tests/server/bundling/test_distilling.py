from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from server.bundling.distilling import requests_of


def test_words_of_the_command_become_requests() -> None:
    (request,) = requests_of(("text",), "meld=some/folder", "1,3,6", 4)
    assert (request.modality, request.corpus, request.data_dir) == ("text", "meld", Path("some/folder"))
    assert request.keep == (1, 3, 6)
    assert request.config.epochs == 4
    assert requests_of((), None, None, 2) == ()


@pytest.mark.parametrize(
    ("modalities", "data", "keep"),
    [(("text",), None, None), (("text",), "meld", None), (("text",), "meld=x", "one"), ((), "meld=x", None)],
)
def test_what_makes_no_sense_is_refused(modalities: tuple[str, ...], data: str | None, keep: str | None) -> None:
    with pytest.raises(ConfigError):
        requests_of(modalities, data, keep, 2)
