"""The parties of a request: accounts, and system owners, for which an account is chosen here."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tallystick.domain import limits
from tallystick.domain.derived_accounts import DerivedAccount
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.invariants import required
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.domain.system_owners import SystemAccount
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.router import Router
from tallystick.service.served_shard import ServedShard

Party = int | str
"""An account's identifier, or the name of a system owner."""


class PartyPart(NamedTuple):
    """One party's part in a movement: a debit is negative. The asset is known if the party is a system owner."""

    party: Party
    amount: int
    asset: str | None


class Chosen(NamedTuple):
    """The account of each part, in order, and which of them belong to system owners."""

    accounts: tuple[int, ...]
    opens: tuple[SystemAccount, ...]


class _Name(NamedTuple):
    """The owner and the asset of a system owner's account."""

    shard: int
    tenant: int
    owner: str
    asset: str


class Parties:
    """Chooses accounts for system owners, and remembers them, because they never change."""

    def __init__(self, router: Router[ServedShard]) -> None:
        self._router = router
        self._known: dict[_Name, SystemAccount] = {}

    async def ask(self, tenant: int, requests: Iterable[Sequence[PartyPart]]) -> None:
        """Look up the accounts of the system owners in a request, before accounts are chosen.

        Raises:
            UnavailableError: a shard cannot be reached.
        """
        names = (name for parts in requests for name in self._names(tenant, parts) if name is not None)
        unknown: dict[int, dict[_Name, DerivedAccount]] = {}
        for name in names:
            if name not in self._known and self._router.has_shard(name.shard):
                derivation = self._router.numbered(name.shard).batcher.derivation
                derived = derivation.of_system_owner(tenant, name.owner, name.asset)
                unknown.setdefault(name.shard, {})[name] = derived
        for number, wanted in unknown.items():
            identifiers = [one for derived in wanted.values() for one in (derived.account, derived.former)]
            states = await self._router.numbered(number).reader.accounts(identifiers)
            for name, derived in wanted.items():
                found = derived.among(states.get)
                account = derived.account if found is None else found.terms.account
                self._known[name] = SystemAccount(account, name.owner, name.asset)
        while len(self._known) > limits.SYSTEM_ACCOUNTS_KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def choose(self, tenant: int, parts: Sequence[PartyPart]) -> Chosen:
        """Choose accounts of system owners on the shards of the other accounts, so that no further shard is crossed.

        The choice depends on the identifiers alone, so a repeated request means the same accounts. If a request names
        no account at all, the first shard is chosen.

        Raises:
            UnavailableError: too many others were looked up meanwhile, so the accounts were forgotten.
        """
        accounts: list[int] = []
        opens: list[SystemAccount] = []
        for part, name in zip(parts, self._names(tenant, parts), strict=True):
            if isinstance(part.party, int):
                accounts.append(part.party)
            elif name is not None:
                chosen = self._system_account(name)
                accounts.append(chosen.account)
                opens.append(chosen)
        return Chosen(tuple(accounts), tuple(opens))

    def _names(self, tenant: int, parts: Sequence[PartyPart]) -> list[_Name | None]:
        """The system owner of each account; None for other accounts."""
        payer_shard, payee_shard = _shards(parts, self._router.first_shard)
        return [
            None
            if isinstance(party, int)
            else _Name(
                payer_shard if amount < 0 else payee_shard,
                tenant,
                party,
                required(asset, f"the asset of {party}"),
            )
            for party, amount, asset in parts
        ]

    def _system_account(self, name: _Name) -> SystemAccount:
        if not self._router.has_shard(name.shard):
            # The transfer will be refused because of its shards, whichever account is chosen.
            return SystemAccount(make_identifier(name.shard, LOCAL_NUMBER_MAX), name.owner, name.asset)
        known = self._known.get(name)
        if known is None:
            raise UnavailableError("too many system owners are looked up at once")
        return known


def _shards(parts: Sequence[PartyPart], first_shard: int) -> tuple[int, int]:
    """The shards on which system owners pay and are paid: the payers' shard if payees are there, too.

    Otherwise the shards of each side.
    """
    payers = {shard_of(party) for party, amount, _ in parts if isinstance(party, int) and amount < 0}
    payees = {shard_of(party) for party, amount, _ in parts if isinstance(party, int) and amount > 0}
    payer_shard = min(payers or payees or {first_shard})
    return payer_shard, payer_shard if payer_shard in payees or not payees else min(payees)
