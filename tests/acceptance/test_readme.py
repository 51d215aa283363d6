"""What the README tells people to paste, word for word, against what `tallystick up` started."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.processes import COMMAND_TIMEOUT_SECONDS, Up, call, environment, free_port, servers

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh" and not text.startswith("make ")]
STREAMS = [text for text in SHELL if "text/event-stream" in text]
PAYMENT = SHELL[0]
# What a terminal knows in which the first block was pasted.
IN_SECOND_TERMINAL = ". .data/shell\n"
CACHE_IS_SLOW = "ALARM: balances are read from PostgreSQL"


class Project(NamedTuple):
    """A folder in which `make up` runs, as far as what is pasted can tell."""

    folder: Path
    ready: dict[str, Any]

    def paste(self, text: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-ec", text],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        # A machine that stands still for a moment is slower than the cache may be: that is said, and does no harm.
        said = [line for line in done.stderr.splitlines() if CACHE_IS_SLOW not in line]
        assert (done.returncode, said) == (0, []), text
        return done.stdout

    def balance(self, name: str) -> int:
        status, found = call(self.ready, "GET", f"/v1/accounts/{self.ready['accounts'][name]}")
        assert status == 200
        return int(found["balance"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("readme") / "my tallystick"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    data = folder / ".data"
    try:
        with Up(data, free_port(), "--json") as up:
            yield Project(folder, up.ready())
    finally:
        for server in servers(data):
            server.remove()


def test_nothing_is_left_to_fill_in() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "python", "json"}
    assert not [text for text in SHELL if re.search(r"…|<\w|#", text)]


def test_a_payment_that_is_pasted_twice_moves_money_once(project: Project) -> None:
    assert PAYMENT.startswith(IN_SECOND_TERMINAL)
    before = project.balance("alice")
    first, second = project.paste(PAYMENT), project.paste(PAYMENT)
    assert json.loads(first)["state"] == "posted"
    assert first == second
    assert project.balance("alice") == before - 1_250


def test_the_program_pays_once(project: Project) -> None:
    (program,) = [text for language, text in BLOCKS if language == "python"]
    (project.folder / "pay.py").write_text(program, encoding="utf-8")
    (command,) = re.findall(r"`(\.venv/bin/python pay\.py)`", README)
    before = project.balance("bob")
    first, second = (project.paste(IN_SECOND_TERMINAL + command) for _ in range(2))
    assert first.startswith("Transaction(id='txn_")
    assert first == second
    assert project.balance("bob") == before + 1_250


def test_a_balance_changes_live(project: Project) -> None:
    (stream,) = STREAMS
    assert stream.startswith(IN_SECOND_TERMINAL)
    with subprocess.Popen(
        ["/bin/sh", "-ec", stream.replace("curl", "exec curl")],
        cwd=project.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None
        said = (
            json.loads(line.removeprefix("data: ")) for line in reader.stdout if line.startswith("data: ")
        )
        try:
            before = int(next(said)["balance"])
            project.paste(PAYMENT.replace("order-16", "order-18"))
            assert int(next(said)["balance"]) == before - 1_250
        finally:
            reader.terminate()


@pytest.mark.parametrize("text", [text for text in SHELL if text not in {PAYMENT, *STREAMS}])
def test_commands_succeed(project: Project, text: str) -> None:
    assert project.paste(IN_SECOND_TERMINAL + text)


def test_what_sets_the_shell_is_for_its_owner_alone(project: Project) -> None:
    path = Path(project.ready["shell"])
    assert path == project.folder / ".data/shell"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.geteuid()
