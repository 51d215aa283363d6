"""Units of systemd: its own check, and options that the command line has."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import pytest

from tallystick.cli.main import commands
from tallystick.service.environment import remove_secrets

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "systemd"
SYSTEMD_ANALYZE: Final = shutil.which("systemd-analyze")
PROGRAM: Final = "/opt/tallystick/bin/tallystick"
UNITS: Final = sorted(path for path in FOLDER.iterdir() if path.suffix in {".service", ".timer"})
SERVICES: Final = [path for path in UNITS if path.suffix == ".service"]

needs_systemd = pytest.mark.skipif(
    SYSTEMD_ANALYZE is None, reason="there is no systemd-analyze: apt-get install systemd"
)


def command_line(path: Path) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(line)


@needs_systemd
def test_systemd_reads_them_without_a_warning(tmp_path: Path) -> None:
    # The program is elsewhere here, perhaps in a folder with a space, and its users do not exist.
    program = tmp_path / "program"
    program.symlink_to(sys.executable)
    for path in UNITS:
        text = path.read_text(encoding="utf-8").replace(PROGRAM, str(program))
        (tmp_path / path.name).write_text(re.sub(r"^User=.*$", "User=root", text, flags=re.MULTILINE))
    done = subprocess.run(
        [str(SYSTEMD_ANALYZE), "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "tallystick" in line]
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_the_server_is_closed_in() -> None:
    done = subprocess.run(
        [str(SYSTEMD_ANALYZE), "security", "--offline=yes", "--threshold=25", str(FOLDER / "tallystick.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_the_command_has_these_options(path: Path) -> None:
    program, name, *arguments = command_line(path)
    assert program == PROGRAM
    context = click.Context(commands)
    command = commands.get_command(context, name)
    assert command is not None
    command.make_context(name, arguments, resilient_parsing=False)


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_the_server_takes_these_secrets(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    credentials = set(re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE))
    variables = dict(re.findall(r"^Environment=(\w+)=%d/(\w+)$", text, re.MULTILINE))
    assert set(variables.values()) == credentials
    # They are variables of secrets, and no others.
    assert sorted(remove_secrets(dict(variables))) == sorted(variables)
