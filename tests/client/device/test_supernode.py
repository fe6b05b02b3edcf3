from __future__ import annotations

import inspect
import re

import flwr.supernode.start_client_internal as loop
from flwr.proto.runtime_pb2 import AcquireTaskRequest

from client.device.supernode import Patience


def test_it_looks_often_after_something_happened_and_seldom_later() -> None:
    now, slept = [0.0], []
    patience = Patience(clock=lambda: now[0], pause=slept.append)
    patience.sleep(3)
    now[0] = 100.0
    patience.sleep(3)
    patience.sleep(0.5)
    patience.sleep(3)
    assert slept == [0.2, 3, 0.05, 0.2]


def test_flowers_loop_still_sleeps_where_patience_stands_in() -> None:
    # Where Flower changes its loop, this says so before a fleet becomes slow.
    source = inspect.getsource(loop)
    assert "time.sleep(3)" in source
    assert "time.sleep(0.5)" in source
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"sleep"}
    assert "supported_task_types" in AcquireTaskRequest.DESCRIPTOR.fields_by_name
