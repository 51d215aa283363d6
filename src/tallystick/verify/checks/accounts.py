"""Accounts: their terms from `accounts`, their balances from `entries`. The checks of entries are in `entries.py`."""

from collections.abc import Iterator
from typing import Final

from tallystick.domain.accounts import AccountKind
from tallystick.domain.commands import Kind
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import Prefix, format_identifier, shard_of
from tallystick.domain.rows import EntryRow
from tallystick.domain.system_owners import SIGN
from tallystick.verify.checks.clearing import other_shard_of, wrong_clearing_terms, wrong_system_account
from tallystick.verify.checks.entries import CLEARING, CLOSED, ENTRY_CHECKS, OPEN, STATUSES, Judged, Terms
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import AccountChange, TransactionHead

_KINDS: Final = frozenset(map(int, AccountKind))


class _Account:
    """An account, in little memory, because there may be many millions."""

    __slots__ = ("balance", "held", "identity", "terms")

    def __init__(self, identity: int, terms: Terms) -> None:
        self.identity = identity
        self.terms = terms
        self.balance = 0
        self.held = 0


class Accounts:
    """An account is opened once, before its first entry; its terms change as they may, and it is closed empty.

    It keeps every account as of the last position that was judged.
    """

    def __init__(self, derivation: Derivation, findings: Findings) -> None:
        self._derivation = derivation
        self._shard = derivation.shard
        self._findings = findings
        self._accounts: dict[int, _Account] = {}
        # By the other shard, tenant and asset.
        self._clearings: dict[tuple[int, int, str], int] = {}
        # Many accounts have equal terms, and share one copy.
        self._terms: dict[Terms, Terms] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def terms(self, account: int) -> Terms | None:
        """The terms in force; None if there is no such account."""
        found = self._accounts.get(account)
        return None if found is None else found.terms

    def clearing(self, other_shard: int, tenant: int, asset: str) -> int:
        """The clearing account with another shard, as it was or will be opened."""
        found = self._clearings.get((other_shard, tenant, asset))
        return self._derivation.clearing(other_shard, tenant, asset).account if found is None else found

    def cannot_clear(self, other_shard: int, tenant: int, asset: str) -> int | None:
        """The account whose identifier prevents this clearing account from being opened; None if there is none."""
        if (other_shard, tenant, asset) in self._clearings:
            return None
        account = self.clearing(other_shard, tenant, asset)
        return account if account in self._accounts else None

    def held(self) -> Iterator[tuple[int, int]]:
        """Each account, with the held part of its balance."""
        for identifier, account in self._accounts.items():
            yield identifier, account.held

    def sums(self) -> dict[tuple[int, str], int]:
        """The sums of all balances, by tenant and asset."""
        sums: dict[tuple[int, str], int] = {}
        for account in self._accounts.values():
            whose = account.terms.tenant, account.terms.asset
            sums[whose] = sums.get(whose, 0) + account.balance
        return sums

    # Terms.

    def change(self, transaction: TransactionHead, change: AccountChange) -> None:
        """Judge new terms, and take them as those in force."""
        account = self._accounts.get(change.account)
        identity = hash((change.tenant, change.kind, change.owner, change.asset))
        terms = Terms(
            change.tenant, change.kind, change.asset, change.status, change.min_balance, change.max_balance
        )
        terms = self._terms.setdefault(terms, terms)
        for detail in self._wrong_terms(transaction, change, account, identity):
            self._findings.at_position(
                ProblemKind.ACCOUNT_TERMS, change.position, f"account {name(change.account)} {detail}"
            )
        if account is None:
            self._accounts[change.account] = _Account(identity, terms)
            if change.kind == CLEARING and (other_shard := other_shard_of(change.owner)) is not None:
                self._clearings.setdefault((other_shard, change.tenant, change.asset), change.account)
        else:
            account.identity, account.terms = identity, terms

    def _wrong_terms(
        self, transaction: TransactionHead, change: AccountChange, account: _Account | None, identity: int
    ) -> Iterator[str]:
        if shard_of(change.account) != self._shard:
            yield f"belongs to shard {shard_of(change.account)}, not to shard {self._shard}"
        if change.tenant != transaction.tenant:
            yield f"is of tenant {change.tenant}, its transaction of tenant {transaction.tenant}"
        lower, upper = change.min_balance, change.max_balance
        if lower is not None and upper is not None and lower > upper:
            yield f"has min_balance {lower} above max_balance {upper}"
        if change.status not in STATUSES:
            yield f"has the unknown status {change.status}"
        if change.kind not in _KINDS:
            yield f"is of the unknown kind {change.kind}"
        if change.kind == CLEARING:
            yield from wrong_clearing_terms(self._derivation, change, opened=account is None)
        elif (
            change.owner.startswith(SIGN)
            and account is None
            and change.position > self._derivation.since_position
        ):
            yield from wrong_system_account(self._derivation, change)
        yield from _wrong_step(transaction, change, account, identity)

    # Entries.

    def enter(self, tenant: int, entry: EntryRow, *, clears: bool) -> None:
        """Judge an entry against the account's last entry and the terms in force, and take it as the last one.

        `clears`: it belongs to a transfer between shards. Only such transfers may move a clearing account.
        """
        identifier, position, amount, balance, held, held_after, bound, asset = entry
        account = self._accounts.get(identifier)
        if account is None:
            self._findings.at_position(
                ProblemKind.ACCOUNT_UNKNOWN, position, f"account {name(identifier)} was never opened"
            )
            return
        terms = account.terms
        if amount < held:
            term = terms.min_balance
            within = term is None or balance - held_after >= term
            barred = terms.status != OPEN
        else:
            term = terms.max_balance if amount > 0 else None
            within = term is None or balance <= term
            barred = terms.status == CLOSED
        if (
            balance != account.balance + amount
            or held_after != account.held + held
            or held_after < 0
            or bound != term
            or not within
            or barred
            or asset != terms.asset
            or tenant != terms.tenant
            or (terms.kind == CLEARING and not clears)
        ):
            self._explain(Judged(tenant, entry, terms, account.balance, account.held, clears))
        # Go on from the written entry, so that a mistake is found once and not again in every later entry.
        account.balance = balance
        account.held = held_after

    def _explain(self, judged: Judged) -> None:
        account, position = judged.entry.account, judged.entry.position
        for check, kind in ENTRY_CHECKS:
            if (detail := check(judged)) is not None:
                self._findings.at_position(kind, position, f"account {name(account)} {detail}")


def _wrong_step(
    transaction: TransactionHead, change: AccountChange, account: _Account | None, identity: int
) -> Iterator[str]:
    if transaction.kind == Kind.ACCOUNT_OPENED:
        if account is not None:
            yield "is opened a second time"
        if change.status != OPEN:
            yield "is opened, but its status is not open"
    elif account is None:
        yield "is changed, but was never opened"
    if account is not None:
        if account.identity != identity:
            yield "changed its tenant, kind, owner or asset, which never change"
        if change.status == CLOSED and (account.balance or account.held):
            yield f"is closed with a balance of {account.balance} and {account.held} held"


def name(account: int) -> str:
    """An account's identifier as text."""
    return format_identifier(Prefix.ACCOUNT, account)
