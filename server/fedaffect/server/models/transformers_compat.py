"""The private setting of transformers by which a network that is made already changes how it computes attention."""

from __future__ import annotations

from typing import Any

_NAME = "_attn_implementation"


def set_attention(config: Any, kind: str) -> None:
    """Have networks of this configuration compute attention in a way: ``eager`` exports to ONNX, ``sdpa`` is fast.

    A configuration that does not know of ways stays as it is.
    """
    if hasattr(config, _NAME):
        setattr(config, _NAME, kind)
