"""Walks the README inside a bare system, with nothing but Python: clones, `make up`, pays, verifies, Ctrl-C, again.

`walk.py WHO...`: who starts it, one after the other: `root`, `user`, or "root in the user's folder". The first says
whose the project is.
"""

import os
import pwd
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

READY_TIMEOUT_SECONDS = 300.0
STOP_TIMEOUT_SECONDS = 90.0
COMMAND_TIMEOUT_SECONDS = 120.0
SERVERS = ("postgres", "valkey-server", "tallystick")


class Person:
    """A user at a terminal, in the folder of the project."""

    def __init__(self, name: str, project: Path) -> None:
        self._entry = pwd.getpwnam(name)
        self._project = project

    def start(self, command: list[str], **options: object) -> "subprocess.Popen[str]":
        entry = self._entry
        pips = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command,
            cwd=self._project if self._project.is_dir() else entry.pw_dir,
            env={
                **pips,
                "PIP_CACHE_DIR": f"/cache/{entry.pw_name}",
                "HOME": entry.pw_dir,
                "USER": entry.pw_name,
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            text=True,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            start_new_session=True,
            **options,
        )

    def paste(self, text: str) -> str:
        """Paste what the README has into a terminal in which `.data/shell` was read."""
        return self.run("/bin/sh", "-ec", f". .data/shell\n{text}")

    def readme(self, language: str) -> list[str]:
        """The blocks of the README in one language."""
        text = (self._project / "README.md").read_text(encoding="utf-8")
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    def run(self, *command: str) -> str:
        """Run a command that must succeed, and return what it said."""
        process = self.start(list(command), stdout=subprocess.PIPE)
        said, _ = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        expect(process.returncode == 0, f"{command} ended with status {process.returncode}")
        return said


def expect(true: bool, what: str) -> None:
    """Fail unless something is so."""
    if not true:
        sys.exit(f"not so: {what}")


def walk(person: Person, log: Path) -> str:
    """Start everything, pay, verify, press Ctrl-C; return the API key that was printed."""
    with log.open("w", encoding="utf-8") as output:
        up = person.start(["make", "up"], stdout=output, stderr=output)
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while "Ctrl-C stops everything" not in log.read_text(encoding="utf-8"):
        expect(
            up.poll() is None and time.monotonic() < deadline,
            f"it is ready: {log.read_text(encoding='utf-8')}",
        )
        time.sleep(0.1)
    lines = log.read_text(encoding="utf-8").splitlines()
    payments = [line for line in lines if line.startswith("curl ")]
    expect(len(payments) == 2, "there is a line that pays bob, and one that pays carol")
    for line in payments:
        expect('"state":"posted"' in person.run("/bin/sh", "-c", line), "the payment is posted")
    pays, *others = [block for block in person.readme("sh") if not block.startswith("make ")]
    expect(person.paste(pays) == person.paste(pays), "what is pasted twice has the same answer")
    (pay,) = person.readme("python")
    # Root leaves nothing of its own in a user's folder.
    expect("Transaction(" in person.paste(f".venv/bin/python -B - <<'END'\n{pay}\nEND"), "the program pays")
    for block in others:
        if "text/event-stream" not in block:  # it has no end
            person.paste(block)
    os.killpg(up.pid, signal.SIGINT)
    up.wait(STOP_TIMEOUT_SECONDS)
    said = log.read_text(encoding="utf-8")
    expect("Traceback" not in said, f"it says what it does in words: {said}")
    running = [name for name in map(program, Path("/proc").glob("[0-9]*")) if name in SERVERS]
    expect(not running, f"nothing is left running, and not {running}")
    left = list(Path("/tmp").glob("tallystick*"))
    expect(not left, f"nothing is left in /tmp, and not {left}")
    return next(line for line in lines if "API key" in line)


def program(process: Path) -> str:
    """The name of a process, or nothing when it has ended."""
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def main(starts: list[str]) -> None:
    """Walk as each of them."""
    owner = "root" if starts == ["root"] * len(starts) else "user"
    project = Path(pwd.getpwnam(owner).pw_dir) / "tallystick"
    Person(owner, project).run(
        "git", "-c", "advice.detachedHead=false", "clone", "--quiet", "/tallystick.bundle", str(project)
    )
    keys = set()
    for number, start in enumerate(starts):
        keys.add(walk(Person(start.split()[0], project), Path(f"/walk.{number}.log")))
        strangers = [path for path in project.rglob("*") if path.lstat().st_uid != pwd.getpwnam(owner).pw_uid]
        expect(not strangers, f"everything is {owner}'s, and not {strangers[:3]}")
    expect(len(keys) == 1, "all starts have the same books")


if __name__ == "__main__":
    main(sys.argv[1:])
