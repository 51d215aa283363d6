"""What a process of ours sets about itself when it serves nothing but the ledger."""

import gc

from tallystick.domain import limits


def tune_garbage_collection() -> None:
    """Collect less often, and leave alone what was there from the start.

    Requests live for milliseconds and make no cycles. Measured: a sixth less processor time for each transfer.
    Not done by the package itself, because a process that embeds it belongs to somebody else.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*limits.COLLECTION_THRESHOLDS)
