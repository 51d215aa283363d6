"""The page on security: every test that it names is there, and it names every attack."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE)))


def names_of_tests(path: Path) -> set[str]:
    """The names of the tests in a file."""
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_is_named_is_there(named: str) -> None:
    path, _, name = named.partition("::")
    assert (ROOT / path).is_file()
    assert name in names_of_tests(ROOT / path)


def test_every_attack_is_named() -> None:
    attacks = {
        f"tests/attack/{path.name}::{name}"
        for path in (ROOT / "tests" / "attack").glob("test_*.py")
        # Its tests are of the attacks.
        if path.name not in {"test_planted_bugs.py", "test_careless_servers.py"}
        for name in names_of_tests(path)
    }
    assert attacks
    assert attacks <= set(NAMED)


def test_each_threat_of_the_ten_has_a_test() -> None:
    sections = re.split(r"^### (API\d+): ", PAGE, flags=re.MULTILINE)[1:]
    assert sections[::2] == [f"API{number}" for number in range(1, 11)]
    for section in sections[1::2]:
        assert "`tests/" in section
