"""Pauses between attempts, so that many who wait for the same thing do not come back at once."""

import random


def jittered(delay_seconds: float) -> float:
    """Something between half of a delay and all of it."""
    return delay_seconds * random.uniform(0.5, 1.0)  # nosec B311  # noqa: S311 - no secret
