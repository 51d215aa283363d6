"""The page for those who have a PostgreSQL already: the statements and settings in it, as they stand there."""

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "existing-postgres.md"


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of one language in a section."""
    sections = re.split(r"^## ", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"{heading}\n")]
    found = re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    assert found, (heading, language)
    return found


def statements(heading: str) -> list[str]:
    """The SQL statements of a section, in order."""
    return [line for block in blocks(heading, "sql") for line in block.splitlines() if line]
