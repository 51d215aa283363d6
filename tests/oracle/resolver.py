"""Makes commands of intents, knowing what the model knows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tests.oracle import words
from tests.oracle.intents import Intent
from tests.oracle.model import Model

UNKNOWN_ACCOUNT: Final = 999
UNKNOWN_ELSEWHERE: Final = 1_999
FIRST_DRAWN_POSITION: Final = 9

_STEPS: Final = frozenset({"credit", "refuse credit", "promise", "end promise", "finalize", "release"})
_PAYERS: Final = {"USD": 1_001, "EUR": 1_003}


def _clamped(amount: int) -> int:
    """An amount no further outside the range of amounts than can be written down."""
    return max(words.SMALLEST, min(words.LARGEST + 1, amount))


class Resolver:
    """Makes commands of intents, knowing what the model knows."""

    def __init__(self, ledger: Model) -> None:
        self.ledger = ledger
        self.sent: list[words.Command] = []
        self.opened = 0
        self.keys = 0
        self.credits = 0

    def command(self, intent: Intent) -> words.Command:
        command = self._again(intent) if intent.action in {"repeat", "alter"} else self._new(intent)
        if command.key is not None or isinstance(command, words.Credit | words.RefuseCredit):
            self.sent.append(command)
        return command

    def command_of_group(self, intent: Intent) -> words.Command:
        """A command that may stand in a group: no step of a saga, and nothing that begins one but transfers."""
        if intent.action.startswith("send"):
            return self.command(intent._replace(action="send transfer"))
        if intent.action in _STEPS or intent.action == "claim key":
            intent = intent._replace(action="transfer")
        command = self.command(intent)
        return self.command(intent._replace(action="transfer")) if self._may_cross(command) else command

    def _may_cross(self, command: words.Command) -> bool:
        match command:
            case words.Transaction():
                return any(words.shard_of(account) for account, _ in command.entries)
            case words.Capture() | words.Void():
                placed = self.ledger.history.event(command.id)
                away = placed and placed.reservation and words.shard_of(placed.reservation.payee)
                return bool(away)
            case words.Reverse():
                return bool(command.payers)
        return isinstance(command, words.Credit | words.RefuseCredit | words.Confirm | words.Revoke)

    # What the same caller may send again.

    def _again(self, intent: Intent) -> words.Command:
        if not self.sent:
            return self._new(intent._replace(action="transfer"))
        earlier = self.sent[-1 - (intent.first * 6 + intent.second) % len(self.sent)]
        if isinstance(earlier, words.ClaimKey):
            earlier = earlier.asked
        if isinstance(earlier, words.Open):
            earlier = replace(earlier, account=self._draw_account())
        if intent.action == "repeat":
            return earlier
        if isinstance(earlier, words.Credit):
            return words.RefuseCredit(tenant=earlier.tenant, saga=earlier.saga)
        if isinstance(earlier, words.RefuseCredit):
            return self._credit(intent, earlier.saga)
        return replace(earlier, **self._alteration(earlier, intent))

    def _alteration(self, earlier: words.Command, intent: Intent) -> dict[str, Any]:
        changes: list[dict[str, Any]]
        match earlier:
            case words.Transfer() | words.Hold():
                changes = [
                    {"amount": earlier.amount + 1},
                    {"destination": earlier.source},
                    {"asset": "EUR" if earlier.asset == "USD" else "USD"},
                ]
            case words.Transaction():
                changes = [{"entries": earlier.entries[:-1]}, {"entries": earlier.entries[::-1]}]
            case words.Capture():
                changes = [{"final": not earlier.final}, {"id": earlier.id + 1}, {"amount": 1}]
            case words.Reverse() | words.Void():
                changes = [{"id": earlier.id + 1}, {"metadata": "{}"}]
            case words.Open():
                changes = [{"max_balance": 77}, {"owner": "somebody else"}]
            case _:
                changes = [{"status": "frozen"}, {"min_balance": None}]
        if isinstance(earlier, words.Noted):
            changes.append({"description": "something else"})
        return changes[intent.second % len(changes)]

    # New requests.

    def _new(self, intent: Intent) -> words.Command:
        makers: dict[str, Callable[[Intent], words.Command]] = {
            "transfer": self._payment,
            "hold": self._payment,
            "transaction": self._transaction,
            "capture": self._on_hold,
            "void": self._on_hold,
            "expire": self._on_hold,
            "reverse": self._reversal,
            "change": self._change,
            "open": self._opening,
            "promise": self._promise,
            "end promise": self._promise,
        }
        if intent.action.startswith("send"):
            return self._sending(intent)
        if intent.action == "claim key":
            return self._claim_of_key(intent)
        return makers.get(intent.action, self._step)(intent)

    def _claim_of_key(self, intent: Intent) -> words.Command:
        """For a request to another shard, or (its sender was mistaken) for one that was sent here."""
        asked = self._new(intent._replace(action="transfer"))
        if intent.flag and self.sent:
            asked = self._again(intent._replace(action="repeat"))
        if asked.key is None:
            return asked
        return words.ClaimKey(tenant=asked.tenant, key=asked.key, asked=asked, shard=2 + intent.first % 2)

    def _common(self, intent: Intent) -> dict[str, Any]:
        return {"tenant": intent.tenant, "key": self._key(intent)}

    def _noted(self, intent: Intent) -> dict[str, Any]:
        description, metadata, effective_at = intent.note
        return {
            **self._common(intent),
            "description": description,
            "metadata": metadata,
            "effective_at": effective_at,
        }

    def _key(self, intent: Intent) -> str | None:
        if intent.key == "none":
            return None
        if intent.key != "new":
            return intent.key
        self.keys += 1
        return f"new {self.keys}"

    def _accounts(self, intent: Intent) -> list[int]:
        history = self.ledger.history
        return [
            account
            for account in history.accounts()
            if (terms := history.terms(account))
            and terms.tenant == intent.tenant
            and terms.asset == intent.asset
            and terms.kind != "clearing"
        ]

    def _clearing(self, intent: Intent) -> int:
        history = self.ledger.history
        return history.clearing(1, intent.tenant, intent.asset) or UNKNOWN_ACCOUNT

    def _system_owner(self, intent: Intent) -> int:
        """One that may never have been named before."""
        of_tenant = [
            number
            for number, tenant, _, asset in words.SYSTEM_OWNERS
            if (tenant, asset) == (intent.tenant, intent.asset)
        ]
        return of_tenant[intent.second % len(of_tenant)] if of_tenant else UNKNOWN_ACCOUNT

    def _two_accounts(self, intent: Intent) -> tuple[int, int]:
        accounts = self._accounts(intent) or [UNKNOWN_ACCOUNT]
        source = accounts[intent.first % len(accounts)]
        others = [account for account in accounts if account != source] or [UNKNOWN_ACCOUNT]
        destination = others[intent.second % len(others)]
        match intent.fault:
            case "unknown first":
                source = UNKNOWN_ACCOUNT
            case "unknown second":
                destination = UNKNOWN_ACCOUNT
            case "same account":
                destination = source
            case "other tenant":
                source, destination = (108, destination) if intent.flag else (source, 108)
            case "other asset":
                source, destination = (105, destination) if intent.flag else (source, 105)
            case "system owner":
                system = self._system_owner(intent)
                source, destination = (system, destination) if intent.flag else (source, system)
            case "clearing":
                clearing = self._clearing(intent)
                source, destination = (clearing, destination) if intent.flag else (source, clearing)
        return source, destination

    def _amount(self, intent: Intent, payer: int, payee: int, whole: int) -> int:
        """An amount, perhaps one at the edge of what the rules allow."""
        history = self.ledger.history
        fixed = {"one": 1, "ten": 10, "fifty": 50, "zero": 0, "negative": -1, "largest": words.LARGEST}
        if intent.amount in fixed:
            return fixed[intent.amount]
        if intent.amount == "too large":
            return words.LARGEST + 1
        edge = whole
        if intent.amount == "payer" and (terms := history.terms(payer)) and terms.min_balance is not None:
            edge = history.available(payer) - terms.min_balance
        elif intent.amount == "payee" and (terms := history.terms(payee)) and terms.max_balance is not None:
            edge = terms.max_balance - history.balance(payee)
        elif intent.amount == "bottom":
            edge = history.available(payer) - words.SMALLEST
        elif intent.amount == "top":
            edge = words.LARGEST - history.balance(payee)
        return _clamped(edge + intent.offset)

    def _payment(self, intent: Intent) -> words.Command:
        source, destination = self._two_accounts(intent)
        asset = "GBP" if intent.fault == "misnamed asset" else intent.asset
        amount = self._amount(intent, source, destination, 20)
        if intent.action == "hold":
            return words.Hold(
                **self._noted(intent),
                source=source,
                destination=destination,
                amount=amount,
                asset=asset,
                expires_in=intent.wait,
            )
        return words.Transfer(
            **self._noted(intent), source=source, destination=destination, amount=amount, asset=asset
        )

    def _transaction(self, intent: Intent) -> words.Command:
        payer, payee = self._two_accounts(intent)
        amount = self._amount(intent, payer, payee, 30)
        others = [account for account in self._accounts(intent) if account not in {payer, payee}]
        entries: list[tuple[int, int]]
        match intent.wait, bool(others):
            case 1, True:  # one pays many
                entries = [(payer, -amount - len(others)), (payee, amount), *((other, 1) for other in others)]
            case 2, True:  # many pay one
                entries = [
                    (payee, amount + len(others)),
                    *((other, -1) for other in others),
                    (payer, -amount),
                ]
            case 5, _:  # an exchange of two assets
                back = 105 if intent.flag else 106
                entries = [(payer, -amount), (payee, amount), (104, 10), (back, -10)]
            case _:
                entries = [(payee, amount), (payer, -amount)]
        entries = [(account, _clamped(amount)) for account, amount in entries]
        match intent.fault, intent.flag:
            case "same account", True:
                entries.append((payer, 5))
            case "misnamed asset", True:
                entries[0] = (entries[0][0], _clamped(entries[0][1] + 1))
            case "misnamed asset", False:
                entries.pop()
        return words.Transaction(**self._noted(intent), entries=tuple(entries))

    def _on_hold(self, intent: Intent) -> words.Command:
        history = self.ledger.history
        placed = [hold for hold in history.holds() if hold.tenant == intent.tenant]
        still_open = [hold for hold in placed if not history.end_of_hold(hold.position)]
        choice = still_open if still_open and intent.second else placed
        away = [one for one in still_open if one.reservation and words.shard_of(one.reservation.payee)]
        if away and intent.wait > 2:
            choice = away
        # The newest ones first, which this run has placed.
        hold = choice[-1 - intent.first % len(choice)] if choice else None
        if hold is None and intent.fault == "none":
            return self._payment(intent._replace(action="hold"))
        position = hold.position if hold else 1
        if intent.fault.startswith("unknown"):
            # Perhaps one that a group places before this command, or no hold at all.
            position = max(1, len(history.events) + intent.second - 2)
        elif intent.fault == "other tenant":
            intent = intent._replace(tenant=3 - intent.tenant)
        if intent.action == "expire":
            return words.Expire(tenant=intent.tenant, id=position)
        if intent.action == "void":
            return words.Void(**self._noted(intent), id=position)
        amount: int | None = None
        if hold and hold.reservation and intent.amount != "one":
            reservation = hold.reservation
            amount = self._amount(intent, reservation.payer, reservation.payee, history.remaining(hold))
        return words.Capture(**self._noted(intent), id=position, amount=amount, final=intent.flag)

    def _reversal(self, intent: Intent) -> words.Command:
        history = self.ledger.history
        events = [event for event in history.events if event.tenant == intent.tenant]
        choice = [
            event
            for event in events
            if event.kind in words.REVERSIBLE and event.position > FIRST_DRAWN_POSITION
        ]
        if intent.second == 0 or not choice:
            choice = events
        # The newest ones, so that a run meets the same original more than once.
        original = choice[-1 - intent.first % min(3, len(choice))] if choice else None
        position = original.position if original else 1
        if intent.fault.startswith("unknown"):
            position = max(1, len(history.events) + intent.second - 2)
        elif intent.fault == "other tenant":
            intent = intent._replace(tenant=3 - intent.tenant)
        amount: int | None = None
        if original and len(original.entries) >= 2 and not intent.flag:
            (payee, _), (payer, _) = original.entries[:2]
            amount = self._amount(intent, payer, payee, history.left_to_reverse(original))
        return words.Reverse(
            **self._noted(intent), id=position, amount=amount, payers=self._payers(intent, position)
        )

    def _payers(self, intent: Intent, position: int) -> tuple[words.Part, ...]:
        """Who paid what was credited here, as the other shard would say."""
        original = self.ledger.history.event(position)
        if original is None or original.kind != "transfer_credited" or intent.fault == "misnamed asset":
            return ()
        paid: dict[str, int] = {}
        for account, amount in original.entries:
            terms = self.ledger.history.terms(account)
            if terms and amount > 0:
                paid[terms.asset] = paid.get(terms.asset, 0) + amount
        parts = [words.Part(_PAYERS[asset], amount, asset, "id") for asset, amount in paid.items()]
        if intent.wait == 5 and parts[0].amount > 1 and parts[0].asset == "USD":
            # Two had paid it together.
            parts = [replace(parts[0], amount=parts[0].amount - 1), *parts[1:]]
            parts.append(words.Part(1_002, 1, "USD", "id"))
        return tuple(parts)

    def _change(self, intent: Intent) -> words.Command:
        account, _ = self._two_accounts(intent)
        statuses: tuple[words.Status | words.Keep, ...] = (
            "keep",
            "open",
            "open",
            "frozen",
            "closed",
            "closed",
        )
        bound = self._bound(intent, account)
        return words.Change(
            **self._common(intent),
            id=account,
            status=statuses[intent.second],
            min_balance="keep" if intent.flag else bound,
            max_balance=bound if intent.flag else "keep",
            metadata="keep" if intent.note[1] is None else intent.note[1],
            fits=not (intent.flag and intent.second == 2),
        )

    def _bound(self, intent: Intent, account: int) -> int | None | words.Keep:
        balance = self.ledger.history.balance(account)
        bounds: dict[str, int | None | words.Keep] = {
            "keep": "keep",
            "none": None,
            "zero": 0,
            "balance": balance,
            "ten below": balance - 10,
            "ten above": balance + 10,
            "hundred": 100,
            "largest": words.LARGEST,
            "smallest": words.SMALLEST,
        }
        bound = bounds[intent.bounds]
        return min(words.LARGEST, _clamped(bound)) if isinstance(bound, int) else bound

    def _opening(self, intent: Intent) -> words.Command:
        return words.Open(
            **self._common(intent),
            account=self._draw_account(),
            owner="somebody",
            asset=intent.asset,
            kind="system" if intent.flag else "wallet",
            min_balance=0 if intent.flag else intent.offset,
            max_balance=intent.second - 1 if intent.second < 3 else None,
            metadata=intent.note[1],
        )

    def _draw_account(self) -> int:
        self.opened += 1
        return 500 + self.opened

    # What crosses shards.

    def _elsewhere(self, intent: Intent) -> int:
        """An account of another shard, most often one that can be paid."""
        fitting = [
            account
            for account, tenant, asset in words.ELSEWHERE
            if (tenant, asset) == (intent.tenant, intent.asset)
        ]
        faulty = {
            "unknown first": 3_001,
            "unknown second": UNKNOWN_ELSEWHERE,
            "other tenant": 1_004,
            "other asset": 1_003,
            "clearing": 4_001,
        }
        account = fitting[intent.second % len(fitting)] if fitting else UNKNOWN_ELSEWHERE
        return faulty.get(intent.fault, account)

    def _sending(self, intent: Intent) -> words.Command:
        """What would be a payment, if it did not go to another shard."""
        payment = self._payment(intent._replace(action=intent.action.removeprefix("send ")))
        assert isinstance(payment, words.Transfer | words.Hold)
        payee = self._elsewhere(intent)
        if intent.action != "send transaction":
            payment = replace(payment, destination=payee)
            # What is done to it takes several steps.
            return (
                replace(payment, expires_in=4 * intent.wait) if isinstance(payment, words.Hold) else payment
            )
        payer, amount = payment.source, payment.amount
        others = [account for account in self._accounts(intent) if account != payer]
        entries: list[tuple[int, int]]
        match intent.wait, bool(others), intent.flag:
            case 1, _, _:  # one pays a receiver, and a fee
                fee = 1_901 if intent.flag else 1_002 if payee != 1_002 else 1_001
                entries = [(payee, amount), (payer, -amount - 3), (fee, 3)]
            case 2, True, _:  # two pay one
                entries = [(payer, -amount), (others[0], -1), (payee, amount + 1)]
            case 5, _, _ if intent.asset == "USD":  # an exchange of two assets
                entries = [(payer, -amount), (payee, amount), (1_003, 10), (105, -10)]
            case 10, True, True:  # too wide: somebody is paid here
                entries = [(payer, -amount - 3), (payee, amount), (others[0], 3)]
            case 10, _, False:  # on two shards
                entries = [(payer, -amount - 3), (1_001, amount), (2_001, 3)]
            case _:
                entries = [(payee, amount), (payer, -amount)]
        if intent.fault == "misnamed asset":
            entries[0] = (entries[0][0], entries[0][1] + 1)
        noted = self._noted(intent)
        return words.Transaction(
            **noted, entries=tuple((account, _clamped(amount)) for account, amount in entries)
        )

    def _step(self, intent: Intent) -> words.Command:
        if intent.action in {"credit", "refuse credit"}:
            self.credits += 1
            saga = (2_000 if intent.fault == "misnamed asset" else 1_000) + self.credits
            refused = intent.action == "refuse credit"
            return (
                words.RefuseCredit(tenant=intent.tenant, saga=saga) if refused else self._credit(intent, saga)
            )
        return self._end_of_saga(intent)

    def _end_of_saga(self, intent: Intent) -> words.Command:
        history = self.ledger.history
        sagas = history.open_sagas() if intent.second else history.sagas()
        if not sagas:
            return self._sending(intent._replace(action="send hold" if intent.flag else "send transfer"))
        begun = sagas[intent.first % len(sagas)]
        saga, tenant = begun.position, begun.tenant
        if begun.crossing and begun.crossing.other_shard == words.SEVERAL:
            return self._step_of_several(intent, saga, tenant)
        if not self._could_be_credited(begun):
            return words.Release(tenant=tenant, saga=saga, code="balance_limit_exceeded", param="destination")
        if intent.action == "finalize":
            return words.Finalize(tenant=tenant, saga=saga, counterpart=7 + intent.first)
        code, param = (("account_closed", "destination"), ("transfer_cancelled", None))[intent.flag]
        return words.Release(tenant=tenant, saga=saga, code=code, param=param)

    def _step_of_several(self, intent: Intent, saga: int, tenant: int) -> words.Command:
        """Any step at any time: what cannot be is a conflict, or is answered with what is."""
        code, param = (("account_closed", "entries[1].account"), ("transfer_cancelled", None))[intent.flag]
        if intent.action == "finalize":
            if intent.wait >= 10 or self.ledger.history.end_of_saga(saga):
                return words.Settle(tenant=tenant, saga=saga)
            return words.Finalize(tenant=tenant, saga=saga, counterpart=None)
        if intent.wait >= 10 or not self.ledger.history.was_given_up(saga):
            return words.GiveUp(tenant=tenant, saga=saga, code=code, param=param)
        return words.Release(tenant=tenant, saga=saga, code=code, param=param)

    def _promise(self, intent: Intent) -> words.Command:
        """A part of what another shard has reserved for several, or how it ends."""
        history = self.ledger.history
        promises = [event for event in history.events if event.kind == "transfer_promised"]
        if intent.action == "promise" or (not promises and intent.fault == "none"):
            self.credits += 1
            credit = self._credit(intent, 1_000 + self.credits)
            assert isinstance(credit, words.Credit)
            return words.Promise(**vars(credit))
        promise = promises[-1 - intent.first % min(3, len(promises))] if promises else None
        saga = (promise.refers_to or 0) if promise else 2_077
        end = history.end_of_promise(saga)
        confirms = end.kind == "transfer_confirmed" if end else intent.flag
        noted = {**self._noted(intent), "key": None, "tenant": promise.tenant if promise else 1}
        return (words.Confirm if confirms else words.Revoke)(**noted, saga=saga)

    def _could_be_credited(self, saga: words.Event) -> bool:
        """Whether the other shard had room for it: its clearing account is the mirror of the one here."""
        history = self.ledger.history
        if saga.crossing is None or history.end_of_saga(saga.position):
            return True
        totals: dict[str, int] = {}
        for part in saga.crossing.debits:
            totals[part.asset] = totals.get(part.asset, 0) + part.amount
        return all(
            (history.balance(clearing) if clearing else 0) + total <= words.LARGEST
            for asset, total in totals.items()
            for clearing in [history.clearing(saga.crossing.other_shard, saga.tenant, asset)]
        )

    def _credit(self, intent: Intent, saga: int) -> words.Command:
        """What another shard has reserved, to be paid here."""
        other, payee = self._two_accounts(intent)
        asset = "GBP" if intent.fault == "misnamed asset" else intent.asset
        amount = max(1, min(words.LARGEST, self._amount(intent, other, payee, 30)))
        parts = [words.Part(payee, amount, asset, "destination")]
        # No saga pays one account twice: whoever reserved it refused that.
        if intent.wait == 2 and intent.fault != "misnamed asset" and other != payee:
            parts = [
                words.Part(payee, amount, asset, "entries[1].account"),
                words.Part(other, 3, asset, "entries[2].account"),
            ]
        elif intent.wait == 5 and intent.fault == "none":
            back = (105, "EUR") if intent.asset == "USD" else (101, "USD")
            parts.append(words.Part(back[0], 10, back[1], "entries[3].account"))
        noted = {**self._noted(intent), "key": None}
        return words.Credit(**noted, saga=saga, parts=tuple(parts))
