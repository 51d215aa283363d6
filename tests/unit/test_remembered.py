"""What is made once for many."""

import gc
import weakref

from tallystick.service.remembered import Remembered


class Source:
    """Something that something is made of."""


def test_it_is_made_once_and_an_equal_object_is_another() -> None:
    made: list[tuple[int, ...]] = []
    remembered: Remembered[tuple[int, ...]] = Remembered(10)
    sources = [tuple(range(3)), tuple(range(3))]
    assert sources[0] is not sources[1]
    for source in (*sources, *sources):

        def make(source: tuple[int, ...] = source) -> tuple[int, ...]:
            made.append(source)
            return source

        assert remembered.of(source, make) is source
    assert len(made) == 2


def test_it_forgets_the_oldest_and_lets_go_of_it() -> None:
    remembered: Remembered[int] = Remembered(2)
    first = Source()
    gone = weakref.ref(first)
    assert remembered.of(first, lambda: 1) == 1
    del first
    for number in range(2, 100):
        assert remembered.of(Source(), lambda number=number: number) == number  # type: ignore[misc]
    gc.collect()
    assert gone() is None
    assert len(remembered._made) == 2
