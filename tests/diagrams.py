"""State machines as Mermaid diagrams for the documentation, drawn from the tables that the code follows.

`python -m tests.diagrams` prints them. A test compares the documentation with them.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tallystick.domain.holds import HOLD_TRANSITIONS
from tallystick.domain.sagas import SAGA_STAGES, SPLIT_STAGES, Stage, Step, StepResult


def saga_diagram() -> str:
    """A saga over both of its shards: the results of each step, and the stages that follow."""
    return _diagram(Stage.RESERVED.value, (Stage.FINALIZED.value, Stage.RELEASED.value), _arrows(SAGA_STAGES))


def split_saga_diagram() -> str:
    """The same for a saga with payees on several shards."""
    return _diagram(Stage.RESERVED.value, (Stage.SETTLED.value, Stage.RELEASED.value), _arrows(SPLIT_STAGES))


def _arrows(stages: Mapping[tuple[Stage, Step, StepResult], Stage]) -> list[tuple[str, str, str]]:
    return [
        (before.value, after.value, f"{step.value}: {result.value}")
        for (before, step, result), after in stages.items()
    ]


def hold_diagram() -> str:
    """A hold, from its placement to its end."""
    events: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in HOLD_TRANSITIONS.items():
        ends = (before.name.lower(), after.name.lower())
        events.setdefault(ends, []).append(event.name.lower().replace("_", " "))
    arrows = [(before, after, ", ".join(names)) for (before, after), names in events.items()]
    return _diagram("open", ("captured", "voided", "expired"), arrows)


def _diagram(start: str, ends: Iterable[str], arrows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {before} --> {after}: {what}" for before, after, what in arrows]
    lines += [f"    {end} --> [*]" for end in ends]
    return "\n".join([*lines, "```"])


DIAGRAMS: Final[Mapping[str, str]] = {
    "sagas": saga_diagram(),
    "split sagas": split_saga_diagram(),
    "holds": hold_diagram(),
}

if __name__ == "__main__":
    for name, diagram in DIAGRAMS.items():
        print(f"{name}:\n\n{diagram}\n")  # noqa: T201 - what this program is for
