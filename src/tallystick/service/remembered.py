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
        return self.keep(source, make()) if found is None else found[1]

    def find(self, source: object) -> Made | None:
        """The result for an object; None if it is missing."""
        found = self._made.get(id(source))
        return None if found is None else found[1]

    def keep(self, source: object, made: Made) -> Made:
        """Keep the result for an object."""
        self._made[id(source)] = source, made
        if len(self._made) > self._most:
            del self._made[next(iter(self._made))]
        return made
