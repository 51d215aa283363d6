"""What must hold of the books: at every step, and when everything has ended."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations
from typing import Final

from tallystick.domain.accounts import AccountKind
from tallystick.domain.commands import Kind
from tallystick.domain.decide import PASSING
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.outcomes import Outcome, Posted, Refused
from tallystick.domain.sagas import SagaState, SagaStatus, credit_request
from tests.simulation.customers import TENANT, Request, given
from tests.simulation.shard import Shard
from tests.simulation.violation import Violation

Shards = dict[int, Shard]
_ASSETS: Final = ("USD", "EUR")


def check_step(shards: Shards, changed: Iterable[Shard]) -> None:
    """What must hold whatever is open, lost, late or half done."""
    for shard in changed:
        _check_sums(shard)
        _check_held(shard)
    on_the_way = _check_sagas(shards)
    for one, other in combinations(shards, 2):
        for asset in _ASSETS:
            mirrored = _clearing(shards, one, other, asset) + _clearing(shards, other, one, asset)
            explained = -on_the_way.get((one, other, asset), 0)
            if mirrored != explained:
                raise Violation(
                    f"clearing of {one} and {other} sums to {mirrored} {asset}, open sagas explain {explained}"
                )


def _check_sums(shard: Shard) -> None:
    """Each shard balances on its own."""
    sums = dict.fromkeys(_ASSETS, 0)
    for state in shard.accounts.values():
        sums[state.terms.asset] += state.balance
    if any(sums.values()):
        raise Violation(f"shard {shard.number} does not sum to zero: {sums}")


def _check_held(shard: Shard) -> None:
    """What an account has set aside is what its holds and its open sagas say."""
    held: dict[int, int] = {}
    for hold in shard.holds.values():
        held[hold.account] = held.get(hold.account, 0) + hold.remaining
        if not 0 <= hold.captured <= hold.amount:
            raise Violation(f"more was captured than held: {hold}")
    for saga in shard.open_sagas:
        if saga.terms.operation is not Kind.HOLD_CAPTURED and saga.status is not SagaStatus.FINALIZED:
            for leg in saga.terms.debits:
                held[leg.account] = held.get(leg.account, 0) + leg.amount
    for entry in shard.promised:
        held[entry.account] = held.get(entry.account, 0) + entry.amount
    for account, state in shard.accounts.items():
        if not 0 <= state.held == held.get(account, 0):
            raise Violation(f"{held.get(account, 0)} should be held: {state}")
        if state.terms.min_balance == 0 and state.available < 0:
            raise Violation(f"overdrawn: {state}")


def _check_sagas(shards: Shards) -> dict[tuple[int, int, str], int]:
    """Every saga ended as its credit says. Returns what is credited and not finalized, between two shards."""
    on_the_way: dict[tuple[int, int, str], int] = {}
    for home in shards.values():
        for saga in home.sagas.values():
            if saga.terms.is_split:
                for way, amount in _split_on_the_way(shards, home, saga):
                    on_the_way[way] = on_the_way.get(way, 0) + amount
                continue
            credit = _credit_of(shards, home, saga)
            if saga.status is SagaStatus.RESERVED and isinstance(credit, Posted):
                other = saga.terms.other_shard
                for leg in saga.terms.credits:
                    way = (min(home.number, other), max(home.number, other), leg.asset or "")
                    on_the_way[way] = on_the_way.get(way, 0) + leg.amount
    return on_the_way


def _split_on_the_way(
    shards: Shards, home: Shard, saga: SagaState
) -> Iterator[tuple[tuple[int, int, str], int]]:
    """What is promised and not finalized, after a look whether all shards agree on the saga."""
    identifier = make_identifier(home.number, saga.saga)
    for number in saga.terms.payee_shards:
        there = shards[number]
        steps = there.promises.get(identifier, {})
        recorded = there.requests.get(_credit_key(identifier))
        what = f"{steps} on shard {number}: {saga}"
        if any(len(positions) > 1 for positions in steps.values()):
            raise Violation(f"done more than once: {what}")
        promised, confirmed, revoked = (
            kind in steps for kind in (Kind.TRANSFER_PROMISED, Kind.TRANSFER_CONFIRMED, Kind.TRANSFER_REVOKED)
        )
        paid = saga.status in {SagaStatus.FINALIZED, SagaStatus.SETTLED}
        if promised != (recorded is not None and isinstance(recorded.outcome, Posted)):
            raise Violation(f"the key of the promise says {recorded}: {what}")
        if (confirmed or revoked) and not promised:
            raise Violation(f"never promised: {what}")
        if paid and (not promised or revoked):
            raise Violation(f"finalized, and not promised there: {what}")
        if confirmed and not paid:
            raise Violation(f"confirmed, and not finalized: {what}")
        if revoked and saga.status not in {SagaStatus.GIVEN_UP, SagaStatus.RELEASED}:
            raise Violation(f"revoked, and not given up: {what}")
        if saga.status is SagaStatus.SETTLED and not confirmed:
            raise Violation(f"settled, and not confirmed there: {what}")
        if saga.status is SagaStatus.RELEASED and (recorded is None or promised != revoked):
            raise Violation(f"released, and not undone there: {what}")
        if promised and not revoked and not paid:
            for leg in saga.terms.credits_on(number):
                way = (min(home.number, number), max(home.number, number), leg.asset or "")
                yield way, leg.amount


@cache
def _credit_key(saga: int) -> bytes:
    return credit_request(saga).key


def _credit_of(shards: Shards, home: Shard, saga: SagaState) -> Outcome | None:
    """What is recorded of a saga's credit, after a look whether it agrees with the saga."""
    identifier = make_identifier(home.number, saga.saga)
    there = shards[saga.terms.other_shard]
    positions = there.credits.get(identifier, [])
    recorded = there.requests.get(_credit_key(identifier))
    credit = None if recorded is None else recorded.outcome
    if len(positions) > 1:
        raise Violation(f"credited at each of {positions}: {saga}")
    if saga.status is SagaStatus.FINALIZED and not (
        isinstance(credit, Posted) and [credit.position] == positions == [saga.counterpart]
    ):
        raise Violation(f"finalized, and not credited there: {saga}: {credit}")
    if saga.status is SagaStatus.RELEASED and (positions or saga.refusal != credit):
        raise Violation(f"released, and not refused there: {saga}: {credit}")
    return credit


def _clearing(shards: Shards, shard: int, other: int, asset: str) -> int:
    state = shards[shard].accounts.get(shards[shard].derivation.clearing(other, TENANT, asset).account)
    return 0 if state is None else state.balance


def check_end(shards: Shards, requests: Iterable[Request]) -> None:
    """What must hold when every saga was driven to its end. Clearing accounts mirror each other by then."""
    check_step(shards, shards.values())
    for shard in shards.values():
        if shard.open_sagas:
            raise Violation(f"never ended: {shard.open_sagas}")
        _check_reversals(shard)
    expected = given(shards)
    for request in requests:
        if _was_done(shards[request.shard], request):
            for account, amount in request.effects.items():
                expected[account] += amount
    for account, balance in expected.items():
        state = shards[shard_of(account)].accounts[account]
        if state.balance != balance:
            raise Violation(f"what was answered comes to {balance}: {state}")
    for shard in shards.values():
        for account, state in shard.accounts.items():
            if account not in expected and state.terms.kind is not AccountKind.CLEARING:
                raise Violation(f"nobody knows this account: {state}")


def _check_reversals(shard: Shard) -> None:
    """Nothing is given back beyond what was paid."""
    for position in shard.undoing:
        whole = sum(max(0, entry.amount) for entry in shard.entries.get(position, ()))
        if shard.undone(position) > whole:
            raise Violation(
                f"{shard.undone(position)} of {whole} given back: {shard.transactions[position - 1]}"
            )


def _was_done(shard: Shard, request: Request) -> bool:
    """Whether what somebody asked for was done, as the answer to its key says."""
    key = request.command.request
    recorded = None if key is None else shard.requests.get(key.key)
    for answer in request.answers:
        _check_answer(request, answer, recorded.outcome if recorded else None)
    if recorded is None:
        return False
    if isinstance(recorded.outcome, Refused):
        if recorded.outcome.code in PASSING:
            raise Violation(f"a refusal that passes was kept: {recorded.outcome}: {request.command}")
        return False
    saga = shard.sagas.get(recorded.outcome.position)
    if saga is None:
        return True
    for told in request.told:
        if told is not saga.status:
            raise Violation(f"somebody was told that it is {told.name}: {saga}")
    return saga.status in {SagaStatus.FINALIZED, SagaStatus.SETTLED}


def _check_answer(request: Request, answer: Outcome, recorded: Outcome | None) -> None:
    """A key has one answer. Only what passes may be followed by another one."""
    if isinstance(answer, Refused) and answer.code in PASSING:
        return
    if recorded is None or type(answer) is not type(recorded):
        raise Violation(f"answered {answer}, recorded {recorded}: {request.command}")
    if isinstance(answer, Posted) and isinstance(recorded, Posted) and answer.position != recorded.position:
        raise Violation(f"answered {answer}, recorded {recorded}: {request.command}")
    if isinstance(answer, Refused) and isinstance(recorded, Refused) and answer.code != recorded.code:
        raise Violation(f"answered {answer}, recorded {recorded}: {request.command}")
