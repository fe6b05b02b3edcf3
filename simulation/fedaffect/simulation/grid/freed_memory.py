"""Memory that a process frees and takes again for every client."""

from __future__ import annotations

import ctypes

# Named as in malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Keep freed memory in this process, where the C library can.

    glibc returns each freed block of some megabytes to the kernel, and touching a fresh one costs more than
    copying it; a worker frees and takes blocks of the model's size for every client.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
