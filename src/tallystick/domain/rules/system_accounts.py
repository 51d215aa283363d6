"""Open the accounts of system owners together with the first command that needs them."""

from collections.abc import Callable, Iterable

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.books import Books
from tallystick.domain.commands import NO_NOTE, Kind
from tallystick.domain.derived_accounts import DerivedAccount
from tallystick.domain.outcomes import Outcome, RefusalCode, Refused, refuse
from tallystick.domain.system_owners import SystemAccount


class SystemAccountConflictError(Exception):
    """A bug: the identifier does not belong to the system owner's account that is to be opened."""


def with_opened(
    books: Books, tenant: int, wanted: Iterable[SystemAccount], act: Callable[[], Outcome]
) -> Outcome:
    """Apply a rule after opening these accounts of this shard. If the rule refuses, no account is opened."""
    here = [
        (one.account, books.derivation.of_system_owner(tenant, one.owner, one.asset))
        for one in dict.fromkeys(wanted)
        if books.is_local(one.account)
    ]
    missing = []
    for identifier, account in here:
        state = books.account(identifier)
        if state is None:
            missing.append((identifier, account))
        elif not account.is_described_by(state.terms):
            # The probability is 1 in 2^51 for each account.
            return refuse(RefusalCode.IDENTIFIER_TAKEN)
    if not missing:
        return act()
    before = books.save()
    for identifier, account in missing:
        _open(books, identifier, account)
    outcome = act()
    if isinstance(outcome, Refused):
        books.restore(before)
    return outcome


def _open(books: Books, identifier: int, account: DerivedAccount) -> None:
    if identifier not in (account.account, account.former):
        raise SystemAccountConflictError(identifier)
    # A saga that was reserved before shards had keys names the former identifier.
    terms = msgspec.structs.replace(account.terms(), account=identifier)
    books.append(account.tenant, Kind.ACCOUNT_OPENED, NO_NOTE)
    books.append_terms(terms, AccountState(terms))
