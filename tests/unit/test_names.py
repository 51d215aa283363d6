"""One name is one thing: these classes were two to four things each, and each of them is one now."""

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "tallystick"
CLASSES = Counter(
    node.name.removeprefix("_")
    for path in PACKAGE.rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.ClassDef)
)


@pytest.mark.parametrize(
    "name",
    [
        *("Balances", "Credit", "Crossing", "Crossings", "Message", "OpenSaga"),
        *("Operation", "Part", "Problem", "Ready", "State", "Told", "Waiting"),
    ],
)
def test_a_name_is_one_class(name: str) -> None:
    assert CLASSES[name] <= 1
