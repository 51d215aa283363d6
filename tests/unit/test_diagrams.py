"""The diagrams of the documentation are those that the code draws from its tables."""

from pathlib import Path

from tests.diagrams import DIAGRAMS

PAGE = Path(__file__).parents[2] / "docs" / "crossing-shards.md"


def test_the_page_shows_the_saga_as_the_code_follows_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert DIAGRAMS["sagas"] in page
    assert DIAGRAMS["split sagas"] in page


def test_a_diagram_names_every_state() -> None:
    for name in ("reserved", "credited", "refused", "finalized", "released"):
        assert f" {name}" in DIAGRAMS["sagas"]
    for name in (
        "reserved",
        "promised",
        "refused",
        "finalized",
        "confirmed",
        "settled",
        "given_up",
        "revoked",
    ):
        assert f" {name}" in DIAGRAMS["split sagas"]
