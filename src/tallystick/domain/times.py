"""Times: microseconds since 1970 in rows, UTC elsewhere."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# All transactions of a batch have the same time.
@lru_cache(maxsize=1024)
def time_of(microseconds: int) -> datetime:
    """A time in UTC from microseconds since 1970."""
    # One large number of microseconds takes longer to add.
    return _EPOCH + timedelta(0, *divmod(microseconds, 1_000_000))


def microseconds_of(time: datetime) -> int:
    """Microseconds since 1970 of a time with its zone."""
    return (time - _EPOCH) // timedelta(microseconds=1)
