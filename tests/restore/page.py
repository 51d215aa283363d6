"""The page on back-ups and restoring: its commands, as they stand there, run by the user who owns the data."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tallystick.embedded.server_account import ServerAccount

_PAGE: Final = Path(__file__).parents[2] / "docs" / "operations" / "backups.md"
_SECONDS_MAX: Final = 120.0


def blocks() -> list[str]:
    """All commands of the page, block by block."""
    return re.findall(
        r"^```sh\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def block(first_words: str) -> str:
    """The only block that has these words."""
    (found,) = [text for text in blocks() if first_words in text]
    return found


class Operator:
    """Who follows the page: with PostgreSQL's programs at hand, and the names that the page wants."""

    def __init__(self, account: ServerAccount, folder: Path, names: Mapping[str, str]) -> None:
        self._account = account
        self._folder = folder
        self.names = dict(names)
        self.followed: set[str] = set()
        self._begun: list[subprocess.Popen[bytes]] = []

    def follow(self, words: str) -> str:
        """The block with these words, which is run in another way, or by this."""
        text = block(words)
        self.followed.add(text)
        return text

    def run(self, words: str) -> str:
        """Run the block with these words; its output."""
        text = self.follow(words)
        done = subprocess.run(
            ["/bin/sh", "-ec", text],
            env=self._environment(),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX,
            check=False,
            user=self._account.user_id if self._account.switches else None,
            group=self._account.group_id if self._account.switches else None,
            extra_groups=[] if self._account.switches else None,
        )
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout

    def begin(self, words: str) -> None:
        """Start the block with these words, which goes on until `end_all`."""
        with (self._folder / "begun.log").open("ab") as output:
            process = self._account.start(
                ["/bin/sh", "-ec", self.follow(words)],
                output=output,
                folder=self._folder,
                environment=self._environment(),
            )
        self._begun.append(process)

    def end_all(self) -> None:
        """End what was begun, and the server that was restored."""
        for process in self._begun:
            process.kill()
            process.wait()
        self._begun.clear()
        restored = Path(self.names["RESTORED"])
        if restored.exists():
            stop: list[str | Path] = [
                f"{self.names['PROGRAMS']}/pg_ctl",
                "--pgdata",
                restored,
                "--mode=immediate",
                "stop",
            ]
            self._account.run(stop)

    def _environment(self) -> dict[str, str]:
        return {**self.names, "PATH": f"{self.names['PROGRAMS']}:{os.environ['PATH']}", "LC_ALL": "C"}
