"""A key belongs to a tenant, not to a shard. If its home is another shard, the key is claimed there first.

The reasons, the cost, and what holds while a home is away: docs/decisions/0010-a-key-is-the-tenants.md.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from tallystick.domain import limits
from tallystick.domain.commands import ClaimKey, RequestKey
from tallystick.domain.decide import NOTHING_DECIDED, commands_of
from tallystick.domain.outcomes import Posted, RefusalCode, Refused, not_tried, refuse
from tallystick.ledger import metrics
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.placement import Placement
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard
from tallystick.ledger.writing import Units

_log = structlog.get_logger(__name__)


class KeyClaims:
    """Claims keys on their homes. A home that does not answer is skipped. Only one request waits for it at a time."""

    def __init__(self, find: Callable[[int], Shard | None], placement: Callable[[], Placement]) -> None:
        """`find` returns a shard by its number, `placement` the current placement."""
        self._find = find
        self._placement = placement
        # Claims that were not answered in time, by home. While there are any, no other request waits for that home.
        self._late: dict[int, set[asyncio.Task[list[DecidedOutcome]]]] = {}

    async def claim(self, shard: Shard, units: Units) -> dict[int, Refused]:
        """Claim the keys of commands that go to a shard. Returns refusals for keys that are in use, by index.

        The index counts commands, including each command of an `Atomic`.

        Raises:
            OverloadedError: the queue of a home is full.
            UnavailableError: the shard cannot be asked for its earlier answers.
            FaultyCommandError: a bug refused a claim.
        """
        wanted, unclaimed = _wanted(self._placement(), shard, units)
        not_kept = await _not_tried(shard, unclaimed)
        if not wanted:
            return not_kept
        answered = await asyncio.gather(
            *(self._claim_on(home, list(claims.values())) for home, claims in wanted.items())
        )
        in_use = {
            place: (claim.request, refusal)
            for claims, answers in zip(wanted.values(), answered, strict=True)
            for (place, claim), answer in zip(claims.items(), answers, strict=False)
            if (refusal := _refusal(answer)) is not None and claim.request is not None
        }
        return not_kept | await _not_answered(shard, in_use)

    async def _claim_on(self, number: int, claims: Sequence[ClaimKey]) -> Sequence[DecidedOutcome]:
        """The answers of a home to claims; empty if it does not answer."""
        home = self._find(number)
        if home is not None and home.batcher.responsive and not self._late.get(number):
            claiming = asyncio.create_task(
                home.batcher.submit(claims, of_saga=True), name=f"claims of keys on shard {number}"
            )
            claiming.add_done_callback(_hear)
            if await _answered(claiming, home):
                with suppress(UnavailableError):
                    return claiming.result()
            else:
                _log.warning("keys are not claimed while their home does not answer", shard=number)
                late = self._late.setdefault(number, set())
                late.add(claiming)
                claiming.add_done_callback(late.discard)
        metrics.KEYS_UNCLAIMED.labels(str(number)).inc(len(claims))
        return ()


def _wanted(
    placement: Placement, shard: Shard, units: Units
) -> tuple[dict[int, dict[int, ClaimKey]], dict[int, bytes]]:
    """The claims to make, by home and index of the command; and the keys that are not claimed, by index.

    A claim is recorded whatever the outcome, so no claim is made for a request whose refusal is not recorded.
    """
    wanted: dict[int, dict[int, ClaimKey]] = {}
    unclaimed: dict[int, bytes] = {}
    for place, command in enumerate(commands_of(units)):
        if command.request is None:
            continue
        for home in placement.homes_of_key(command.request.key):
            if home != shard.number and not command.request.keeps_refusal:
                unclaimed[place] = command.request.key
            elif home != shard.number:
                claim = ClaimKey(tenant=command.tenant, request=command.request, shard=shard.number)
                wanted.setdefault(home, {})[place] = claim
    return wanted, unclaimed


async def _not_tried(shard: Shard, unclaimed: Mapping[int, bytes]) -> dict[int, Refused]:
    """The refusals of requests whose keys are not claimed, except for those that this shard has answered before."""
    if not unclaimed:
        return {}
    recorded = await shard.reader.requests(unclaimed.values())
    return {place: not_tried() for place, key in unclaimed.items() if key not in recorded}


async def _not_answered(shard: Shard, in_use: Mapping[int, tuple[RequestKey, Refused]]) -> dict[int, Refused]:
    """The refusals of requests whose keys are in use, except for those that this shard has answered before.

    If the home was away at that time, another request may have claimed the key since. The answer is still the same.
    """
    if not in_use:
        return {}
    recorded = await shard.reader.requests(request.key for request, _ in in_use.values())
    return {
        place: refusal
        for place, (request, refusal) in in_use.items()
        if (found := recorded.get(request.key)) is None or found.fingerprint != request.fingerprint
    }


async def _answered(claiming: asyncio.Task[list[DecidedOutcome]], home: Shard) -> bool:
    """Wait for a claim: for a short time, or longer if its home is only busy."""
    deadline = time.monotonic() + limits.KEY_CLAIM_BUSY_SECONDS_MAX
    while True:
        await asyncio.wait([claiming], timeout=limits.KEY_CLAIM_SECONDS_MAX)
        if claiming.done() or not home.batcher.responsive or time.monotonic() > deadline:
            return claiming.done()


def _hear(claiming: asyncio.Task[list[DecidedOutcome]]) -> None:
    """Read the results of claims for which no request waits any more."""
    if not claiming.cancelled():
        claiming.exception()


def _refusal(answer: DecidedOutcome) -> Refused | None:
    """The refusal of a request whose key is in use; None if the key belongs to it."""
    outcome = answer.outcome
    if isinstance(outcome, Posted):
        # The home of the key has answered it before.
        return refuse(RefusalCode.IDEMPOTENCY_KEY_REUSED, "path")
    return None if outcome.code is RefusalCode.IDEMPOTENCY_KEY_CLAIMED else outcome


def answers_of_group(units: Units, refused: dict[int, Refused]) -> list[DecidedOutcome]:
    """The answers to a group with a key that is in use: none of it was tried, and nothing is recorded."""
    alike = refuse(RefusalCode.ATOMIC_BATCH_REFUSED)
    return [
        DecidedOutcome(refused.get(place, alike), NOTHING_DECIDED) for place in range(len(commands_of(units)))
    ]
