"""Flower's names that its public API needs but does not export."""

from __future__ import annotations

from flwr.common.constant import SUPERLINK_NODE_ID as SUPERLINK_NODE_ID
from flwr.common.constant import ErrorCode as ErrorCode
from flwr.common.constant import SType as SType
from flwr.supercore.task_identity import TaskIdentity


def act_as(run_id: int, node_id: int, task_id: int) -> None:
    """Set who the messages that this process makes come from.

    Flower's public constructors of messages read it, and only the programs that Flower starts itself set it.
    """
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, node_id, task_id
