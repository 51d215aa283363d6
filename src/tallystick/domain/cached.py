"""The contents of the cache: balances and, for each shard, a mark. Both are short texts.

A **mark** says up to which position the tailer has read the log: `<generation> <position>`. While the mark exists,
every balance of its generation is at least as new as that position. When the mark is lost, all cached balances are
invalid, and a new mark begins another generation. A new mark is `<generation> <position> opening`: balances are
cached under it, but are not served until the tailer has read the log from that position. Otherwise a reader could see
a balance that is older than one it has read before.

A **cached balance** is `<generation> <position> <balance> <held> <tenant> <asset>`, and a seal where there is a key.
"""

import hmac
import re
from collections.abc import Callable
from hashlib import blake2b, sha256
from typing import Final, NamedTuple

from tallystick.domain import limits
from tallystick.domain.accounts import AccountState

# The form that the scripts read. A position has 16 digits at most.
_MARK: Final = re.compile(rb"([0-9a-f]+) ([0-9]{1,16})")
_OPENING: Final = b" opening"
_BALANCE_FIELDS: Final = 6
_SEAL_BYTES: Final = 16
# A seal begins with the time of sealing, as hexadecimal seconds since 1970.
_SEAL_TIME_DIGITS: Final = 8
# The time of a seal on a balance that may not be the newest one.
NOT_NEWEST: Final = 0


class Mark(NamedTuple):
    """The position up to which a log was read, and the generation. `text` is the mark as it is in the cache."""

    generation: bytes
    position: int
    text: bytes

    def moved(self, position: int, *, level: bool) -> "Mark":
        """The mark for a later position. An opening mark becomes valid when it reaches the end of the log."""
        opening = b"" if level or not self.text.endswith(_OPENING) else _OPENING
        return Mark(self.generation, position, b"%b %d%b" % (self.generation, position, opening))


class CachedBalance(NamedTuple):
    """An account's balance after its newest entry, which is at `position`."""

    account: int
    position: int
    balance: int
    held: int
    tenant: int
    asset: str


def opening_mark(generation: str, position: int) -> Mark:
    """A mark that begins a generation and is not valid yet."""
    return Mark(generation.encode(), position, b"%b %d%b" % (generation.encode(), position, _OPENING))


def read_mark(text: bytes | None) -> Mark | None:
    """The valid mark in a text. None: the mark is missing, opening or unreadable."""
    found = None if text is None else _MARK.fullmatch(text)
    return None if found is None else Mark(found[1], int(found[2]), found[0])


def balance_text(position: int, balance: int, held: int, tenant: int, asset: str) -> str:
    """The text of a balance without its generation. The script that knows the mark adds it."""
    return f"{position} {balance} {held} {tenant} {asset}"


def write_balance(balance: CachedBalance) -> str:
    """The text of a balance that was read."""
    return balance_text(*balance[1:])


def write_state(state: AccountState) -> str:
    """The text of an account's balance."""
    terms = state.terms
    return balance_text(state.position, state.balance, state.held, terms.tenant, terms.asset)


class Seals:
    """Seals balances. Only the holder of the key can make a seal. Without a key there are no seals.

    A seal covers the time of sealing, the shard, the account and the whole text, so it is valid for nothing else, and
    not for ever: an attacker who can write to the cache may put an old balance back.
    """

    def __init__(self, key: str | None) -> None:
        """`key` is a text of any length."""
        # A hash that has read the key. It is copied for each seal, which is cheaper than reading the key again.
        self._keyed = (
            None if key is None else blake2b(digest_size=_SEAL_BYTES, key=sha256(key.encode()).digest())
        )

    @property
    def are_made(self) -> bool:
        """Whether there is a key, so that balances are sealed."""
        return self._keyed is not None

    @property
    def characters(self) -> int:
        """By how much a sealed text is longer."""
        return 0 if self._keyed is None else 1 + _SEAL_TIME_DIGITS + 2 * _SEAL_BYTES

    def sealer(self, shard: int, at_seconds: int) -> Callable[[int, str], str]:
        """A function that seals the texts of balances of a shard, by account.

        `at_seconds`: when they were the newest, in seconds since 1970, or NOT_NEWEST.
        """
        if self._keyed is None:
            return _unsealed
        common = self._keyed.copy()
        common.update(b"%d %d " % (at_seconds, shard))
        sealed_at = f"{at_seconds:0{_SEAL_TIME_DIGITS}x}"

        def sealed(account: int, text: str) -> str:
            seal = common.copy()
            seal.update(f"{account} {text}".encode())
            return f"{text} {sealed_at}{seal.hexdigest()}"

        return sealed

    def opened(self, shard: int, account: int, text: bytes, now_seconds: float) -> bytes | None:
        """The text of a cached balance, without its seal; None if it was sealed too long ago.

        Raises:
            ValueError: the seal is missing, or does not belong to this text.
        """
        if self._keyed is None:
            return text
        generation, _, sealed = text.partition(b" ")
        balance, _, seal = sealed.rpartition(b" ")
        at_seconds = int(seal[:_SEAL_TIME_DIGITS], 16)
        expected = self.sealer(shard, at_seconds)(account, balance.decode()).encode()
        if not hmac.compare_digest(expected, sealed):
            raise ValueError("not sealed by us")
        # The clock of the server that sealed it may be ahead.
        if abs(now_seconds - at_seconds) > limits.CACHE_SEAL_SECONDS_MAX:
            return None
        return b"%b %b" % (generation, balance)


def _unsealed(_: int, text: str) -> str:
    """The text of a balance where there is no key."""
    return text


def read_balance(account: int, generation: bytes, text: bytes) -> CachedBalance | None:
    """A balance of this generation; None if it belongs to another generation.

    Raises:
        ValueError: the text is not a balance.
    """
    fields = text.split(b" ")
    if len(fields) != _BALANCE_FIELDS:
        raise ValueError("not a balance")
    if fields[0] != generation:
        return None
    _, position, balance, held, tenant, asset = fields
    return CachedBalance(account, int(position), int(balance), int(held), int(tenant), asset.decode("ascii"))


def cached_balance(state: AccountState) -> CachedBalance:
    """The balance of an account, as it is cached."""
    terms = state.terms
    return CachedBalance(terms.account, state.position, state.balance, state.held, terms.tenant, terms.asset)
