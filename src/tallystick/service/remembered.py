"""A small cache of results, by the identity of the object that they were made from."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """The results for the last few objects. Objects are compared by identity, not by equality."""

    def __init__(self, most: int) -> None:
        self._most = most
        # The source is kept with its result, so that no other object can get its identity.
        self._made: dict[int, tuple[Any, Made]] = {}

    def of(self, source: object, make: Callable[[], Made]) -> Made:
        """The result for an object. It is made now if it is missing."""
        found = self._made.get(id(source))
        if found is None:
            found = self._made[id(source)] = source, make()
            if len(self._made) > self._most:
                del self._made[next(iter(self._made))]
        return found[1]
