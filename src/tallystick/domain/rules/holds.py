"""Holds: placed, captured, voided, expired. A capture for another shard begins a saga."""

import msgspec

from tallystick.domain.books import Books, Movement
from tallystick.domain.commands import (
    NO_NOTE,
    CaptureHold,
    ExpireHold,
    Kind,
    Leg,
    PlaceHold,
    VoidHold,
)
from tallystick.domain.holds import HOLD_TRANSITIONS, HoldEvent, HoldState, HoldStatus
from tallystick.domain.identifiers import shard_of
from tallystick.domain.limits import AMOUNT_MAX
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.rules.saga_steps import foreign_refusal, reserve, taken_clearing
from tallystick.domain.sagas import SagaTerms


def place_hold(books: Books, command: PlaceHold) -> Outcome:
    """Hold an amount of the source's balance for the destination."""
    if command.source == command.destination:
        return refuse(RefusalCode.SAME_ACCOUNT, "destination")
    if not 0 < command.amount <= AMOUNT_MAX:
        return refuse(RefusalCode.AMOUNT_INVALID, "amount")
    source = Movement(command.source, 0, command.amount, "source")
    parts = (source, Movement(command.destination, 0, 0, "destination"))
    refusal = books.first_refusal(
        command.tenant, parts[: 1 + books.is_local(command.destination)], command.asset
    )
    foreign = foreign_refusal(books, command.destination, command.asset, command.foreign_assets)
    if foreign is not None and (refusal is None or foreign.code < refusal.code):
        return foreign
    if refusal is not None:
        return refusal
    if not books.is_local(command.destination):
        payee = Leg(command.destination, command.amount, command.asset, "destination")
        taken = taken_clearing(books, shard_of(command.destination), command.tenant, [payee])
        if taken is not None:
            return taken
    posted = books.append(command.tenant, Kind.HOLD_PLACED, command.note)
    books.append_entry(source)
    hold = HoldState(
        hold=posted.position,
        position=posted.position,
        account=command.source,
        destination=command.destination,
        amount=command.amount,
        captured=0,
        status=HoldStatus.OPEN,
        expires_at_us=books.now_us + command.expires_in_us,
    )
    books.append_hold(hold)
    return posted


def capture_hold(books: Books, command: CaptureHold) -> Outcome:
    """Pay the hold's destination from the held amount."""
    hold = books.hold(command.tenant, command.hold)
    if hold is None:
        return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
    amount = hold.remaining if command.amount is None else command.amount
    final = command.final or amount == hold.remaining
    status = _next_status(books, hold, HoldEvent.CAPTURE_FINAL if final else HoldEvent.CAPTURE)
    if status is None:
        return _not_open(hold)
    if amount <= 0:
        return refuse(RefusalCode.AMOUNT_INVALID, "amount")
    if amount > hold.remaining:
        return refuse(RefusalCode.CAPTURE_EXCEEDS_HOLD, "amount")
    if not books.is_local(hold.destination):
        return _reserve_capture(books, command, hold, amount, final=final)
    released = hold.remaining if final else amount
    movements = (
        Movement(hold.account, -amount, -released, "id"),
        Movement(hold.destination, amount, 0, "id"),
    )
    outcome = books.move(command.tenant, Kind.HOLD_CAPTURED, movements, command.note, refers_to=hold.hold)
    if isinstance(outcome, Posted):
        _change_hold(books, hold, status, captured=hold.captured + amount)
    return outcome


def void_hold(books: Books, command: VoidHold) -> Outcome:
    """Release the rest of a hold."""
    hold = books.hold(command.tenant, command.hold)
    if hold is None:
        return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
    return _release(books, command, hold, HoldEvent.VOID)


def expire_hold(books: Books, command: ExpireHold) -> Outcome:
    """Release a hold whose time is over."""
    hold = books.hold(command.tenant, command.hold)
    if hold is None:
        return refuse(RefusalCode.HOLD_NOT_FOUND, "id")
    return _release(books, command, hold, HoldEvent.EXPIRE)


def _reserve_capture(
    books: Books, command: CaptureHold, hold: HoldState, amount: int, *, final: bool
) -> Outcome:
    """Begin the capture of a hold whose destination is on another shard."""
    state = books.account(hold.account)
    asset = None if state is None else state.terms.asset
    terms = SagaTerms(
        operation=Kind.HOLD_CAPTURED,
        other_shard=shard_of(hold.destination),
        debits=(Leg(hold.account, amount, asset, "id"),),
        credits=(Leg(hold.destination, amount, asset, "id"),),
        refers_to=hold.hold,
        final=final,
    )
    outcome = reserve(books, command.tenant, terms, command.note)
    if isinstance(outcome, Posted):
        _change_hold(books, hold, HOLD_TRANSITIONS[hold.status, HoldEvent.RESERVE_CAPTURE], hold.captured)
    return outcome


def _release(books: Books, command: VoidHold | ExpireHold, hold: HoldState, event: HoldEvent) -> Outcome:
    status = _next_status(books, hold, event)
    if status is None:
        return _not_open(hold)
    kind, note = Kind.HOLD_EXPIRED, NO_NOTE
    if isinstance(command, VoidHold):
        kind, note = Kind.HOLD_VOIDED, command.note
    posted = books.append(command.tenant, kind, note, refers_to=hold.hold)
    books.append_entry(Movement(hold.account, 0, -hold.remaining, "id"))
    _change_hold(books, hold, status, captured=hold.captured)
    return posted


def _not_open(hold: HoldState) -> Refused:
    return refuse(
        RefusalCode.HOLD_BUSY if hold.status is HoldStatus.CAPTURING else RefusalCode.HOLD_NOT_OPEN, "id"
    )


def _next_status(books: Books, hold: HoldState, event: HoldEvent) -> HoldStatus | None:
    # The shard's clock decides, even if no worker has recorded the expiry yet.
    expired = books.now_us >= hold.expires_at_us
    if expired != (event is HoldEvent.EXPIRE):
        return None
    return HOLD_TRANSITIONS.get((hold.status, event))


def _change_hold(books: Books, hold: HoldState, status: HoldStatus, captured: int) -> None:
    books.append_hold(
        msgspec.structs.replace(hold, position=books.position, status=status, captured=captured)
    )
