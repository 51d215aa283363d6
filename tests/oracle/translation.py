"""From the naive model's words to the product's. The model's numbers become identifiers of shards."""

import msgspec

from tallystick.domain import commands, fingerprint
from tallystick.domain.accounts import AccountKind, AccountStatus, AccountTerms
from tallystick.domain.commands import Kind, Leg, Note, Reach, RequestKey
from tallystick.domain.decide import Atomic
from tallystick.domain.fingerprint import Field, Operation
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release
from tallystick.domain.sagas import SagaState, SagaStatus, SagaTerms, clearing_account, credit_request
from tests.oracle import words
from tests.oracle.history import History

SHARD = 1
_SHARD_SIZE = 1_000
_REACH = {
    words.SHARD_NOT_CONFIGURED: Reach.NOT_CONFIGURED,
    words.SHARD_NOT_REACHABLE: Reach.UNREACHABLE,
}
_ENDS = {
    "transfer_reserved": SagaStatus.RESERVED,
    "transfer_finalized": SagaStatus.FINALIZED,
    "transfer_released": SagaStatus.RELEASED,
}


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
        if account >= 0:
            return identify(account)
        terms = self.history.terms(account)
        if terms is None:
            return identify(-account)
        return clearing_account(SHARD, int(terms.owner.split()[-1]), terms.tenant, terms.asset)

    def part(self, part: words.Part) -> Leg:
        return Leg(self.account(part.account), part.amount, part.asset, part.param)

    # Commands.

    def command(self, command: words.Command) -> commands.Command:
        match command:
            case words.Open() | words.Change():
                return self._on_account(command)
            case words.Capture() | words.Void() | words.Expire() | words.Reverse():
                return self._on_earlier(command)
            case words.Credit() | words.RefuseCredit() | words.Finalize() | words.Release():
                return self._step(command)
        return self._payment(command)

    def _on_account(self, command: words.Open | words.Change) -> commands.Command:
        if isinstance(command, words.Open):
            return commands.OpenAccount(
                tenant=command.tenant,
                request=_request(command, Operation.OPEN_ACCOUNT),
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
            request=_request(command, Operation.CHANGE_ACCOUNT),
            account=self.account(command.id),
            status=msgspec.UNSET if command.status == "keep" else AccountStatus[command.status.upper()],
            min_balance=msgspec.UNSET if command.min_balance == "keep" else command.min_balance,
            max_balance=msgspec.UNSET if command.max_balance == "keep" else command.max_balance,
            metadata=msgspec.UNSET if command.metadata == "keep" else command.metadata,
        )

    def _payment(self, command: words.Command) -> commands.Command:
        match command:
            case words.Transfer():
                return commands.Transfer(
                    tenant=command.tenant,
                    request=_request(command, Operation.TRANSFER),
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
                    request=_request(command, Operation.HOLD),
                    source=self.account(command.source),
                    destination=self.account(command.destination),
                    amount=command.amount,
                    asset=command.asset,
                    expires_in_us=command.expires_in,
                    foreign_assets=_foreign_assets(command.tenant, command.destination),
                    note=_note(command),
                )
            case words.Transaction():
                return commands.PostTransaction(
                    tenant=command.tenant,
                    request=_request(command, Operation.TRANSACTION),
                    entries=tuple((self.account(account), amount) for account, amount in command.entries),
                    foreign_assets=_foreign_assets(
                        command.tenant, *(account for account, _ in command.entries)
                    ),
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
                    request=_request(command, Operation.CAPTURE),
                    hold=identify(command.id),
                    amount=command.amount,
                    final=command.final,
                    note=_note(command),
                )
            case words.Void():
                return commands.VoidHold(
                    tenant=command.tenant,
                    request=_request(command, Operation.VOID),
                    hold=identify(command.id),
                    note=_note(command),
                )
            case words.Expire():
                return commands.ExpireHold(tenant=command.tenant, hold=identify(command.id))
            case words.Reverse():
                return commands.Reverse(
                    tenant=command.tenant,
                    request=_request(command, Operation.REVERSE),
                    transaction=identify(command.id),
                    amount=command.amount,
                    payers=tuple(self.part(payer) for payer in command.payers),
                    note=_note(command),
                )

    def _step(
        self, command: words.Credit | words.RefuseCredit | words.Finalize | words.Release
    ) -> commands.Command:
        saga = identify(command.saga)
        match command:
            case words.Credit():
                return Credit(
                    tenant=command.tenant,
                    request=credit_request(saga),
                    saga=saga,
                    terms=SagaTerms(
                        Kind.TRANSFER, SHARD, (), tuple(self.part(part) for part in command.parts)
                    ),
                    note=_note(command),
                )
            case words.RefuseCredit():
                return RefuseCredit(tenant=command.tenant, request=credit_request(saga), saga=saga)
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
        return self.terms(begun.crossing)

    def terms(self, crossing: words.Crossing) -> SagaTerms:
        return SagaTerms(
            operation=Kind[crossing.operation.upper()],
            other_shard=SHARD + crossing.other_shard,
            debits=tuple(self.part(part) for part in crossing.debits),
            credits=tuple(self.part(part) for part in crossing.credits),
            refers_to=crossing.about,
            final=crossing.final,
        )

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
            terms=self.terms(begun.crossing),
            note=Note(begun.description, begun.metadata, begun.effective_at),
            reserved_at_us=begun.recorded_at,
            counterpart=event.counterpart,
            refusal=None if event.refusal is None else to_refusal(event.refusal.code, event.refusal.param),
        )

    def refers_to(self, event: words.Event) -> int | None:
        """A credit refers to the saga of another shard, all else to a position of this one."""
        if event.kind == "transfer_credited":
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


def _foreign_assets(tenant: int, *accounts: int) -> dict[int, str | None]:
    """What the server has found out about the accounts of other shards that a request names."""
    return {
        identify(account): words.asset_elsewhere(account, tenant)
        for account in accounts
        if words.shard_of(account)
    }


def _note(command: words.Noted) -> Note:
    return Note(command.description, command.metadata, command.effective_at)


def _request(command: words.Command, operation: Operation) -> RequestKey | None:
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
