"""Open accounts, and change their terms."""

import msgspec

from tallystick.domain.account_tags import canonical_metadata, changed_metadata, metadata_fits, tag_of
from tallystick.domain.accounts import (
    AccountKind,
    AccountState,
    AccountStatus,
    AccountTerms,
    bounds_are_valid,
)
from tallystick.domain.books import Books
from tallystick.domain.commands import NO_NOTE, ChangeAccount, Kind, OpenAccount
from tallystick.domain.outcomes import Outcome, RefusalCode, refuse


class IdentifierTakenError(Exception):
    """The random identifier of a new account is in use: choose another."""


def open_account(books: Books, command: OpenAccount) -> Outcome:
    """Open an account with the identifier that the caller chose."""
    if not bounds_are_valid(command.min_balance, command.max_balance):
        return refuse(RefusalCode.BOUNDS_INVALID, "min_balance")
    if books.account(command.account) is not None:
        raise IdentifierTakenError(command.account)
    terms = AccountTerms(
        command.account,
        command.tenant,
        command.owner,
        command.asset,
        command.kind,
        AccountStatus.OPEN,
        command.min_balance,
        command.max_balance,
        command.metadata,
    )
    posted = books.append(command.tenant, Kind.ACCOUNT_OPENED, NO_NOTE)
    books.append_terms(terms, AccountState(terms))
    return posted


def change_account(books: Books, command: ChangeAccount) -> Outcome:
    """Freeze, unfreeze, close, reopen; change bounds or metadata."""
    state = books.account(command.account)
    if state is None or state.terms.tenant != command.tenant or state.terms.kind is AccountKind.CLEARING:
        return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
    if command.tags is not None and tag_of(state) not in command.tags:
        return refuse(RefusalCode.PRECONDITION_FAILED, "If-Match")
    changes = {
        name: value
        for name in ("status", "min_balance", "max_balance", "metadata")
        if (value := getattr(command, name)) is not msgspec.UNSET
    }
    if command.metadata_changes:
        changed = changed_metadata(state.terms.metadata, command.metadata_changes)
        changes["metadata"] = canonical_metadata(changed)
    terms = msgspec.structs.replace(state.terms, **changes)
    if terms.status is AccountStatus.CLOSED and (state.balance or state.held):
        return refuse(RefusalCode.ACCOUNT_NOT_EMPTY, "status")
    if not bounds_are_valid(terms.min_balance, terms.max_balance):
        return refuse(RefusalCode.BOUNDS_INVALID, "min_balance")
    if command.metadata_changes and not metadata_fits(terms.metadata):
        return refuse(RefusalCode.METADATA_TOO_LARGE, "metadata")
    posted = books.append(command.tenant, Kind.ACCOUNT_CHANGED, NO_NOTE)
    books.append_terms(terms, state)
    return posted
