"""The steps that only a saga with payees on several shards has: promise, confirm, revoke, give up, settle.

A promise is judged like a credit, and its amount is held. So it can always be taken back, and its confirmation is
never refused.
"""

import msgspec

from tallystick.domain.books import Books, Movement
from tallystick.domain.commands import NO_NOTE, Kind
from tallystick.domain.identifiers import shard_of
from tallystick.domain.outcomes import Outcome, Posted
from tallystick.domain.rules.saga_steps import (
    SagaConflictError,
    answer_of,
    clearing_movements,
    receive,
    saga_of,
    totals_of,
)
from tallystick.domain.saga_commands import Confirm, GiveUp, Promise, Revoke, Settle
from tallystick.domain.sagas import SagaEvent, SagaStatus, credit_request


def promise(books: Books, command: Promise) -> Outcome:
    """Credit the payees of this shard, and hold the amounts."""
    legs = command.terms.credits_on(books.shard)
    payees = [Movement(leg.account, leg.amount, leg.amount, leg.param) for leg in legs]
    return receive(books, command, Kind.TRANSFER_PROMISED, legs, payees)


def confirm(books: Books, command: Confirm) -> Outcome:
    """Release the hold on what was promised."""
    _require_promise(books, command)
    posted = books.append(command.tenant, Kind.TRANSFER_CONFIRMED, command.note, refers_to=command.saga)
    for leg in command.terms.credits_on(books.shard):
        books.append_entry(Movement(leg.account, 0, -leg.amount, leg.param))
    return posted


def revoke(books: Books, command: Revoke) -> Outcome:
    """Take back what was promised. All of it is still held."""
    _require_promise(books, command)
    legs = command.terms.credits_on(books.shard)
    clearings = clearing_movements(books, shard_of(command.saga), command.tenant, totals_of(legs), 1)
    posted = books.append(command.tenant, Kind.TRANSFER_REVOKED, command.note, refers_to=command.saga)
    for leg in legs:
        books.append_entry(Movement(leg.account, -leg.amount, -leg.amount, leg.param))
    for movement in clearings:
        books.append_entry(movement)
    return posted


def give_up(books: Books, command: GiveUp) -> Outcome:
    """Record why the saga will not be finalized. A promise may be revoked only after this."""
    state = saga_of(books, command.saga)
    if (answered := answer_of(state, SagaEvent.GIVE_UP)) is not None:
        return answered
    posted = books.append(state.tenant, Kind.TRANSFER_GIVEN_UP, NO_NOTE, refers_to=state.saga)
    books.append_saga(
        msgspec.structs.replace(
            state, position=posted.position, status=SagaStatus.GIVEN_UP, refusal=command.refusal
        )
    )
    return posted


def settle(books: Books, command: Settle) -> Outcome:
    """Record that all promises are confirmed, and the saga has ended."""
    state = saga_of(books, command.saga)
    if (answered := answer_of(state, SagaEvent.SETTLE)) is not None:
        return answered
    posted = books.append(state.tenant, Kind.TRANSFER_SETTLED, NO_NOTE, refers_to=state.saga)
    books.append_saga(msgspec.structs.replace(state, position=posted.position, status=SagaStatus.SETTLED))
    return posted


def _require_promise(books: Books, command: Confirm | Revoke) -> None:
    recorded = books.requests.get(credit_request(command.saga).key)
    if recorded is None or not isinstance(recorded.outcome, Posted):
        raise SagaConflictError(f"shard {books.shard} has promised nothing for saga {command.saga}")
