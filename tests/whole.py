"""What `make test` does a part of, and `make test-whole` (TALLYSTICK_WHOLE=1) all of.

The part is drawn anew in each run. TALLYSTICK_SEED repeats a run's choices.
"""

import os
import random
from collections.abc import Sequence
from typing import Final, TypeVar

WHOLE: Final = os.environ.get("TALLYSTICK_WHOLE") == "1"
# All processes of one run must draw the same: the first one says to the others what.
SEED: Final = int(os.environ.setdefault("TALLYSTICK_SEED", str(random.randrange(2**32))))

_Case = TypeVar("_Case")


def some_of(what: str, cases: Sequence[_Case], how_many: int = 1) -> list[_Case]:
    """Some cases of a test, in their order; all of them where everything is done.

    Args:
        what: which test this is for: each has choices of its own.
        cases: all cases. None of them shows anything that the others do not.
        how_many: how many are enough for one run.
    """
    if WHOLE:
        return list(cases)
    chosen = random.Random(f"{SEED} {what}").sample(range(len(cases)), min(how_many, len(cases)))
    return [cases[number] for number in sorted(chosen)]
