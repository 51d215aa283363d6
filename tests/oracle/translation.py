"""From the naive model's words to the product's. The model's numbers become identifiers of shards."""

from collections.abc import Iterable

import msgspec

from tallystick.domain import commands, fingerprint
from tallystick.domain.accounts import AccountKind, AccountStatus, AccountTerms
from tallystick.domain.commands import Kind, Leg, Note, Reach, RequestKey
from tallystick.domain.decide import Atomic
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.fingerprint import Field, RequestKind
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.saga_commands import (
    Confirm,
    Credit,
    Finalize,
    GiveUp,
    Promise,
    RefuseCredit,
    Release,
    Revoke,
    Settle,
)
from tallystick.domain.sagas import (
    SEVERAL_SHARDS,
    SagaState,
    SagaStatus,
    SagaTerms,
    Step,
    credit_request,
    promise_end_request,
)
from tallystick.domain.system_owners import SystemAccount
from tests.oracle import words
from tests.oracle.history import History
from tests.oracle.model import named_accounts

SHARD = 1
DERIVATION = Derivation(SHARD, bytes(32))
_SHARD_SIZE = 1_000
_REACH = {
    words.SHARD_NOT_CONFIGURED: Reach.NOT_CONFIGURED,
    words.SHARD_NOT_REACHABLE: Reach.UNREACHABLE,
}
_ENDS = {
    "transfer_reserved": SagaStatus.RESERVED,
    "transfer_finalized": SagaStatus.FINALIZED,
    "transfer_released": SagaStatus.RELEASED,
    "transfer_given_up": SagaStatus.GIVEN_UP,
    "transfer_settled": SagaStatus.SETTLED,
}
_OF_OTHER_SAGAS = {"transfer_credited", "transfer_promised", "transfer_confirmed", "transfer_revoked"}


def _system_account(shard: int, tenant: int, owner: str, asset: str) -> SystemAccount:
    derivation = msgspec.structs.replace(DERIVATION, shard=SHARD + shard)
    return SystemAccount(derivation.of_system_owner(tenant, owner, asset).account, owner, asset)


class Translation:
    """Says in the product's words what the model says, knowing what happened so far."""

    def __init__(self, history: History) -> None:
        self.history = history

    def unit(self, unit: words.Unit) -> commands.Command | Atomic:
        if isinstance(unit, words.Group):
            return Atomic(tuple(self.command(command) for command in unit.commands))
        return self.command(unit)

    # Numbers.

    def account(self, account: int) -> int:
        if (whose := words.system_owner(account)) is not None:
            return _system_account(words.shard_of(account), *whose).account
        if account >= 0:
            return identify(account)
        terms = self.history.terms(account)
        if terms is None:
            return identify(-account)
        return DERIVATION.clearing(int(terms.owner.split()[-1]), terms.tenant, terms.asset).account

    def opens(self, tenant: int, accounts: Iterable[int]) -> tuple[SystemAccount, ...]:
        """The system owners' accounts among those that a tenant names."""
        owned = ((words.shard_of(account), words.system_owner(account)) for account in accounts)
        return tuple(_system_account(shard, *whose) for shard, whose in owned if whose and whose[0] == tenant)

    def part(self, part: words.Part) -> Leg:
        return Leg(self.account(part.account), part.amount, part.asset, part.param)

    def foreign_assets(self, tenant: int, accounts: Iterable[int]) -> dict[int, str | None]:
        """What the server has found out about the accounts of other shards that a request names."""
        return {
            self.account(account): words.asset_elsewhere(account, tenant)
            for account in accounts
            if words.shard_of(account)
        }

    # Commands.

    def command(self, command: words.Command) -> commands.Command:
        match command:
            case words.Open() | words.Change():
                return self._on_account(command)
            case words.Capture() | words.Void() | words.Expire() | words.Reverse():
                return self._on_earlier(command)
            case words.ClaimKey():
                asked = self.command(command.asked)
                return commands.ClaimKey(tenant=asked.tenant, request=asked.request, shard=command.shard)
            case words.Credit() | words.RefuseCredit() | words.Confirm() | words.Revoke():
                return self._step_of_payee(command)
            case words.Finalize() | words.Release() | words.GiveUp() | words.Settle():
                return self._step(command)
        return self._payment(command)

    def _on_account(self, command: words.Open | words.Change) -> commands.Command:
        if isinstance(command, words.Open):
            return commands.OpenAccount(
                tenant=command.tenant,
                request=_request(command, RequestKind.OPEN_ACCOUNT),
                account=self.account(command.account),
                owner=command.owner,
                asset=command.asset,
                kind=AccountKind[command.kind.upper()],
                min_balance=command.min_balance,
                max_balance=command.max_balance,
                metadata=command.metadata,
            )
        return commands.ChangeAccount(
            tenant=command.tenant,
            request=_request(command, RequestKind.CHANGE_ACCOUNT),
            account=self.account(command.id),
            status=msgspec.UNSET if command.status == "keep" else AccountStatus[command.status.upper()],
            min_balance=msgspec.UNSET if command.min_balance == "keep" else command.min_balance,
            max_balance=msgspec.UNSET if command.max_balance == "keep" else command.max_balance,
            metadata=msgspec.UNSET if command.metadata == "keep" else command.metadata,
            tags=None if command.fits else frozenset({"of another version"}),
        )

    def _payment(self, command: words.Command) -> commands.Command:
        match command:
            case words.Transfer():
                return commands.Transfer(
                    tenant=command.tenant,
                    request=_request(command, RequestKind.TRANSFER),
                    opens=self.opens(command.tenant, named_accounts(command)),
                    source=self.account(command.source),
                    destination=self.account(command.destination),
                    amount=command.amount,
                    asset=command.asset,
                    note=_note(command),
                    reach=_REACH.get(words.shard_of(command.destination), Reach.REACHABLE),
                )
            case words.Hold():
                return commands.PlaceHold(
                    tenant=command.tenant,
                    request=_request(command, RequestKind.HOLD),
                    opens=self.opens(command.tenant, named_accounts(command)),
                    source=self.account(command.source),
                    destination=self.account(command.destination),
                    amount=command.amount,
                    asset=command.asset,
                    expires_in_us=command.expires_in,
                    foreign_assets=self.foreign_assets(command.tenant, [command.destination]),
                    note=_note(command),
                )
            case words.Transaction():
                return commands.PostTransaction(
                    tenant=command.tenant,
                    request=_request(command, RequestKind.TRANSACTION),
                    opens=self.opens(command.tenant, named_accounts(command)),
                    entries=tuple((self.account(account), amount) for account, amount in command.entries),
                    foreign_assets=self.foreign_assets(command.tenant, named_accounts(command)),
                    note=_note(command),
                )
        raise TypeError(command)

    def _on_earlier(
        self, command: words.Capture | words.Void | words.Expire | words.Reverse
    ) -> commands.Command:
        match command:
            case words.Capture():
                return commands.CaptureHold(
                    tenant=command.tenant,
                    request=_request(command, RequestKind.CAPTURE),
                    hold=identify(command.id),
                    amount=command.amount,
                    final=command.final,
                    note=_note(command),
                )
            case words.Void():
                return commands.VoidHold(
                    tenant=command.tenant,
                    request=_request(command, RequestKind.VOID),
                    hold=identify(command.id),
                    note=_note(command),
                )
            case words.Expire():
                return commands.ExpireHold(tenant=command.tenant, hold=identify(command.id))
            case words.Reverse():
                return commands.Reverse(
                    tenant=command.tenant,
                    request=_request(command, RequestKind.REVERSE),
                    transaction=identify(command.id),
                    amount=command.amount,
                    payers=tuple(self.part(payer) for payer in command.payers),
                    note=_note(command),
                )

    def _step_of_payee(
        self, command: words.Credit | words.RefuseCredit | words.Confirm | words.Revoke
    ) -> commands.Command:
        saga, tenant = identify(command.saga), command.tenant
        if isinstance(command, words.RefuseCredit):
            return RefuseCredit(tenant=tenant, request=credit_request(saga), saga=saga)
        if isinstance(command, words.Credit):
            several = isinstance(command, words.Promise)
            legs = tuple(self.part(part) for part in command.parts)
            if several:
                # What other shards have to promise is not this one's business.
                legs = (*legs, Leg(identify(2_009), 1, "USD", "entries[9].account"))
            return (Promise if several else Credit)(
                tenant=tenant,
                request=credit_request(saga),
                opens=self.opens(tenant, named_accounts(command)),
                saga=saga,
                terms=SagaTerms(Kind.TRANSFER, SEVERAL_SHARDS if several else SHARD, (), legs),
                note=_note(command),
            )
        promise = self.history.promise(command.saga)
        paid = [] if promise is None else [entry for entry in promise.entries if entry[1] > 0]
        legs = tuple(
            Leg(self.account(account), amount, known.asset, "")
            for account, amount in paid
            if (known := self.history.terms(account))
        )
        terms = SagaTerms(Kind.TRANSACTION, SEVERAL_SHARDS, (), legs)
        if isinstance(command, words.Confirm):
            request = promise_end_request(saga, Step.CONFIRM)
            return Confirm(tenant=tenant, request=request, saga=saga, terms=terms, note=_note(command))
        request = promise_end_request(saga, Step.REVOKE)
        return Revoke(tenant=tenant, request=request, saga=saga, terms=terms, note=_note(command))

    def _step(
        self, command: words.Finalize | words.Release | words.GiveUp | words.Settle
    ) -> commands.Command:
        saga = identify(command.saga)
        match command:
            case words.GiveUp():
                return GiveUp(
                    tenant=command.tenant,
                    saga=saga,
                    terms=self._terms_of(command.saga),
                    refusal=to_refusal(command.code, command.param),
                )
            case words.Settle():
                return Settle(tenant=command.tenant, saga=saga, terms=self._terms_of(command.saga))
            case words.Finalize():
                return Finalize(
                    tenant=command.tenant,
                    saga=saga,
                    terms=self._terms_of(command.saga),
                    counterpart=command.counterpart,
                )
            case words.Release():
                return Release(
                    tenant=command.tenant,
                    saga=saga,
                    terms=self._terms_of(command.saga),
                    refusal=to_refusal(command.code, command.param),
                )

    # Sagas.

    def _terms_of(self, saga: int) -> SagaTerms:
        begun = self.history.event(saga)
        if begun is None or begun.crossing is None:
            return SagaTerms(Kind.TRANSFER, SHARD + 1, (), ())
        return self.terms(begun.tenant, begun.crossing)

    def terms(self, tenant: int, crossing: words.Crossing) -> SagaTerms:
        return SagaTerms(
            operation=Kind[crossing.operation.upper()],
            other_shard=SEVERAL_SHARDS
            if crossing.other_shard == words.SEVERAL
            else SHARD + crossing.other_shard,
            debits=tuple(self.part(part) for part in crossing.debits),
            credits=tuple(self.part(part) for part in crossing.credits),
            refers_to=crossing.about,
            final=crossing.final,
            opens=self.opens(tenant, (part.account for part in crossing.credits))
            if crossing.operation == "transaction"
            else (),
            reverses=self._payment_reversed(crossing),
        )

    def _payment_reversed(self, crossing: words.Crossing) -> int | None:
        """A credit that is given back refers to the payment that it came of."""
        if crossing.operation != "reversal":
            return None
        credited = self.history.event(crossing.about or 0)
        assert credited
        return self.refers_to(credited)

    def saga_state(self, event: words.Event) -> SagaState | None:
        """A saga as of an event that began or ended it."""
        status = _ENDS.get(event.kind)
        if status is None:
            return None
        begun = event if event.crossing else self.history.event(event.refers_to or 0)
        assert begun
        assert begun.crossing
        return SagaState(
            saga=begun.position,
            position=event.position,
            status=status,
            tenant=begun.tenant,
            terms=self.terms(begun.tenant, begun.crossing),
            note=Note(begun.description, begun.metadata, begun.effective_at),
            reserved_at_us=begun.recorded_at,
            counterpart=event.counterpart,
            refusal=None if event.refusal is None else to_refusal(event.refusal.code, event.refusal.param),
        )

    def refers_to(self, event: words.Event) -> int | None:
        """A credit refers to the saga of another shard, all else to a position of this one."""
        if event.kind in _OF_OTHER_SAGAS:
            return identify(event.refers_to or 0)
        return event.refers_to


def identify(number: int) -> int:
    """The identifier of an account, a saga, or a position, by the model's number."""
    return make_identifier(SHARD + words.shard_of(number), number % _SHARD_SIZE)


def to_terms(terms: words.Terms, account: int) -> AccountTerms:
    return AccountTerms(
        account,
        terms.tenant,
        terms.owner,
        terms.asset,
        AccountKind[terms.kind.upper()],
        AccountStatus[terms.status.upper()],
        terms.min_balance,
        terms.max_balance,
        terms.metadata,
    )


def to_refusal(code: str, param: str | None) -> Refused:
    return refuse(RefusalCode[code.upper()], param)


def from_outcome(outcome: Outcome) -> words.Outcome:
    if isinstance(outcome, Posted):
        return words.Posted(outcome.position, outcome.replayed)
    return words.Refused(outcome.code.text, outcome.param, outcome.replayed)


def _note(command: words.Noted) -> Note:
    return Note(command.description, command.metadata, command.effective_at)


def _request(command: words.Command, operation: RequestKind) -> RequestKey | None:
    if command.key is None:
        return None
    values = [_field(command, name) for name in fingerprint.FIELDS[operation]]
    return RequestKey(
        fingerprint.request_key(command.tenant, command.key), fingerprint.fingerprint(operation, *values)
    )


def _field(command: words.Command, name: str) -> Field:
    value = getattr(command, name)
    if isinstance(command, words.Change) and value in {"keep", None}:
        # To remove a bound is not the same request as to leave it alone.
        return None if value == "keep" else "null"
    if name == "entries":
        return [list(entry) for entry in value]
    found: Field = value
    return found
