"""Settings of the measuring process, equal to those of the server."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.service.process import tune_garbage_collection


@contextmanager
def tuned_like_the_server() -> Iterator[None]:
    """Collect garbage as rarely as the server does."""
    thresholds = gc.get_threshold()
    tune_garbage_collection()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
