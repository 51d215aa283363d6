"""The checks of `verify`: the list is whole, the page shows it, and forged logs show each kind of problem."""

import inspect
import re
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import pytest

from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.commands import Kind
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.rows import EntryRow
from tallystick.verify import CHECKS, CROSSING_CHECKS, SHARD_CHECKS, Check
from tallystick.verify.checks import state, transactions
from tallystick.verify.checks.accounts import Accounts
from tallystick.verify.checks.entries import ENTRY_CHECKS, Judged, Terms
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import AccountChange, TransactionHead
from tests.forgery import changes, crossing_changes, split_changes

PAGE = Path(__file__).parents[2] / "docs" / "verification.md"
MODULES = sorted({check.judge.__module__ for check in CHECKS})


def proves(check: Check) -> str:
    """What is true of a log in which a check finds nothing: the first line of its docstring."""
    return (check.judge.__doc__ or "").partition("\n")[0]


def table(checks: Iterable[Check]) -> str:
    """The checks as the page shows them."""
    lines = ["| check | what it proves | what it finds |", "|---|---|---|"]
    for check in checks:
        kinds = ", ".join(f"`{kind}`" for kind in check.finds)
        lines.append(f"| `{check.judge.__name__}` | {proves(check)} | {kinds} |")
    return "\n".join(lines)


@pytest.mark.parametrize("checks", [SHARD_CHECKS, CROSSING_CHECKS], ids=["shard", "crossings"])
def test_the_page_shows_the_checks(checks: tuple[Check, ...]) -> None:
    assert table(checks) in PAGE.read_text(encoding="utf-8"), f"the page must show:\n\n{table(checks)}"


@pytest.mark.parametrize("check", CHECKS, ids=[check.judge.__name__ for check in CHECKS])
def test_each_check_says_in_a_sentence_what_it_proves(check: Check) -> None:
    assert re.fullmatch(r"[A-Z].+\.", proves(check))
    assert check.finds


def test_no_two_checks_have_one_name() -> None:
    assert len({check.judge.__name__ for check in CHECKS}) == len(CHECKS)


def test_each_check_that_is_called_is_listed() -> None:
    called: tuple[Callable[..., object], ...] = (
        *transactions.SLICE_CHECKS,
        *state.END_CHECKS,
        *(check for check, _ in ENTRY_CHECKS),
    )
    assert set(called) - {check.judge for check in CHECKS} == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_list_says_all_that_a_module_finds(module: str) -> None:
    source = inspect.getsource(__import__(module, fromlist=["*"]))
    found = {ProblemKind[name] for name in re.findall(r"ProblemKind\.([A-Z_]+)", source)}
    assert found == {kind for check in CHECKS if check.judge.__module__ == module for kind in check.finds}


def test_each_kind_of_problem_is_found_by_a_check() -> None:
    assert {kind for check in CHECKS for kind in check.finds} == set(ProblemKind)


def test_a_forged_log_shows_each_kind_of_problem() -> None:
    one_shard = (changes.AT_POSITION, changes.WITH_BATCH, changes.FORGED, changes.FOUND_TOO)
    shown = {change.kind for group in one_shard for change in group.values()}
    shown |= {change.kind for change in crossing_changes.CHANGES.values()}
    shown |= {change.kind for change in crossing_changes.FOUND_TOO.values()}
    shown |= {kind for _, kind in crossing_changes.REFUSALS.values()}
    shown |= {change.kind for change in split_changes.CHANGES.values()}
    assert set(ProblemKind) - shown == set()


# Nearly all entries are judged by one condition: it holds exactly when none of the checks finds anything.

ACCOUNT = (1 << 51) + 5
OPENED, BEFORE, JUDGED = 1, 2, 3
BALANCE, HELD = 100, 30


def accounts_with(terms: Terms, findings: Findings) -> Accounts:
    """One account with these terms, after an entry that left a balance and something held."""
    accounts = Accounts(Derivation(1, bytes(32), 0), findings)
    tenant, kind, asset, status, lower, upper = terms
    opening = TransactionHead(OPENED, 0, tenant, Kind.ACCOUNT_OPENED, None)
    accounts.change(
        opening, AccountChange(ACCOUNT, OPENED, tenant, kind, status, lower, upper, "alice", asset)
    )
    accounts.enter(tenant, EntryRow(ACCOUNT, BEFORE, BALANCE, BALANCE, HELD, HELD, None, asset), clears=True)
    return accounts


def judged_entries() -> Iterable[Judged]:
    """Entries that lower and raise, with all that may be right or wrong about them."""
    statuses = [*map(int, AccountStatus), 9]
    bounds: list[tuple[int | None, int | None]] = [(None, None), (0, 120), (60, 90)]
    crossing = [
        (int(AccountKind.WALLET), False),
        (int(AccountKind.CLEARING), True),
        (int(AccountKind.CLEARING), False),
    ]
    wrong_sums = [(0, 0), (1, 0), (0, 1)]
    said = [("USD", 1), ("EUR", 1), ("USD", 2)]
    for status, (lower, upper), (kind, clears) in product(statuses, bounds, crossing):
        terms = Terms(1, kind, "USD", status, lower, upper)
        for amount, held, (more, more_held), bound, (asset, tenant) in product(
            (-50, 0, 50), (-40, 0, 40), wrong_sums, {None, lower, upper, 7}, said
        ):
            balance, held_after = BALANCE + amount + more, HELD + held + more_held
            entry = EntryRow(ACCOUNT, JUDGED, amount, balance, held, held_after, bound, asset)
            yield Judged(tenant, entry, terms, BALANCE, HELD, clears)


def test_the_condition_for_all_entries_says_what_the_checks_say() -> None:
    right = 0
    for judged in judged_entries():
        findings = Findings()
        accounts_with(judged.terms, findings).enter(judged.tenant, judged.entry, clears=judged.clears)
        found = [problem.kind for problem in findings.earliest if problem.position == JUDGED]
        wrong = [kind for check, kind in ENTRY_CHECKS if check(judged) is not None]
        assert found == wrong, judged
        right += not wrong
    assert right
