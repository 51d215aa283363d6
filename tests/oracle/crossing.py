"""What crosses shards, in the naive model: what is reserved for another shard, and what the later steps do here."""

from collections.abc import Iterable
from dataclasses import replace

from tests.oracle.history import History, clearing_terms
from tests.oracle.words import (
    LARGEST,
    SEVERAL,
    Capture,
    Command,
    Confirm,
    ConflictError,
    Credit,
    Crossing,
    Event,
    Finalize,
    GiveUp,
    Outcome,
    Part,
    Posted,
    Promise,
    Refused,
    Release,
    Reverse,
    Revoke,
    Settle,
    Transaction,
    Transfer,
    asset_elsewhere,
    shard_of,
)

Ending = Finalize | Release | GiveUp | Settle


def begun_by(history: History, command: Command) -> Crossing | None:
    """What a command, against which nothing can be said, has to reserve for another shard; None: it stays here."""
    match command:
        case Transfer() if shard_of(command.destination):
            return Crossing(
                "transfer",
                shard_of(command.destination),
                (Part(command.source, command.amount, command.asset, "source"),),
                (Part(command.destination, command.amount, command.asset, "destination"),),
            )
        case Transaction():
            return _begun_by_entries(history, command)
        case Capture():
            return _begun_by_capture(history, command)
        case Reverse() if command.payers:
            return _begun_by_reversal(history, command)
    return None


def _begun_by_entries(history: History, command: Transaction) -> Crossing | None:
    parts: list[tuple[int, Part]] = []
    for index, (account, amount) in enumerate(command.entries):
        terms = history.terms(account)
        asset = terms.asset if terms else asset_elsewhere(account, command.tenant)
        assert asset
        parts.append((amount, Part(account, abs(amount), asset, f"entries[{index}].account")))
    elsewhere = [shard_of(part.account) for _, part in parts if shard_of(part.account)]
    if not elsewhere:
        return None
    return Crossing(
        "transaction",
        elsewhere[0] if len(set(elsewhere)) == 1 else SEVERAL,
        tuple(part for amount, part in parts if amount < 0),
        tuple(part for amount, part in parts if amount > 0),
    )


def _begun_by_capture(history: History, command: Capture) -> Crossing | None:
    placed = history.event(command.id)
    assert placed
    assert placed.reservation
    payer, payee = placed.reservation.payer, placed.reservation.payee
    if not shard_of(payee):
        return None
    remaining = history.remaining(placed)
    amount = remaining if command.amount is None else command.amount
    terms = history.terms(payer)
    assert terms
    return Crossing(
        "hold_captured",
        shard_of(payee),
        (Part(payer, amount, terms.asset, "id"),),
        (Part(payee, amount, terms.asset, "id"),),
        about=command.id,
        final=command.final or amount == remaining,
    )


def _begun_by_reversal(history: History, command: Reverse) -> Crossing | None:
    original = history.event(command.id)
    assert original
    if original.kind != "transfer_credited":
        return None
    left = history.left_to_reverse(original)
    amount = left if command.amount is None else command.amount
    # More than one on either side are only ever paid back whole.
    debits = [
        Part(account, paid if len(original.entries) > 2 or len(command.payers) > 1 else amount, asset, "id")
        for account, paid in original.entries
        if paid > 0 and (asset := _asset(history, account))
    ]
    payees = [
        Part(
            payer.account,
            payer.amount if len(debits) > 1 or len(command.payers) > 1 else amount,
            payer.asset,
            "id",
        )
        for payer in command.payers
    ]
    return Crossing(
        "reversal", shard_of(command.payers[0].account), tuple(debits), tuple(payees), about=command.id
    )


def _asset(history: History, account: int) -> str:
    terms = history.terms(account)
    assert terms
    return terms.asset


def reserve(event: Event, crossing: Crossing) -> Event:
    """The event that sets aside what is to cross."""
    return replace(
        event,
        kind="transfer_reserved",
        crossing=crossing,
        refers_to=crossing.about,
        hold=crossing.about if crossing.operation == "hold_captured" else None,
    )


def answered_before(history: History, command: Ending) -> Outcome | None:
    """The answer to a step that was taken before, or that another one has made impossible; None: it can be taken.

    Raises:
        ConflictError: the saga ended otherwise, or never began.
    """
    saga = history.event(command.saga)
    if saga is None or saga.crossing is None:
        raise ConflictError
    if saga.crossing.other_shard == SEVERAL:
        return _answered_before_by_several(history, command)
    if isinstance(command, GiveUp | Settle):
        raise ConflictError
    end = _ended_before(history, command)
    return Posted(end.position, replayed=True) if end else None


def _answered_before_by_several(history: History, command: Ending) -> Outcome | None:
    end, given_up = history.end_of_saga(command.saga), history.was_given_up(command.saga)
    newest = history.was_settled(command.saga) or end or given_up
    again = Posted(newest.position, replayed=True) if newest else None
    left = end is not None and end.kind == "transfer_finalized"
    match command:
        case Finalize() if given_up:
            return given_up.refusal
        case GiveUp() if left:
            return Refused("transaction_not_reversible", None)
        case Finalize() | GiveUp():
            return again
        case Release() if given_up:
            return again if end else None
        case Settle() if left:
            return again if history.was_settled(command.saga) else None
    raise ConflictError


def _ended_before(history: History, command: Finalize | Release) -> Event | None:
    end = history.end_of_saga(command.saga)
    wanted = "transfer_finalized" if isinstance(command, Finalize) else "transfer_released"
    if end is not None and end.kind != wanted:
        raise ConflictError
    return end


def conflicts(history: History, command: Command) -> bool:
    """Whether a command is what no driver of sagas may ask."""
    if isinstance(command, Confirm | Revoke):
        return history.promise(command.saga) is None
    if isinstance(command, Ending):
        try:
            answered_before(history, command)
        except ConflictError:
            return True
    return False


def take_step(history: History, command: Credit | Confirm | Revoke | Ending, now: int) -> list[Event]:
    """What a step of a saga does here."""
    match command:
        case Credit():
            return credit(history, command, now)
        case Confirm() | Revoke():
            return end_promise(history, command, now)
    return end(history, command, now)


def credit(history: History, command: Credit, now: int) -> list[Event]:
    """Pay the payees out of the clearing accounts of the payer's shard."""
    events, clearing = _cleared(history, shard_of(command.saga), command.tenant, command.parts, now)
    return [
        *events,
        Event(
            len(history.events) + len(events) + 1,
            now,
            command.tenant,
            "transfer_promised" if isinstance(command, Promise) else "transfer_credited",
            entries=(
                *((part.account, part.amount) for part in command.parts),
                *((account, -amount) for account, amount in clearing.items()),
            ),
            refers_to=command.saga,
            description=command.description,
            metadata=command.metadata,
            effective_at=command.effective_at,
        ),
    ]


def end_promise(history: History, command: Confirm | Revoke, now: int) -> list[Event]:
    """Let what was promised be spent, or take it back.

    Raises:
        ConflictError: nothing was promised.
    """
    promise = history.promise(command.saga)
    if promise is None:
        raise ConflictError
    confirmed = isinstance(command, Confirm)
    return [
        Event(
            len(history.events) + 1,
            now,
            command.tenant,
            "transfer_confirmed" if confirmed else "transfer_revoked",
            entries=() if confirmed else tuple((account, -amount) for account, amount in promise.entries),
            refers_to=command.saga,
            description=command.description,
            metadata=command.metadata,
            effective_at=command.effective_at,
        )
    ]


def end(history: History, command: Ending, now: int) -> list[Event]:
    """Let what was reserved leave, or give it back; or say that it will not leave, or has arrived everywhere."""
    saga = history.event(command.saga)
    assert saga
    assert saga.crossing
    crossing = saga.crossing
    position = len(history.events) + 1
    if isinstance(command, Settle):
        return [Event(position, now, saga.tenant, "transfer_settled", refers_to=saga.position)]
    if isinstance(command, GiveUp):
        refusal = Refused(command.code, command.param)
        return [
            Event(position, now, saga.tenant, "transfer_given_up", refers_to=saga.position, refusal=refusal)
        ]
    events: list[Event] = []
    event = replace(saga, recorded_at=now, refers_to=saga.position, crossing=None)
    if isinstance(command, Finalize):
        events, clearing = _cleared_for(history, crossing, saga.tenant, now)
        paid = tuple((part.account, -part.amount) for part in crossing.debits)
        event = replace(
            event,
            kind="transfer_finalized",
            entries=(*paid, *clearing.items()),
            counterpart=command.counterpart,
        )
    else:
        given_up = history.was_given_up(command.saga)
        because = given_up.refusal if given_up else Refused(command.code, command.param)
        event = replace(event, kind="transfer_released", refusal=because)
    if crossing.operation == "hold_captured":
        placed = history.event(crossing.about or 0)
        assert placed
        assert placed.reservation
        if isinstance(command, Finalize) and crossing.final:
            event = replace(event, ends_hold="captured")
        elif now >= placed.reservation.expires_at:
            event = replace(event, ends_hold="expired")
    return [*events, replace(event, position=len(history.events) + len(events) + 1)]


def _cleared_for(
    history: History, crossing: Crossing, tenant: int, now: int
) -> tuple[list[Event], dict[int, int]]:
    """What goes through the clearing accounts with each shard that is paid."""
    if crossing.other_shard != SEVERAL:
        return _cleared(history, crossing.other_shard, tenant, crossing.debits, now)
    opened: list[Event] = []
    through: dict[int, int] = {}
    for shard in sorted({shard_of(part.account) for part in crossing.credits}):
        parts = [part for part in crossing.credits if shard_of(part.account) == shard]
        events, clearing = _cleared(history.and_then(*opened), shard, tenant, parts, now)
        opened += events
        through |= clearing
    return opened, through


def _cleared(
    history: History, shard: int, tenant: int, parts: Iterable[Part], now: int
) -> tuple[list[Event], dict[int, int]]:
    """What goes through each clearing account, and the openings of those that were never needed before."""
    sums: dict[str, int] = {}
    for part in parts:
        sums[part.asset] = sums.get(part.asset, 0) + part.amount
    opened: list[Event] = []
    through: dict[int, int] = {}
    for asset, total in sums.items():
        account = history.clearing(shard, tenant, asset)
        if account is None:
            position = len(history.events) + len(opened) + 1
            account = -position
            terms = clearing_terms(account, shard, tenant, asset, -LARGEST)
            opened.append(Event(position, now, tenant, "account_opened", terms=terms))
        through[account] = total
    return opened, through
