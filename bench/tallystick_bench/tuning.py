"""The measured load runs in a process like the server's."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.service.process import tune_garbage_collection


@contextmanager
def tuned_like_the_server() -> Iterator[None]:
    """Collect garbage as rarely as a process does that serves nothing but the ledger."""
    thresholds = gc.get_threshold()
    tune_garbage_collection()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
