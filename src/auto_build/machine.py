"""What this machine has: memory, and whether so many agents fit into it; processors."""

import psutil

_MIB = 1024 * 1024
_SPARE = 0.9  # of what is free, as a share; the rest is for everything else


def free_mb() -> int:
    """Return the memory that can be used without swapping, in MiB."""
    free: int = psutil.virtual_memory().available
    return free // _MIB


def cores() -> int:
    """Return how many programs can compute at once."""
    return psutil.cpu_count() or 1


def too_many(workers: int, need_mb: int, free: int) -> str:
    """Return a warning where so many agents need more memory than is free, in MiB; or nothing."""
    need = workers * need_mb
    if need <= free * _SPARE:
        return ""
    fits = max(1, int(free * _SPARE) // need_mb)
    return (
        f"{workers} workers need about {need / 1024:.1f} GiB of memory ({need_mb} MiB each) and"
        f" {free / 1024:.1f} GiB are free: --parallel {fits} would fit"
    )
