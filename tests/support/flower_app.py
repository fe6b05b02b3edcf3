"""A small Flower app that trains, keeps state, and fails when it is told to; its data is constructed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

NODES = 6
FAULTY = 3


def counting_mod(message: Message, context: Context, call: Any) -> Message:
    reply: Message = call(message, context)
    reply.content["mod"] = ConfigRecord({"seen": message.metadata.message_type})
    return reply


app = ClientApp(mods=[counting_mod])
_LIFESPANS: list[int] = []


@app.lifespan()
def lifespan(context: Context) -> Iterator[None]:
    _LIFESPANS.append(context.node_id)
    yield
    _LIFESPANS.pop()


def partition(context: Any) -> int:
    return int(context.node_config["partition-id"])


def new_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


@app.train()
def train(message: Any, context: Any) -> Message:
    net = new_net()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    draw = torch.Generator().manual_seed(partition(context))
    rows, classes = torch.randn(24, 8, generator=draw), torch.randint(3, (24,), generator=draw)
    # What it learned last time moves it, so that a state that is lost changes the arrays.
    rounds = int(context.state["kept"]["rounds"]) if "kept" in context.state else 0
    optimizer = torch.optim.SGD(net.parameters(), lr=float(message.content["config"]["lr"]) / (1 + rounds))
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(rows), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    context.state["kept"] = MetricRecord({"rounds": rounds + 1})
    # A client may do to its message what it likes.
    del message.content["arrays"]["0.weight"]
    message.content["arrays"]["0.bias"].data = b""
    message.content["config"]["lr"] = 1e6
    metrics = MetricRecord({"loss": loss.item(), "num-examples": 24, "rounds": rounds + 1})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Any, context: Any) -> Message:
    if partition(context) == FAULTY:
        raise ZeroDivisionError("on purpose")
    return said(message, context)


@app.query()
def said(message: Any, context: Any) -> Message:
    metrics = MetricRecord({
        "partition-id": partition(context),
        "num-partitions": int(context.node_config["num-partitions"]),
        "lifespans": len(_LIFESPANS),
        "visible-gpus": len(os.environ.get("CUDA_VISIBLE_DEVICES", "none")),
    })  # fmt: skip
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@app.query("count")
def count(message: Any, context: Any) -> Message:
    seen = [*context.state["seen"]["rounds"], message.metadata.group_id] if "seen" in context.state else []
    context.state["seen"] = ConfigRecord({"rounds": seen or [message.metadata.group_id]})
    return Message(RecordDict({"seen": context.state["seen"]}), reply_to=message)


@app.train("dies")
def dies(message: Any, context: Any) -> Message:
    flag = message.content["config"].get("flag")
    if partition(context) == FAULTY and (flag is None or not Path(str(flag)).exists()):
        if flag is not None:
            Path(str(flag)).touch()
        os._exit(1)
    return train(message, context)


@app.query("nothing")
def nothing(message: Message, context: Context) -> Any:
    return None


@app.query("config")
def config(message: Any, context: Any) -> Message:
    context.run_config["lr"] = 5.0
    return said(message, context)


def asked(kind: str = "train", nodes: Any = range(1, NODES + 1), **config: Any) -> list[Message]:
    content = RecordDict({"arrays": ArrayRecord(new_net().state_dict()), "config": ConfigRecord({"lr": 0.1, **config})})
    return [Message(content, node, kind, group_id="1") for node in nodes]


def arrays_of(replies: list[Message]) -> dict[int, dict[str, bytes]]:
    records = {reply.metadata.src_node_id: reply.content.array_records["arrays"] for reply in replies}
    return {node: {name: array.data for name, array in record.items()} for node, record in records.items()}
