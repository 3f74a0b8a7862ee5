"""How a process of this project uses threads and memory."""

import ctypes
import os
from contextlib import suppress

# of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def settle() -> None:
    """Let threads that wait sleep, and keep memory that was freed; before torch is imported.

    Spinning threads bring a shared machine to a crawl. A network frees the features of each layer; with glibc's
    defaults they go back to the kernel, which clears them for the next layer: a third of the time of small batches.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
