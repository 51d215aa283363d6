"""The requests beside the log that have an idempotency key, in one shard's database."""

from typing import NamedTuple

from tallystick.domain import limits
from tallystick.store.connection import Database


class KeptRequest(NamedTuple):
    """What a request asked for, what was drawn for it, and its answer; None: it has none yet."""

    fingerprint: bytes
    drawn: bytes
    answer: bytes | None


class Claim(NamedTuple):
    """What was drawn for a request at its first try, and the number of this try."""

    drawn: bytes
    tries: int


class KeptRequests:
    """The requests of one shard's database. Every method raises what the database's `rows` and `write` raise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, key: bytes, tenant: int, fingerprint: bytes, drawn: bytes) -> Claim | None:
        """Claim a request: only the caller carries it out for a time.

        None if it is another request, has an answer, or is being carried out.
        """
        rows = await self._database.write(
            "kept_request_claim",
            key,
            tenant,
            fingerprint,
            drawn,
            limits.KEPT_REQUEST_CLAIM_SECONDS,
            limits.KEPT_REQUEST_SECONDS,
        )
        return Claim(*rows[0]) if rows else None

    async def find(self, key: bytes) -> KeptRequest | None:
        """The request with a key."""
        rows = await self._database.rows("kept_request", key)
        return KeptRequest(*rows[0]) if rows else None

    async def answer(self, key: bytes, answer: bytes) -> bool:
        """Record the answer. Returns False if there is one already, or the request is not known any more."""
        return bool(await self._database.write("kept_request_answer", key, answer))

    async def release(self, key: bytes, tries: int) -> None:
        """Let the same request be carried out again at once, unless another server tries it already."""
        await self._database.write("kept_request_release", key, tries)

    async def forget(self, key: bytes, tries: int) -> None:
        """Let the key be used by any request, unless another server tries this one already."""
        await self._database.write("kept_request_forget", key, tries)
