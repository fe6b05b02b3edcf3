"""Tests of a minute and more that start whole systems, whose parts other tests start."""

from __future__ import annotations

import os
from typing import Final

import pytest

WHOLE: Final = "FEDAFFECT_TEST_WHOLE"
# `make test` has to end within half an hour on two cores, where a change waits for it.
takes_minutes = pytest.mark.skipif(
    not os.environ.get(WHOLE), reason="starts a whole system for minutes; run it with: make test-whole"
)
