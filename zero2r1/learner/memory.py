"""How the C library treats memory that is freed between two passes.

A pass asks for the same few hundred megabytes as the one before it. By default glibc gives what is freed back to the
system, which hands it out again page by page, each cleared: on a CPU that was a fifth of an update's processor time.

What it does not do: anything for blocks above 32 MiB (glibc's limit), or on systems without glibc.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's mallopt."""
KEPT_BYTES = 2**30
"""Ours: freed memory at the top of the heap that is kept."""
HEAP_BYTES = 2**25
"""Ours: blocks up to here come from the heap; the most that glibc takes."""


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees; True when the C library takes the advice. Again and again without harm."""
    try:
        advise = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(advise(TRIM_THRESHOLD, KEPT_BYTES) and advise(MMAP_THRESHOLD, HEAP_BYTES))
