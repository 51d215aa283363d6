"""Progress on the terminal. It is drawn between pieces of work, never during one, because drawing costs time."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class ProgressBar:
    """One bar for each phase of a run, on standard error, and only on a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            auto_refresh=False,
        )

    def phase(self, description: str, total: float) -> "Phase":
        """Begin a phase."""
        phase = Phase(self._bars, description, total)
        self._bars.refresh()
        return phase

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


class Phase:
    """One phase of a run."""

    def __init__(self, bars: Progress, description: str, total: float) -> None:
        self._bars = bars
        self._task = bars.add_task(description, total=total)

    def advance(self, by: float = 1) -> None:
        """Record that more is done."""
        self._bars.advance(self._task, by)
        self._bars.refresh()
