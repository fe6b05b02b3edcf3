"""The ClientApp: what a node does with a model that it is sent."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from quickstart.task import Net, constructed_images, evaluate, train

app = ClientApp()


@app.train()
def train_one(message: Message, context: Context) -> Message:
    """Train on the node's own images."""
    config = message.content["config"]
    net = Net()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    data = constructed_images(config["examples"], seed=_partition(context))
    seed = 1000 * config["server-round"] + _partition(context)
    loss = train(net, data, config["local-epochs"], config["batch-size"], config["lr"], seed)
    metrics = MetricRecord({"train-loss": loss, "num-examples": len(data[0])})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate_one(message: Message, context: Context) -> Message:
    """Evaluate on images of the node that it does not train on."""
    net = Net()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    data = constructed_images(message.content["config"]["examples"], seed=1_000_000 + _partition(context))
    loss, accuracy = evaluate(net, data)
    metrics = MetricRecord({"eval-loss": loss, "eval-acc": accuracy, "num-examples": len(data[0])})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _partition(context: Context) -> int:
    return int(context.node_config["partition-id"])
