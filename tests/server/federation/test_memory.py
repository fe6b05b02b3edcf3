from __future__ import annotations

import gc

from fedaffect.server.federation.memory import cheap_collections


def test_a_run_unfreezes_what_it_froze_and_nothing_of_a_program_that_froze_before() -> None:
    gc.unfreeze()
    with cheap_collections():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    gc.freeze()
    with cheap_collections():
        pass
    # Not how many: some of what is frozen ends by itself.
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
