"""Plants bugs in the rules, one at a time, and asks whether the comparison with the model finds them.

A test that cannot fail proves nothing. Each bug is one replacement in the source of `decide`, which is compiled
into a module of its own; nothing on disk changes.
"""

import inspect
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tallystick.domain import decide
from tests.oracle.harness import Comparison, Decide
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
    "a capture forgets earlier ones": ("captured=hold.captured + amount", "captured=amount"),
    "a hold expires one microsecond late": (
        "self.now_us >= hold.expires_at_us",
        "self.now_us > hold.expires_at_us",
    ),
    "a hold that is over can be captured": (
        "if expired != (event is HoldEvent.EXPIRE):",
        "if not expired and event is HoldEvent.EXPIRE:",
    ),
    "parts of a reversal do not add up": (
        "reversed_amount = original.reversed_amount + amount",
        "reversed_amount = amount",
    ),
    "what was reversed in earlier batches is forgotten": ("whole - original.reversed_amount", "whole"),
    "a wide transaction can be reversed in part": (
        "if amount != whole and len(original.entries) != _TWO_ENTRIES:",
        "if False:",
    ),
    "a reversal can be reversed": (
        "{Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED}",
        "{Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED, Kind.REVERSAL}",
    ),
    "entries of different assets make up for each other": (
        "totals.get(state.terms.asset, 0) + amount",
        "totals.get(state.terms.asset, 0)",
    ),
    "a replay is carried out again": (
        "return _replay(recorded, request)\n        outcome = _RULES",
        "pass\n        outcome = _RULES",
    ),
    "a replay does not say so": ("replace(recorded.outcome, replayed=True)", "replace(recorded.outcome)"),
    "a key can be used for something else": (
        "if recorded.fingerprint != request.fingerprint:",
        "if False:",
    ),
    "a key used earlier in the batch is not seen": (
        "self.requests[request.key] = RecordedRequest(request.fingerprint, outcome)",
        "pass",
    ),
    "refusals are recorded with the batch before": (
        "number = self.head.number + 1",
        "number = self.head.number",
    ),
    "a refused group leaves its balances": (
        "self.position, self.accounts, self.holds, self.originals",
        "self.position, _, self.holds, self.originals",
    ),
    "a refused group leaves its holds": (
        "self.position, self.accounts, self.holds, self.originals",
        "self.position, self.accounts, _, self.originals",
    ),
    "a refused group leaves what it reversed": (
        "self.position, self.accounts, self.holds, self.originals",
        "self.position, self.accounts, self.holds, _",
    ),
    "a refused group leaves its rows": ("del rows[length:]", "pass"),
    "a refused group leaves a gap": (
        "self.position, self.accounts, self.holds, self.originals, self.requests, lengths = saved",
        "_, self.accounts, self.holds, self.originals, self.requests, lengths = saved",
    ),
    "a group posts what it can": (
        "if not any(isinstance(outcome, Refused)",
        "if True or any(isinstance(outcome, Refused)",
    ),
    "an entry names the other bound": (
        "bound = terms.min_balance if amount < held else terms.max_balance",
        "bound = terms.max_balance if amount < held else terms.min_balance",
    ),
    "new terms forget the balance": ("AccountState(terms, before.balance,", "AccountState(terms, 0,"),
}


def compile_decide(source: str) -> Decide:
    module = ModuleType("tallystick.domain.decide_with_a_bug")
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    # The units that are asked are made with the real class.
    vars(module)["Atomic"] = decide.Atomic
    compiled: Decide = vars(module)["decide"]
    return compiled


def find_difference(decide_batch: Decide, examples: int) -> BaseException | None:
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
        run(Comparison(decide_batch), world, plan)

    try:
        for scenario in SCENARIOS.values():
            play(Comparison(decide_batch), scenario)
        compare()
    except Exception as difference:  # noqa: BLE001
        return difference
    return None


def test_no_difference_without_a_bug() -> None:
    assert find_difference(compile_decide(inspect.getsource(decide)), examples=40) is None


@pytest.mark.parametrize("bug", BUGS)
def test_bug_is_found(bug: str) -> None:
    right, wrong = BUGS[bug]
    source = inspect.getsource(decide)
    assert source.count(right) == 1, f"decide.py says it in other words now: plant the bug '{bug}' there anew"
    difference = find_difference(compile_decide(source.replace(right, wrong)), examples=2000)
    assert difference is not None, f"nothing finds that {bug}"
