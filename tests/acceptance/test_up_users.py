"""`tallystick up` among several users: what it makes is private, root leaves a user's folder to the user."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.cli import as_owner
from tallystick.cli.as_owner import can_run
from tests.acceptance.processes import Up, free_port, run, servers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
ORDINARY = pwd.getpwnam("nobody")
NAMELESS_USER_ID = 54_321
COMMAND_TIMEOUT_SECONDS = 60.0
PASSABLE = 0o711

# All is imported before: the ordinary user may not be able to read root's Python.
REFUSED = """
import encodings.ascii, encodings.idna, os, sys
from pathlib import Path
from tallystick.cli.data_folder import make_data_folder
from tallystick.cli.errors import CommandError
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
try:
    make_data_folder(Path(sys.argv[1]))
except CommandError as error:
    print(error.message)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short path that everybody may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for data in folder.glob("**/data"):
        for server in servers(data):
            server.remove()
    shutil.rmtree(folder)


@pytest.fixture
def users_folder(open_folder: Path) -> Path:
    """A folder of an ordinary user's."""
    folder = open_folder / "users"
    folder.mkdir()
    os.chown(folder, ORDINARY.pw_uid, ORDINARY.pw_gid)
    return folder


def below(folder: Path) -> list[Path]:
    return [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]


def temporary_folders(folder: Path) -> set[Path]:
    return set(folder.glob("tallystick-*"))


def test_what_is_made_is_private_whatever_the_umask(open_folder: Path) -> None:
    data = open_folder / "new" / "data"
    with Up(data, free_port(), "--json", env={"TMPDIR": str(open_folder)}, umask=0) as up:
        up.ready()
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in below(open_folder / "new")}
        sockets = {
            path: stat.S_IMODE(path.lstat().st_mode)
            for folder in temporary_folders(open_folder)
            for path in below(folder)
        }
        assert up.end() == 0
    assert len(sockets) >= 6, "three folders with a socket in each"
    passable = {open_folder / "new", data, *data.glob("postgres_?")}
    wrong = {
        path: oct(mode)
        for path, mode in {**modes, **sockets}.items()
        if mode & 0o077 and (path not in passable or mode != PASSABLE)
    }
    assert wrong == {}


def test_a_run_that_was_killed_leaves_folders_that_the_next_one_takes_and_removes(open_folder: Path) -> None:
    data, port, env = open_folder / "data", free_port(), {"TMPDIR": str(open_folder)}
    with Up(data, port, "--json", env=env) as up:
        up.ready()
        made = temporary_folders(open_folder)
        assert len(made) == 4, "one for each node, one for the cache, and one for the figures of workers"
        figures = set(open_folder.glob("tallystick-figures-*"))
        up.end(signal.SIGKILL)
    with Up(data, port, "--json", env=env) as up:
        up.ready()
        again = temporary_folders(open_folder)
        assert len(again) == len(made)
        assert again >= made - figures
        assert again.isdisjoint(figures)
        assert up.end() == 0
    assert temporary_folders(open_folder) == set()


def refused(data: Path) -> str:
    """What the ordinary user is told of a data folder; nothing when it will do."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(data), str(ORDINARY.pw_uid)],
        capture_output=True,
        text=True,
        check=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
    )
    return done.stdout


@needs_root
def test_a_folder_that_another_user_has_used_is_refused_with_what_gives_it_back(
    open_folder: Path, users_folder: Path
) -> None:
    data = users_folder / "the data"
    assert refused(data) == ""
    assert data.stat().st_uid == ORDINARY.pw_uid
    (data / "api_key").touch()
    said = refused(data)
    assert f"{data / 'api_key'} belongs to root" in said
    assert f"sudo chown -R {ORDINARY.pw_name}: '{data}';" in said
    shutil.rmtree(data)
    # As root has left it where the user of its servers cannot enter this folder.
    (data / "postgres_2").mkdir(parents=True)
    cluster = open_folder / "cluster"
    cluster.mkdir()
    Path(f"{cluster}.lock").touch()
    (data / "postgres_2" / "cluster").symlink_to(cluster)
    said = refused(data)
    assert f"chown -R {ORDINARY.pw_name}: '{data}' {cluster} {cluster}.lock;" in said
    command = said.partition("sudo ")[2].partition(";")[0]
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=COMMAND_TIMEOUT_SECONDS)
    assert refused(data) == ""


@needs_root
def test_root_becomes_the_owner_or_says_why_not(users_folder: Path) -> None:
    file = users_folder / "file"
    file.touch()
    done = run("up", "--data", str(file))
    assert done.returncode == 1
    became, reason = done.stderr.splitlines()
    program = [sys.executable, "-P", "-m", "tallystick.cli", "--version"]
    if can_run(ORDINARY, program):
        assert f"Running as {ORDINARY.pw_name}" in became
    else:
        assert (
            f"in a folder of {ORDINARY.pw_name}, who cannot run {sys.executable}: running as root" in became
        )
    assert "cannot make the data folder" in reason


@pytest.fixture
def python() -> str:
    """A Python that an ordinary user can run."""
    tried = [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"]
    new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    for program in tried:
        if can_run(ORDINARY, [program, "-c", new_enough]):
            return program
    pytest.skip(f"{ORDINARY.pw_name} can run none of {', '.join(tried)}")


def as_owner_of(python: str, folder: Path, *command: str, **env: str) -> str:
    done = subprocess.run(
        [python, "-I", as_owner.__file__, str(folder), *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        env={**os.environ, **env},
    )
    return done.stdout.strip()


@needs_root
def test_a_command_runs_as_the_owner_of_a_folder(python: str, users_folder: Path) -> None:
    for folder in (users_folder, users_folder / "missing" / "too"):
        assert as_owner_of(python, folder) == ORDINARY.pw_name
        assert as_owner_of(python, folder, "id", "-un") == ORDINARY.pw_name
    said = as_owner_of(python, users_folder, "env", XDG_CACHE_HOME="/root/.cache", TMPDIR="/root")
    environment = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert (environment["HOME"], environment["USER"]) == (ORDINARY.pw_dir, ORDINARY.pw_name)
    assert not {"XDG_CACHE_HOME", "TMPDIR"} & environment.keys()


@needs_root
def test_root_stays_root_where_nobody_else_could_work(python: str, open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    for folder, owner in (
        (open_folder, 0),
        (open_folder / "nameless", NAMELESS_USER_ID),
        (closed / "in", ORDINARY.pw_uid),
    ):
        folder.mkdir(exist_ok=True)
        os.chown(folder, owner, owner)
        assert as_owner_of(python, folder) == ""
        assert as_owner_of(python, folder, "id", "-u") == "0"
