"""Versions of the program beside this one: folders that a package is imported from.

The next version is this one with two more migrations, one for each half of an upgrade, and the code that
they are for. The version before is the last one that had a migration less, from the history of the repository.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tallystick.store.schema_version import known_migrations, number_of
from tests.attack.planted import PACKAGE, Bug, package_with

ROOT: Final = Path(__file__).parents[2]
MIGRATIONS: Final = "store/migrations"
QUERIES: Final = "store/queries"
SECONDS_MAX: Final = 120

_NUMBER: Final = number_of(known_migrations()[-1])
BEFORE: Final = f"{_NUMBER + 1:04d}.titles_of_assets"
AFTER: Final = f"{_NUMBER + 2:04d}.names_of_assets.after"

# A column gets another name, in a way that both versions can live with; and one that every payment writes to is more.
_BEFORE: Final = """\
ALTER TABLE transactions ADD COLUMN channel text;
ALTER TABLE assets ADD COLUMN title text;
UPDATE assets SET title = name;
ALTER TABLE assets ALTER COLUMN title SET NOT NULL;

CREATE FUNCTION name_asset_twice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.title := coalesce(NEW.title, NEW.name);
    NEW.name := coalesce(NEW.name, NEW.title);
    RETURN NEW;
END
$$;
CREATE TRIGGER named_twice BEFORE INSERT ON assets FOR EACH ROW EXECUTE FUNCTION name_asset_twice();
"""
_AFTER: Final = """\
DROP TRIGGER named_twice ON assets;
DROP FUNCTION name_asset_twice();
ALTER TABLE assets DROP COLUMN name;
"""
INCOMPATIBLE: Final = _BEFORE + _AFTER
"""A migration that servers of the version before cannot live with, under a name that says that they can."""

_CHANGES: Final = [
    Bug(f"{QUERIES}/add_asset.sql", "scale, name)", "scale, title)"),
    Bug(f"{QUERIES}/directory_add_asset.sql", "scale, name)", "scale, title)"),
    Bug(f"{QUERIES}/list_assets.sql", "scale, name FROM", "scale, title AS name FROM"),
    Bug(f"{QUERIES}/directory_assets.sql", "scale, name FROM", "scale, title AS name FROM"),
]


def next_version(folder: Path, *, before: str = _BEFORE, after: str = _AFTER) -> Path:
    """Make the next version. `before` and `after` are its migrations."""
    folder.mkdir()
    package_with(_CHANGES, folder)
    for name, text in ((BEFORE, before), (AFTER, after)):
        (folder / "tallystick" / MIGRATIONS / f"{name}.sql").write_text(text, encoding="utf-8")
    # What its `make schema` does.
    done = run_version(folder, "-m", "tests.made")
    assert done.returncode == 0, done.stderr
    return folder


def version_before(folder: Path) -> Path:
    """Take the version before the newest migration from the history, or skip the test where that is not here."""
    newest = PACKAGE / MIGRATIONS / f"{known_migrations()[-1]}.sql"
    if not newest.is_relative_to(ROOT):
        pytest.skip("the package that is tested is not that of the repository")
    commit = _git("log", "-1", "--format=%H", "--diff-filter=A", "--", str(newest.relative_to(ROOT))).strip()
    if not commit or not _git("rev-parse", "--verify", "--quiet", f"{commit}^"):
        pytest.skip(
            "the history with the version before the newest migration is not here (git fetch --unshallow)"
        )
    folder.mkdir()
    archive = folder / "src.tar"
    _git("archive", "--output", str(archive), f"{commit}^", "src/tallystick")
    subprocess.run(["tar", "-xf", archive, "--strip-components", "1", "-C", folder], check=True)
    return folder


def run_version(package: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with the package of a folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths_with(package)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def paths_with(package: Path) -> str:
    """The paths of imports, with the package of a folder in the place of this one."""
    return os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout
