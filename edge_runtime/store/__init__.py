"""What a device keeps on its own disk: requests that wait for the network, and examples to learn from."""

from edge_runtime.store.database import Database, StoreError, default_path
from edge_runtime.store.examples import Example, ExampleStore, Retention
from edge_runtime.store.queue import Entry, Kind, Queue, QueueFull, QueueLimits
from edge_runtime.store.sender import Sender, Sent

__all__ = [
    "Database",
    "Entry",
    "Example",
    "ExampleStore",
    "Kind",
    "Queue",
    "QueueFull",
    "QueueLimits",
    "Retention",
    "Sender",
    "Sent",
    "StoreError",
    "default_path",
]
