"""Requests to stop: Ctrl-C, SIGTERM, or the terminal was closed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(BaseException):
    """A request to stop. It is not an `Exception`, so handlers of errors do not catch it."""


class StopSignals:
    """Records signals instead of ending at once, so that servers can be stopped in order.

    Used in a `with` statement. A signal only sets `requested`, which is checked between steps. It interrupts a step
    only inside `interrupting`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._may_interrupt = False
        self._handlers_before: dict[signal.Signals, Any] = {}

    def raise_if_requested(self) -> None:
        """Raise `StopRequestedError` if a stop was requested."""
        if self.requested:
            raise StopRequestedError

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the first signal raise `StopRequestedError` from inside of this block."""
        self.raise_if_requested()
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False
        self.raise_if_requested()

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            # nohup ignores SIGHUP on purpose.
            if number is signal.SIGHUP and before is signal.SIG_IGN:
                continue
            self._handlers_before[number] = before
            signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, before in self._handlers_before.items():
            signal.signal(number, before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self._may_interrupt:
            self._may_interrupt = False
            raise StopRequestedError
