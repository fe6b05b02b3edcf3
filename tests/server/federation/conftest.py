"""Messages made here are of one task, as in a ServerApp's process."""

from __future__ import annotations

from flwr.supercore.task_identity import TaskIdentity

TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
