"""The user that servers of root's run as: made once, however many ask, on a system that has never seen it.

Each test has such a system: a mount namespace of its own with an /etc and a /var/lib that it may change.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

ROUNDS = 5
RUN_TIMEOUT_SECONDS = 120.0
FILES = ("passwd", "group", "shadow", "gshadow")
OTHER_FILES = ("nsswitch.conf", "login.defs")

ENTER = """
set -e
mount --bind "$1/etc" /etc
mount --bind "$1/lib" /var/lib
if [ -n "$2" ]; then mount --bind "$1/nothing" "$2"; fi
shift 2
exec "$@"
"""

# Threads, as the nodes of one `tallystick up` are, in two processes, as two of it are.
MANY = """
import os, pwd, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from tallystick.embedded.server_account import account_for

together = Barrier(3)
child = os.fork()

def ask(_):
    together.wait()
    return account_for(Path("/nowhere"))

with ThreadPoolExecutor(3) as threads:
    found = set(threads.map(ask, range(3)))
(account,) = found
assert pwd.getpwuid(account.user_id).pw_name == account.name == "tallystick"
assert account.run(["/usr/bin/id", "-un"]).stdout == "tallystick\\n"
os.write(1, f"{account.user_id}\\n".encode())  # at once, as the other process writes, too
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""

ONE = """
from pathlib import Path
from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.server_account import account_for
try:
    account = account_for(Path("/nowhere"))
except EmbeddedServerError as error:
    print(error)
else:
    print(account.run(["/usr/bin/id", "-un"]).stdout, account.run(["/usr/bin/id", "-gn"]).stdout)
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder with the `etc` and the `lib` of a system without our user."""
    if os.geteuid() != 0:
        pytest.skip("only root makes users, and systems to make them in")
    for name in ("lib", "etc", "nothing"):
        (tmp_path / name).mkdir()
    for name in (*FILES, *OTHER_FILES):
        if (Path("/etc") / name).exists():
            shutil.copy(Path("/etc") / name, tmp_path / "etc" / name)
    without_user(tmp_path)
    return tmp_path


@pytest.fixture
def run(system: Path) -> Run:
    """Run a program of Python's on that system, with a folder hidden if asked to."""

    def in_system(program: str, *, hidden: str = "") -> subprocess.CompletedProcess[str]:
        inside = ["/bin/sh", "-c", ENTER, "sh", str(system), hidden, sys.executable, "-c", program]
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *inside],
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIMEOUT_SECONDS,
        )

    if shutil.which("unshare") is None or in_system("").returncode != 0:
        pytest.skip("unshare cannot make a system here to make users in")
    return in_system


def lines(system: Path, name: str) -> list[str]:
    text = (system / "etc" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("tallystick:")]


def without_user(system: Path) -> None:
    for name in FILES:
        path = system / "etc" / name
        kept = [
            line
            for line in path.read_text(encoding="utf-8").splitlines()
            if not line.startswith("tallystick:")
        ]
        path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def test_all_who_ask_at_once_are_given_the_same_user(system: Path, run: Run) -> None:
    for _ in range(ROUNDS):
        done = run(MANY)
        assert done.returncode == 0, done.stderr
        (user_id,) = set(done.stdout.split())
        (line,) = lines(system, "passwd")
        assert line.split(":")[2] == user_id
        without_user(system)


def test_a_group_that_is_left_is_taken(system: Path, run: Run) -> None:
    with (system / "etc" / "group").open("a", encoding="utf-8") as groups:
        groups.write("tallystick:x:977:\n")
    assert run(ONE).stdout.split() == ["tallystick", "tallystick"]
    (line,) = lines(system, "passwd")
    assert line.split(":")[3] == "977"


def test_a_user_without_a_group_will_do(system: Path, run: Run) -> None:
    with (system / "etc" / "passwd").open("a", encoding="utf-8") as users:
        users.write("tallystick:x:976:976::/nonexistent:/bin/false\n")
    assert run(ONE).stdout.split()[0] == "tallystick"
    assert len(lines(system, "passwd")) == 1


def test_without_a_program_to_make_users_it_says_what_to_do(run: Run) -> None:
    said = run(ONE, hidden="/usr/sbin").stdout
    assert "there is no program useradd" in said
    assert "make it with 'useradd --system" in said
    assert said.count("\n") == 1


def test_a_user_who_cannot_be_made_is_one_line(system: Path, run: Run) -> None:
    (system / "etc" / "shadow").unlink()
    (system / "etc" / "shadow").mkdir()
    said = run(ONE).stdout
    assert "the system user 'tallystick' could not be made (useradd" in said
    assert said.count("\n") == 1
