"""What a device keeps on its own disk: requests that wait for the network, and examples to learn from."""

from fedaffect.edge.store.database import Database, StoreError, default_path
from fedaffect.edge.store.delivery import Delivery, LateAnswer
from fedaffect.edge.store.examples import Example, ExampleStore, Retention
from fedaffect.edge.store.journal import Journal, Receipt
from fedaffect.edge.store.queue import Entry, Kind, Queue, QueueFull, QueueLimits
from fedaffect.edge.store.sender import Sender, Sent

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
