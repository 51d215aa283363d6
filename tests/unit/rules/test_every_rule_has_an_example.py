"""No rule, and no refusal that a rule gives, is without an example in this folder."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

from tallystick.domain.commands import Command
from tallystick.domain.outcomes import RefusalCode
from tallystick.domain.rules import RULES
from tests.unit.rules import notation

EXAMPLES = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("test_*.py")]


def test_each_refusal_has_an_example() -> None:
    shown = {text.split()[0] for tree in EXAMPLES for text in _expected(tree) if text}
    assert {code.text for code in RefusalCode} - shown == set()


def test_each_rule_has_an_example() -> None:
    called = {
        call.func.id
        for tree in EXAMPLES
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    shown = {command for name in called if (command := _command_of(name)) is not None}
    assert {command.__name__ for command in RULES.keys() - shown} == set()


def _expected(tree: ast.AST) -> Iterator[str]:
    """What examples expect: the last argument of `refused`, and what an outcome is compared with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "refused":
            yield from _texts(node.args[-1])
        if isinstance(node, ast.Compare):
            yield from _texts(node.comparators[0])


def _texts(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _command_of(name: str) -> type[Command] | None:
    """The command that a function of the notation makes; None: it makes none."""
    function = getattr(notation, name, None)
    made = get_type_hints(function).get("return") if callable(function) else None
    return made if isinstance(made, type) and issubclass(made, Command) else None
