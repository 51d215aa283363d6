"""Settings of a process that does nothing but serve the ledger."""

import gc

from tallystick.domain import limits


def tune_garbage_collection() -> None:
    """Collect garbage less often, and never look at objects that existed at the start.

    Objects of requests live for milliseconds and make no cycles. Measured: a sixth less processor time for each
    transfer. The package itself does not do this, because the process that embeds it belongs to its user.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*limits.COLLECTION_THRESHOLDS)
