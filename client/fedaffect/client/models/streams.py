"""Every stream of a model, those included that a batch lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from fedaffect.edge.errors import ConfigError


def every_stream(
    widths: Mapping[str, int], tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each stream with its tokens; one token that is not there stands for a stream that was left out.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens, in the model's order.
    tokens : mapping of str to Tensor, shape (B, T_m, W_m)
        Of any subset of the streams.
    present : mapping of str to Tensor of bool, shape (B, T_m)

    Yields
    ------
    str, Tensor of shape (B, T_m, W_m), Tensor of bool of shape (B, T_m)

    Raises
    ------
    ConfigError
        If there is no stream at all.
    """
    given = next((tokens[stream] for stream in widths if stream in tokens), None)
    if given is None:
        raise ConfigError(f"a sample needs at least one of {', '.join(widths)}")
    examples = given.shape[0]
    for stream, width in widths.items():
        if stream in tokens:
            yield stream, tokens[stream], present[stream]
        else:
            absent = torch.zeros(examples, 1, dtype=torch.bool, device=given.device)
            yield stream, given.new_zeros(examples, 1, width), absent
