"""What `Retry-After` may say, and what is made of it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.limits import WEBHOOK_RETRY_DELAY_SECONDS_MAX, WEBHOOK_RETRY_DELAY_SECONDS_MIN
from tallystick.domain.webhooks import retry_after_seconds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", WEBHOOK_RETRY_DELAY_SECONDS_MIN),
        ("3601", WEBHOOK_RETRY_DELAY_SECONDS_MAX),
        ("9" * 10_000, WEBHOOK_RETRY_DELAY_SECONDS_MAX),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 01:00:30 +0100", 30.0),
        ("Thursday, 01-Jan-26 00:00:30 GMT", 30.0),
        ("Thu Jan  1 00:00:30 2026", 30.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", WEBHOOK_RETRY_DELAY_SECONDS_MIN),
        ("Thu, 01 Jan 2099 00:00:00 GMT", WEBHOOK_RETRY_DELAY_SECONDS_MAX),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("Thu, 01 Jan 1900 00:00:00 GMT", WEBHOOK_RETRY_DELAY_SECONDS_MIN),
        ("Thu, 99 Jan 2026 00:00:00 GMT", None),
    ],
)
def test_what_is_said_and_what_is_done(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(
    st.text()
    | st.from_regex(r"[A-Za-z]{0,9},? ?-?\d{0,9}[- ][A-Za-z]{0,4}[- ]-?\d{0,9} \d{1,9}:\d\d:\d\d.{0,9}")
)
def test_whatever_is_said_it_is_bounded(value: str) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or WEBHOOK_RETRY_DELAY_SECONDS_MIN <= seconds <= WEBHOOK_RETRY_DELAY_SECONDS_MAX
