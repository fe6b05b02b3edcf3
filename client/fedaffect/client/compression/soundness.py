"""What may be compressed how: settings under which a privacy guarantee or the arithmetic would break are refused."""

from __future__ import annotations

from fedaffect.client.compression.compress import NONE, codec
from fedaffect.edge.errors import ConfigError


def require_sound(compression: str, *, dp: str | None, secagg: bool, algorithm: str) -> None:
    """Refuse a compression that does not go with the rest.

    Parameters
    ----------
    compression : str
        As :func:`fedaffect.client.compression.compress.codec` takes it.
    dp : {"local", "central"}, optional
        Local noise was added before anything is compressed, so that nothing can undo it. Central noise is fitted to a
        norm, which is kept after compression.
    secagg : bool
    algorithm : str
        The clients' local algorithm.

    Raises
    ------
    ConfigError
        Saying what would break.
    """
    chosen = codec(compression)
    if compression == NONE or chosen is None:
        return
    if secagg and compression != "int8":
        why = (
            "sends each client's own choice of places, and a sum has room for all places only"
            if chosen.feeds_back
            else "sends floating-point numbers, and masks cancel among whole numbers only"
        )
        raise ConfigError(f"--compression {compression} {why}: with --secagg use --compression int8, or none")
    if chosen.feeds_back and dp == "central":
        raise ConfigError(
            f"--compression {compression} carries what a client did not send in earlier rounds into its next update: "
            f"accounting by round counts each round's data once; with --dp central use --compression int8"
        )
    if chosen.feeds_back and algorithm == "scaffold":
        raise ConfigError(
            f"scaffold's control variates have no error feedback of their own, and --compression {compression} would "
            f"lose most of them; use --compression int8"
        )
