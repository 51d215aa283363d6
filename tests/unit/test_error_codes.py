"""The list of error codes is whole, and its page is the one that the code writes."""

import re
from pathlib import Path

from tallystick.api.error_codes import ERROR_CODES, page
from tallystick.domain.outcomes import RefusalCode, Unserved

ROOT = Path(__file__).parents[2]
LISTED = {one.code for one in ERROR_CODES}


def test_the_page_is_what_the_code_writes() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m tallystick.api.error_codes > docs/errors.md"


def test_each_code_is_listed_once() -> None:
    assert len(LISTED) == len(ERROR_CODES)


def test_every_refusal_that_a_client_may_get_is_listed() -> None:
    refusals = {code.text for code in RefusalCode} - {"idempotency_key_claimed"}
    assert refusals | {reason.value for reason in Unserved} <= LISTED


def test_every_code_that_the_api_writes_itself_is_listed() -> None:
    source = (ROOT / "src" / "tallystick" / "api" / "problems.py").read_text(encoding="utf-8")
    source += (ROOT / "src" / "tallystick" / "api" / "endpoint.py").read_text(encoding="utf-8")
    written = set(re.findall(r'answer\(\s*"(\w+)"', source)) | set(
        re.findall(r'(?::|get\(.*,) "(\w+_\w+)"', source)
    )
    assert {"parameter_invalid", "asset_exists", "path_not_found", "request_invalid"} <= written
    assert written <= LISTED


def test_what_is_to_be_sent_again_says_when() -> None:
    assert {one.code for one in ERROR_CODES if one.retry_after_seconds is not None} == {
        "hold_busy",
        "overloaded",
        "position_not_reached",
        "shard_unavailable",
        "standby_unavailable",
        "too_many_streams",
    }
