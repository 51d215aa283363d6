"""What a command prints into a pipe: whole lines, and no spaces at their ends."""

import pytest

from tallystick.cli.output import print_fields, print_rows

LONG = "word " * 1_000


def test_rows_are_whole_lines_without_spaces_at_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(["name", "what"], [("short", "little"), ("long", f"{LONG}end")])
    assert capsys.readouterr().out.splitlines() == ["name   what", "short  little", f"long   {LONG}end"]


def test_fields_are_whole_lines_without_spaces_at_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"name": "short", "what": f"{LONG}end", "none": None})
    assert capsys.readouterr().out.splitlines() == ["name  short", f"what  {LONG}end", "none  -"]
