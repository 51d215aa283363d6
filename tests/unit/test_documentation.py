"""The documentation is whole: each page is in the index, and each link leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "tallystick"
INDEX = DOCS / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# Decisions and the change log tell of their time, and may name what is gone.
CURRENT = [page for page in PAGES if page.parent.name != "decisions" and page.name != "CHANGELOG.md"]

_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_FILE = re.compile(
    r"`((?:src|tests|docs|requirements|domain|store|ledger|followers|verify|service|api|cli|embedded)/[\w./-]+)`"
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(ROOT))


def links(page: Path) -> list[str]:
    """The links of a page to other pages and files; those to the web are left out."""
    prose = _CODE.sub("", _FENCED.sub("", page.read_text(encoding="utf-8")))
    return [link for link in _LINK.findall(prose) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, in the form that GitHub and GitLab give them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_each_page_is_in_the_index() -> None:
    named = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    pages = {page for page in PAGES if page.parent == DOCS} - {INDEX}
    assert pages - named == set()


def test_each_page_has_one_line_in_the_index() -> None:
    lines = [line for line in INDEX.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert all(re.fullmatch(r"- \[[^]]+\]\([^)]+\): .+", line) for line in lines)
    assert len({line.partition("](")[2].partition(")")[0] for line in lines}) == len(lines)


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n[a](page.md#page) [b](#page) [c](none.md) [d](#none) `[e](none.md)`\n")
    assert broken(page) == ["none.md", "#none"]


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_each_file_that_a_page_names_is_there(page: Path) -> None:
    named = [path for path in _FILE.findall(page.read_text(encoding="utf-8")) if "NAME" not in path]
    assert [path for path in named if not (ROOT / path).exists() and not (PACKAGE / path).exists()] == []
