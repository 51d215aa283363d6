"""Removes two-phase commit from a copy of the product, one folder and one line. The rest works."""

import asyncio
import os
import pkgutil
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest
from tests.crash.two_shards import (
    AWAY,
    HOME,
    TwoShards,
    account_name,
    assert_whole_together,
    open_accounts,
)
from tests.unit import test_nothing_is_dead as left_over

import tallystick
from tallystick import Ledger, Transaction
from tallystick.domain.accounts import AccountKind
from tallystick.service.configuration import ConfigurationError

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = "ledger/crossing/two_phase"
LINE: Final = '"two_phase": '
TIMEOUT_SECONDS: Final = 120
BESIDE_THE_COPY: Final = (sys.executable, "-m", "tests.integration.test_without_two_phase")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources and the contracts of their imports, without two-phase commit."""
    folder = tmp_path_factory.mktemp("without_two_phase")
    for name in ("src", "bench"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.rmtree(folder / "src/tallystick" / FOLDER)
    named = folder / "src/tallystick/ledger/crossing/ways.py"
    lines = named.read_text("utf-8").splitlines(keepends=True)
    left = [line for line in lines if LINE not in line]
    assert len(lines) - len(left) == 1
    named.write_text("".join(left), encoding="utf-8")
    return folder


def run(copy: Path, *command: str) -> str:
    """Run a command that imports the copy and must succeed. Returns its output."""
    paths = os.pathsep.join(map(str, (copy / "src", copy / "bench", ROOT)))
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_left_can_be_imported(copy: Path) -> None:
    run(copy, *BESIDE_THE_COPY, "import")


def test_what_is_left_keeps_the_contracts_of_its_imports(copy: Path) -> None:
    assert " 0 broken." in run(copy, str(Path(sys.executable).with_name("lint-imports")))


def test_no_dead_code_is_left(copy: Path) -> None:
    source = left_over.read(
        {"tallystick": copy / "src/tallystick", "tallystick_bench": copy / "bench/tallystick_bench"}
    )
    assert left_over.dead_modules(source) == []
    assert left_over.dead_files(source) == []
    assert left_over.dead_names(source) == []


@pytest.mark.slow
def test_sagas_pay_and_two_phase_is_refused(copy: Path, shards: TwoShards) -> None:
    run(copy, *BESIDE_THE_COPY, "pay", *shards.dsns.values())
    assert_whole_together(shards)


# What the processes run that import the copy.


def import_all() -> None:
    for module in pkgutil.walk_packages(tallystick.__path__, "tallystick."):
        if not module.name.endswith(".__main__"):
            import_module(module.name)


async def pay(*dsns: str) -> None:
    async with Ledger.connect(*dsns) as ledger:
        (payer,) = await open_accounts(ledger, HOME, 1, kind=AccountKind.SYSTEM)
        (payee,) = await open_accounts(ledger, AWAY, 1)
        answer = await ledger.transfer(
            account_name(payer), account_name(payee), 5, "USD", idempotency_key="across"
        )
        assert isinstance(answer, Transaction)
        assert answer.state == "posted"
    with pytest.raises(ConfigurationError, match='expected "saga" as cross_shard, not "two_phase"'):
        async with Ledger.connect(*dsns, cross_shard="two_phase"):
            pass


if __name__ == "__main__":
    assert Path(tallystick.__file__).is_relative_to(Path.cwd())
    if sys.argv[1] == "import":
        import_all()
    else:
        asyncio.run(pay(*sys.argv[2:]))
