"""Graphs without what only people read."""

from __future__ import annotations

from typing import Any


def slim(model: Any) -> None:
    """Take away names of modules, positions in source files and shapes in between; inputs and outputs keep theirs.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    """
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    for node in graph.node:
        node.name = ""
    # A graph within a node may use any name of this one.
    if not any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        _rename(graph)


def _rename(graph: Any) -> None:
    kept = {value.name for value in (*graph.input, *graph.output)}
    short: dict[str, str] = {}
    for value in graph.initializer:
        if value.name not in kept:
            short[value.name] = value.name = f"c{len(short)}"
    for node in graph.node:
        node.input[:] = [short.get(name, name) for name in node.input]
        for place, name in enumerate(node.output):
            if name and name not in kept:
                short[name] = node.output[place] = f"v{len(short)}"
