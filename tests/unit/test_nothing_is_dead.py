"""Nothing is left over: each module is imported, each SQL file is asked for, each function and class is used.

What only tests use counts as left over. A function or class of a module is used in its module, or by another one that
imports it, or its module. The name of a method counts as used wherever it is read, so two methods of one name may
hide each other; that is the price of a rule that raises no false alarm.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import tallystick
from tallystick import Ledger
from tallystick.service.webhooks.endpoints import Webhooks

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = {"tallystick": ROOT / "src/tallystick", "tallystick_bench": ROOT / "bench/tallystick_bench"}
# Where a program begins: the package, its command, the bench command, and what the Makefile runs as a file.
BEGINNINGS: Final = {
    "tallystick",
    "tallystick.cli.main",
    "tallystick.cli.__main__",
    "tallystick_bench.command",
}
RUN_AS_FILES: Final = {"tallystick.cli.as_owner"}
NAMED_IN_SQL: Final = 4
"""How many letters of an f-string have to stand fast for it to name a file."""

# What others call by its name: users of the package, and libraries whose classes ours are made of.
PUBLIC: Final = {
    *tallystick.__all__,
    *(name for kind in (Ledger, Webhooks) for name in vars(kind)),
    *(name for kind in Ledger.__mro__ for name in vars(kind)),
}
CALLED_BY_LIBRARIES: Final = re.compile(
    r"on_(get|post|put|patch|delete|head)|process_(startup|shutdown|resource)|serialize"  # Falcon
    r"|get_command|list_commands|format_commands"  # click
    r"|log_message|handle_error"  # the standard library's HTTP server
    r"|connection_(made|lost)|resolve"  # asyncio, aiohttp
    r"|get_keys|initialize"  # redis
    r"|ensure_internal_schema_updated|log_migration"  # yoyo
    r"|signal_handler_reload"  # Granian
    r"|collect"  # prometheus_client
)
FOR_TESTS: Final = {"drop_database"}
"""The servers in `embedded` are for tests, too."""


Nodes = Sequence[ast.AST]
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """The modules of a tree, by name, each as the nodes of its syntax, and the files that lie beside them."""

    modules: Mapping[str, Nodes]
    files: list[Path]


def read(packages: Mapping[str, Path]) -> Source:
    modules: dict[str, Nodes] = {}
    files: list[Path] = []
    for name, folder in packages.items():
        for path in sorted(folder.rglob("*")):
            if path.suffix == ".py":
                parts = [name, *path.relative_to(folder).with_suffix("").parts]
                tree = ast.parse(path.read_text("utf-8"))
                modules[".".join(parts).removesuffix(".__init__")] = list(ast.walk(tree))
            elif path.suffix in {".sql", ".lua"} and path.parent.name != "migrations":
                files.append(path)
    return Source(modules, files)


@pytest.fixture(scope="module")
def source() -> Source:
    return read(PACKAGES)


def texts_in(nodes: Nodes) -> Iterator[str]:
    """The texts in code, without docstrings, which may name what is gone."""
    docstrings = {
        node.body[0].value
        for node in nodes
        if isinstance(node, ast.Module | Definition) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.value


def imported_by(nodes: Nodes, modules: Mapping[str, Nodes]) -> set[str]:
    """The modules that another one imports, or names in a text, such as `tallystick.api.app:create_app`."""
    named: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    named |= {text.partition(":")[0] for text in texts_in(nodes)}
    return named & modules.keys()


def dead_modules(source: Source) -> list[str]:
    reached: set[str] = set()
    waiting = sorted(BEGINNINGS & source.modules.keys())
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            # A package is imported with what is in it.
            waiting += [module.rpartition(".")[0]] if "." in module else []
            waiting += imported_by(source.modules[module], source.modules)
    return sorted(source.modules.keys() - reached - RUN_AS_FILES)


def dead_files(source: Source) -> list[str]:
    asked = {text for nodes in source.modules.values() for text in texts_in(nodes)}
    patterns = [
        "".join(
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z_]+"
            for part in node.values
        )
        for nodes in source.modules.values()
        for node in nodes
        if isinstance(node, ast.JoinedStr)
        and sum(len(str(part.value)) for part in node.values if isinstance(part, ast.Constant))
        >= NAMED_IN_SQL
    ]
    made = re.compile("|".join(patterns) or "(?!)")
    return sorted(
        path.name for path in source.files if path.stem not in asked and not made.fullmatch(path.stem)
    )


def names_read_in(nodes: Nodes) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
    for text in texts_in(nodes):
        yield from re.findall(r"\w+", text)


def definitions_in(nodes: Nodes) -> Iterator[str]:
    """Functions, methods and classes, without those that a decorator hands to a library."""
    for node in nodes:
        if not isinstance(node, Definition):
            continue
        handed_over = any(
            isinstance(found, ast.Attribute) and found.attr in {"command", "group"}
            for decorator in node.decorator_list
            for found in ast.walk(decorator)
        )
        if not handed_over and not re.fullmatch(r"__\w+__", node.name):
            yield node.name


def dead_names(source: Source) -> list[str]:
    used = {name for nodes in source.modules.values() for name in names_read_in(nodes)} | PUBLIC | FOR_TESTS
    return sorted(
        f"{module}.{name}"
        for module, nodes in source.modules.items()
        for name in definitions_in(nodes)
        if name not in used and not CALLED_BY_LIBRARIES.fullmatch(name)
    )


def read_elsewhere(nodes: Nodes, modules: Mapping[str, Nodes]) -> Iterator[tuple[str, str]]:
    """What a module takes of others: the module and the name."""
    known: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module, alias.name
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Attribute):
            # A module may also be imported by its name in a text, where it is needed.
            paths = {known.get(ast.unparse(node.value), ""), *texts_in(list(ast.walk(node.value)))}
            yield from ((path, node.attr) for path in paths & modules.keys())
    for text in texts_in(nodes):
        module, _, name = text.partition(":")
        if module in modules:
            yield module, name


def read_in_itself(nodes: Nodes) -> Iterator[str]:
    """What a module reads of its own, but for a function or class that names only itself."""
    (tree,) = (node for node in nodes if isinstance(node, ast.Module))
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # the docstring
        own = statement.name if isinstance(statement, Definition) else None
        inside = list(ast.walk(statement))
        names = {node.id for node in inside if isinstance(node, ast.Name)}
        # The annotations of what is defined further below are texts.
        names |= {name for text in texts_in(inside) for name in re.findall(r"\w+", text)}
        yield from names - {own}


def dead_definitions(source: Source) -> list[str]:
    """Functions and classes of modules, of which another one of the same name may be in use."""
    used = {pair for nodes in source.modules.values() for pair in read_elsewhere(nodes, source.modules)}
    dead = []
    for module, nodes in source.modules.items():
        (tree,) = (node for node in nodes if isinstance(node, ast.Module))
        here = set(read_in_itself(nodes)) | PUBLIC | FOR_TESTS
        top = [node for node in tree.body if isinstance(node, Definition)]
        dead += [
            f"{module}.{name}"
            for name in definitions_in(top)
            if name not in here and (module, name) not in used and not CALLED_BY_LIBRARIES.fullmatch(name)
        ]
    return sorted(dead)


def test_each_module_is_imported(source: Source) -> None:
    assert dead_modules(source) == []


def test_each_file_of_sql_is_asked_for(source: Source) -> None:
    assert len(source.files) > 1
    assert dead_files(source) == []


def test_each_function_and_class_is_used(source: Source) -> None:
    assert dead_names(source) == []
    assert dead_definitions(source) == []


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    """One of each kind, beside its like that is used."""
    (tmp_path / "queries").mkdir()
    planted = {
        "__init__.py": "import tallystick.twin\nfrom tallystick.used import call\n",
        "used.py": "def call(name: str) -> str:\n    return query('asked') + query(f'made_{name}')\n"
        "def query(name: str) -> str:\n    return name\n"
        "def left_over() -> None:\n    '''It calls itself in words alone: left_over.'''\n"
        "class LeftOver:\n    def method_left_over(self) -> None: ...\n",
        "twin.py": "'''Says call.'''\nfrom tallystick import used\nused.query('asked')\n"
        "def call() -> None:\n    '''Only its name is in use, and it uses itself.'''\n    call()\n",
        "left_behind.py": "import tallystick.used\n",
        "queries/asked.sql": "",
        "queries/made_here.sql": "",
        "queries/forgotten.sql": "",
    }
    for name, text in planted.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    source = read({"tallystick": tmp_path})
    assert dead_modules(source) == ["tallystick.left_behind"]
    assert dead_files(source) == ["forgotten.sql"]
    assert dead_names(source) == [
        "tallystick.used.LeftOver",
        "tallystick.used.left_over",
        "tallystick.used.method_left_over",
    ]
    assert dead_definitions(source) == [
        "tallystick.twin.call",
        "tallystick.used.LeftOver",
        "tallystick.used.left_over",
    ]
