"""What was made of something a moment ago, for who asks for the same next."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """What was made of the last few objects. An object is another one than its equal: it is known by identity."""

    def __init__(self, most: int) -> None:
        self._most = most
        # The source is kept beside what was made of it, so that no other object can get its identity.
        self._made: dict[int, tuple[Any, Made]] = {}

    def of(self, source: object, make: Callable[[], Made]) -> Made:
        """What was made of an object, or is made now."""
        found = self._made.get(id(source))
        if found is None:
            found = self._made[id(source)] = source, make()
            if len(self._made) > self._most:
                del self._made[next(iter(self._made))]
        return found[1]
