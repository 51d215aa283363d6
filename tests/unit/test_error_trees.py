"""The module `errors` of each layer shows the tree of the layer's exceptions in its docstring."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "tallystick"
MODULES = sorted(PACKAGE.glob("*/errors.py"))
_LINE = re.compile(r"^( *)- (.+)$")


def exceptions(layer: Path) -> Iterator[tuple[str, list[str]]]:
    """The exceptions that a layer defines, with the names of their bases."""
    for path in layer.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                yield node.name, [base.id for base in node.bases if isinstance(base, ast.Name)]


def parents(docstring: str) -> dict[str, list[str]]:
    """The exceptions of a tree, each with those of the line above it that is less indented."""
    found: dict[str, list[str]] = {}
    above: list[tuple[int, list[str]]] = []
    for indent, text in (match.groups() for line in docstring.splitlines() if (match := _LINE.match(line))):
        names = re.findall(r"`(\w+Error)`", text.partition(", a `")[0])
        above = [one for one in above if one[0] < len(indent)]
        found |= dict.fromkeys(names, above[-1][1] if above else [])
        above.append((len(indent), names))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.parent.name)
def test_the_tree_shows_each_exception_below_its_base(module: Path) -> None:
    tree = parents(ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "")
    defined = dict(exceptions(module.parent))
    assert set(defined) == set(tree)
    for name, bases in defined.items():
        assert [base for base in bases if base in defined] == [one for one in tree[name] if one in bases], (
            name
        )
