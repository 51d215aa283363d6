"""Plants bugs in the rules, one at a time, and asks whether the comparison with the model finds them.

A test that cannot fail proves nothing. Each bug is one replacement in the source of the domain: see
tests/oracle/planting.py.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.oracle.crossing_scenarios import CROSSING_SCENARIOS
from tests.oracle.harness import Comparison
from tests.oracle.planting import planted
from tests.oracle.scenarios import SCENARIOS, play
from tests.oracle.strategies import Plan, World, plans, run, worlds

# What is wrong, the text it is wrong in, and the wrong text.
BUGS = {
    "min_balance is judged always": ("if amount < held and terms.min_balance", "if terms.min_balance"),
    "max_balance is judged always": ("if amount > 0 and terms.max_balance", "if terms.max_balance"),
    "min_balance is exclusive": ("available < terms.min_balance", "available <= terms.min_balance"),
    "max_balance is exclusive": ("balance > terms.max_balance", "balance >= terms.max_balance"),
    "what is held can be spent": ("available = balance - held_after", "available = balance"),
    "a balance can be larger than int64": ("balance > INT64_MAX or ", ""),
    "a balance can be smaller than int64": ("balance < INT64_MIN or available < INT64_MIN or ", ""),
    "what is held can be larger than int64": (" or held_after > INT64_MAX", ""),
    "a frozen account blocks captures": ("if movement.amount < movement.held:", "if movement.amount < 0:"),
    "a frozen account can receive nothing": ("if movement.amount < movement.held:", "if True:"),
    "a closed account is treated as a frozen one": (
        "if terms.status is AccountStatus.CLOSED:",
        "if terms.status is AccountStatus.CLOSED and movement.amount < movement.held:",
    ),
    "what is held does not keep an account open": ("(state.balance or state.held)", "state.balance"),
    "another tenant's account can be used": (
        "state is None or state.terms.tenant != tenant:\n            return RefusalCode.ACCOUNT_NOT_FOUND",
        "state is None:\n            return RefusalCode.ACCOUNT_NOT_FOUND",
    ),
    "another tenant's hold can be used": (
        "state is not None and state.terms.tenant == tenant",
        "state is not None",
    ),
    "another tenant's transaction can be reversed": (
        "original is None or original.tenant != command.tenant",
        "original is None",
    ),
    "the last reason is given, not the first": ("code < worst", "code > worst"),
    "of equal reasons the last is given": ("code < worst", "code <= worst"),
    "final releases nothing": (
        "released = hold.remaining if final else amount",
        "released = amount",
    ),
    "a capture of all that is left does not close": (
        "final = command.final or amount == hold.remaining",
        "final = command.final",
    ),
    "a capture forgets earlier ones": ("status, captured=hold.captured + amount", "status, captured=amount"),
    "a hold expires one microsecond late": (
        "expired = books.now_us >= hold.expires_at_us",
        "expired = books.now_us > hold.expires_at_us",
    ),
    "a hold that is over can be captured": (
        "if expired != (event is HoldEvent.EXPIRE):",
        "if not expired and event is HoldEvent.EXPIRE:",
    ),
    "a key that was claimed is free": (
        "RefusalCode.HOLD_BUSY, RefusalCode.SHARD_UNAVAILABLE, ",
        "RefusalCode.HOLD_BUSY, RefusalCode.SHARD_UNAVAILABLE, RefusalCode.IDEMPOTENCY_KEY_CLAIMED, ",
    ),
    "parts of a reversal do not add up": (
        "reversed_amount = original.reversed_amount + amount",
        "reversed_amount = amount",
    ),
    "what was reversed in earlier batches is forgotten": ("whole - original.reversed_amount", "whole"),
    "a wide transaction can be reversed in part": (
        "if amount != whole and len(original.entries) + max(0, len(command.payers) - 1) != _TWO_ENTRIES:",
        "if False:",
    ),
    "a reversal can be reversed": (
        "{Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED}",
        "{Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED, Kind.REVERSAL}",
    ),
    "entries of different assets make up for each other": (
        "totals[asset] = totals.get(asset, 0) + amount\n    if any",
        "totals[asset] = totals.get(asset, 0)\n    if any",
    ),
    "what is refused has opened a system owner's account": (
        "if isinstance(outcome, Refused):\n        books.restore(before)",
        "if False:\n        books.restore(before)",
    ),
    "a system owner's account is opened each time": (
        "if state is None:\n            missing",
        "if not books.holds:\n            missing",
    ),
    "a system owner may have no debts": (
        "DEFAULT_MIN_BALANCE[self.kind],",
        "DEFAULT_MIN_BALANCE[AccountKind.WALLET],",
    ),
    "a replay is carried out again": (
        "return _replay(recorded, request)\n        act = rule",
        "pass\n        act = rule",
    ),
    "a replay does not say so": ("replace(recorded.outcome, replayed=True)", "replace(recorded.outcome)"),
    "a key can be used for something else": (
        "if recorded.fingerprint != request.fingerprint:",
        "if False:",
    ),
    "a key used earlier in the batch is not seen": (
        "books.requests[key] = RecordedRequest(fingerprint, outcome)",
        "pass",
    ),
    "refusals are recorded with the batch before": (
        "number = books.head.number + 1",
        "number = books.head.number",
    ),
    "a refused group leaves its balances": (
        "            self.accounts,\n            self.holds,\n            self.sagas,\n",
        "            _,\n            self.holds,\n            self.sagas,\n",
    ),
    "a refused group leaves its holds": (
        "            self.holds,\n            self.sagas,\n            self.originals,\n",
        "            _,\n            self.sagas,\n            self.originals,\n",
    ),
    "a refused group leaves what it reversed": (
        "            self.originals,\n            self.requests,\n            lengths,\n",
        "            _,\n            self.requests,\n            lengths,\n",
    ),
    "a refused group leaves its rows": ("del rows[length:]", "pass"),
    "a refused group leaves a gap": (
        "            self.position,\n            self.accounts,\n",
        "            _,\n            self.accounts,\n",
    ),
    "a group posts what it can": (
        "if stands and not any(isinstance(outcome, Refused)",
        "if True or any(isinstance(outcome, Refused)",
    ),
    "an entry names the other bound": (
        "bound = terms.min_balance if amount < held else terms.max_balance",
        "bound = terms.max_balance if amount < held else terms.min_balance",
    ),
    "new terms forget the balance": ("AccountState(terms, before.balance,", "AccountState(terms, 0,"),
}

# The same in the way that most transfers take.
USUAL_TRANSFER_BUGS = {
    "a usual transfer spends what is held": ("left - payer.held < floor", "left < floor"),
    "a usual transfer fills an account over its limit": ("balance > ceiling", "False"),
    "a usual transfer pays with the money of another tenant": ("paying.tenant != command.tenant", "False"),
    "a usual transfer pays another tenant": ("paid.tenant != command.tenant", "False"),
    "a usual transfer changes the asset": ("or paid.asset != command.asset", ""),
    "a usual transfer leaves a frozen account": ("paying.status is not AccountStatus.OPEN", "False"),
    "a usual transfer reaches a closed account": (
        "paid.status is not AccountStatus.OPEN",
        "False",
    ),
    "a usual transfer leaves a clearing account": ("paying.kind is AccountKind.CLEARING", "False"),
    "a usual transfer reaches a clearing account": ("paid.kind is AccountKind.CLEARING", "False"),
}

# The same in what crosses shards.
CROSSING_BUGS = {
    "what crosses forgets which accounts to open": (
        "opens=tuple(one for one in command.opens if not books.is_local(one.account))",
        "opens=()",
    ),
    "a credit has no clearing entry": ("for movement in (*clearings, *payees):", "for movement in payees:"),
    "a credit gives the clearing account what it should take": (
        "command.tenant, totals, -1)",
        "command.tenant, totals, 1)",
    ),
    "a clearing account is opened again and again": (
        "if books.account(state.terms.account) is None:",
        "if True:",
    ),
    "tenants share a clearing account": (
        '_CLEARING + b"%d %d %s" % (other_shard, tenant,',
        '_CLEARING + b"%d %d %s" % (other_shard, 1,',
    ),
    "shards share a clearing account": (
        '_CLEARING + b"%d %d %s" % (other_shard, tenant,',
        '_CLEARING + b"%d %d %s" % (1, tenant,',
    ),
    "a clearing account goes below what its mirror can hold": (
        "if total > AMOUNT_MAX or judge(clearing, -total, 0) is not None:",
        "if total > AMOUNT_MAX:",
    ),
    "a clearing account is moved by more than an entry can hold": (
        "if total > AMOUNT_MAX or judge(clearing, -total, 0) is not None:",
        "if judge(clearing, -total, 0) is not None:",
    ),
    "ordinary commands reach clearing accounts": ("if terms.kind is AccountKind.CLEARING:", "if False:"),
    "a clearing account can be changed": (
        " or state.terms.kind is AccountKind.CLEARING:\n        return refuse",
        ":\n        return refuse",
    ),
    "an unbalanced transaction tells of a clearing account": (
        " or state.terms.kind is AccountKind.CLEARING:\n        return None",
        ":\n        return None",
    ),
    "a credit is carried out for another tenant": (
        "books.first_refusal(command.tenant, payees,",
        "books.first_refusal(1, payees,",
    ),
    "a credit does not ask for the asset": (
        "payees, assets.pop() if len(assets) == 1 else None",
        "payees, None",
    ),
    "all credits share one key": (
        "hashlib.sha256(_CREDIT_KEY + name)",
        "hashlib.sha256(_CREDIT_KEY)",
    ),
    "a refusal of the credit is not recorded": (
        "{RefusalCode.HOLD_BUSY, RefusalCode.SHARD",
        "{RefusalCode.HOLD_BUSY, RefusalCode.TRANSFER_CANCELLED, RefusalCode.SHARD",
    ),
    "that a hold is busy is recorded": (
        "{RefusalCode.HOLD_BUSY, RefusalCode.SHARD",
        "{RefusalCode.SHARD",
    ),
    "what is reserved is not held": (
        "for movement in set_aside:\n        books.append_entry(movement)",
        "pass",
    ),
    "what is reserved for a capture is held twice": (
        "[] if terms.operation is Kind.HOLD_CAPTURED else _reservations(terms.debits)",
        "_reservations(terms.debits)",
    ),
    "nobody asks whether the payer can pay what crosses": (
        "books.first_refusal(tenant, set_aside, assets.pop()",
        "books.first_refusal(tenant, [], assets.pop()",
    ),
    "what is finalized stays held": (
        "payers = [Movement(leg.account, -leg.amount, -leg.amount, leg.param)",
        "payers = [Movement(leg.account, -leg.amount, 0, leg.param)",
    ),
    "what is finalized does not leave": (
        "payers = [Movement(leg.account, -leg.amount, -leg.amount, leg.param)",
        "payers = [Movement(leg.account, 0, -leg.amount, leg.param)",
    ),
    "a saga is finalized twice": (
        "if (answered := answer_of(state, SagaEvent.FINALIZE)) is not None:",
        "if answered := None:",
    ),
    "a saga is released twice": (
        "if (answered := answer_of(state, SagaEvent.RELEASE)) is not None:",
        "if answered := None:",
    ),
    "a saga ends in both ways": (
        'raise SagaConflictError(f"saga {state.saga} is {state.status.name}, and cannot {event.name}")',
        "return None",
    ),
    "what is released stays held": (
        "            books.append_entry(Movement(leg.account, 0, -leg.amount, leg.param))",
        "            pass",
    ),
    "why a saga was given up is forgotten": (", refusal=command.refusal", ""),
    "why a saga was released is forgotten": ("            refusal=state.refusal or command.refusal,\n", ""),
    "where a saga was credited is forgotten": (
        "            counterpart=command.counterpart,\n",
        "",
    ),
    "a finalized saga keeps its status": (
        "            status=SagaStatus.FINALIZED,\n            counterpart",
        "            counterpart",
    ),
    "what was given back and released counts as reversed": (
        "reversed_amount=original.reversed_amount - amount",
        "reversed_amount=original.reversed_amount",
    ),
    "a credit is given back to nobody": ("in _CREDIT_KINDS and bool(command.payers)", "in _CREDIT_KINDS"),
    "a part of a credit is given back as the whole": (
        "payer.amount if amount == whole else amount, payer.asset",
        "payer.amount, payer.asset",
    ),
    "a capture leaves the hold as it was": ("books.append_hold(after)", "pass"),
    "a hold that is being captured looks open": (
        "HOLD_TRANSITIONS[hold.status, HoldEvent.RESERVE_CAPTURE]",
        "hold.status",
    ),
    "a hold that is busy is called ended": (
        "RefusalCode.HOLD_BUSY if hold.status is HoldStatus.CAPTURING else RefusalCode.HOLD_NOT_OPEN",
        "RefusalCode.HOLD_NOT_OPEN",
    ),
    "a capture elsewhere forgets earlier ones": (
        "captured=hold.captured + amount,\n    )",
        "captured=amount,\n    )",
    ),
    "a released capture counts as captured": (
        "amount = state.terms.debits[0].amount if captured else 0",
        "amount = state.terms.debits[0].amount",
    ),
    "a final capture elsewhere is not final": ("if captured and state.terms.final:", "if False:"),
    "a released final capture ends the hold": ("if captured and state.terms.final:", "if state.terms.final:"),
    "a hold outlives its time when a capture ends": (
        "elif books.now_us >= hold.expires_at_us:",
        "elif books.now_us > hold.expires_at_us:",
    ),
    "a transaction may be paid by another shard": (
        "if books.shard in others or not all(books.is_local(leg.account) for leg in debits):",
        "if books.shard in others:",
    ),
    "a transaction is paid here and elsewhere": ("if books.shard in others or not", "if not"),
    "what was given up is finalized": (
        "return state.refusal\n    if state.terms.is_split and event is SagaEvent.GIVE_UP:",
        "return None\n    if state.terms.is_split and event is SagaEvent.GIVE_UP:",
    ),
    "what is finalized is given up": (
        'return Refused(RefusalCode.TRANSACTION_NOT_REVERSIBLE, None, "The transfer is finalized already.")',
        "return None",
    ),
    "it is released for another reason than it was given up for": (
        "refusal=state.refusal or command.refusal",
        "refusal=command.refusal",
    ),
    "all that leaves is cleared with one shard": (
        "for there in terms.payee_shards\n",
        "for there in terms.payee_shards[:1]\n",
    ),
    "what is promised may be spent": (
        "Movement(leg.account, leg.amount, leg.amount,",
        "Movement(leg.account, leg.amount, 0,",
    ),
    "a shard promises for all": (
        "legs = command.terms.credits_on(books.shard)\n    payees",
        "legs = command.terms.credits\n    payees",
    ),
    "what is confirmed is held still": (
        "for leg in command.terms.credits_on(books.shard):\n",
        "for leg in command.terms.credits_on(0):\n",
    ),
    "what is revoked stays with the payees": (
        "Movement(leg.account, -leg.amount, -leg.amount, leg.param))\n    for movement",
        "Movement(leg.account, 0, -leg.amount, leg.param))\n    for movement",
    ),
    "what was never promised is confirmed": (
        "if recorded is None or not isinstance(recorded.outcome, Posted):\n        raise",
        "if False:\n        raise",
    ),
    "more than int64 may cross": ("if any(total > AMOUNT_MAX for", "if any(False for"),
    "a group may cross": ("if self._is_local(command) else", "if True else"),
}

ALL_BUGS = BUGS | USUAL_TRANSFER_BUGS | CROSSING_BUGS


def find_difference(examples: int) -> BaseException | None:
    """The first difference from the model in a number of examples that are the same on every run."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(world=worlds, plan=plans)
    def compare(world: World, plan: Plan) -> None:
        run(Comparison(), world, plan)

    try:
        for scenario in (SCENARIOS | CROSSING_SCENARIOS).values():
            play(Comparison(), scenario)
        compare()
    except (Exception, pytest.fail.Exception) as difference:  # noqa: BLE001 - whatever it is, it is a difference
        return difference
    return None


def test_no_difference_without_a_bug() -> None:
    assert find_difference(examples=40) is None


@pytest.mark.parametrize("bug", ALL_BUGS)
def test_bug_is_found(bug: str) -> None:
    with planted(*ALL_BUGS[bug]):
        difference = find_difference(examples=2000)
    assert difference is not None, f"nothing finds that {bug}"
