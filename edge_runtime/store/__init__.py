"""What a device keeps on its own disk: requests that wait for the network, and examples to learn from."""

from edge_runtime.store.database import Database, StoreError, default_path
from edge_runtime.store.delivery import Delivery, LateAnswer
from edge_runtime.store.examples import Example, ExampleStore, Retention
from edge_runtime.store.journal import Journal, Receipt
from edge_runtime.store.queue import Entry, Kind, Queue, QueueFull, QueueLimits
from edge_runtime.store.sender import Sender, Sent

__all__ = [
    "Database",
    "Delivery",
    "Entry",
    "Example",
    "ExampleStore",
    "Journal",
    "Kind",
    "LateAnswer",
    "Queue",
    "QueueFull",
    "QueueLimits",
    "Receipt",
    "Retention",
    "Sender",
    "Sent",
    "StoreError",
    "default_path",
]
