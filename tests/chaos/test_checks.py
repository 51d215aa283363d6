"""Each check passes a right run, and finds the violations that it is there for. They are planted one by one."""

import ast
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.chaos.checks import CHECKS, violations
from tests.chaos.checks.evidence import Evidence, Sighting, newest_before
from tests.chaos.history import Attempt, Completed, Fault
from tests.chaos.messages import Entry, Event
from tests.chaos.right_run import ANSWER_US, SERVERS, TURN_US, right_run

FOLDER: Final = Path(__file__).parent
# What judges a run knows it from outside only.
JUDGES: Final = [
    "history.py",
    "messages.py",
    "plan.py",
    "calls.py",
    "load.py",
    "settling.py",
    "final_state.py",
]

Plant = Callable[[Evidence], None]
PLANTS: Final[list[tuple[str, Plant]]] = []


def breaks(check: str) -> Callable[[Plant], Plant]:
    """A plant that a check must find."""

    def note(plant: Plant) -> Plant:
        PLANTS.append((check, plant))
        return plant

    return note


def test_a_right_run_passes() -> None:
    assert violations(right_run()) == {}


def test_each_check_has_a_planted_violation() -> None:
    assert {check for check, _ in PLANTS} == set(CHECKS)


def test_each_check_says_what_it_proves() -> None:
    assert all(check.__doc__ for check in CHECKS.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All plants of this file, also those below."""
    if "plant" in metafunc.fixturenames:
        metafunc.parametrize(
            ("check", "plant"), PLANTS, ids=[f"{check}: {plant.__name__}" for check, plant in PLANTS]
        )


def test_what_is_planted_is_found(check: str, plant: Plant) -> None:
    evidence = right_run()
    plant(evidence)
    assert violations(evidence).get(check)


def test_judges_import_nothing_of_the_product() -> None:
    files = [*(FOLDER / name for name in JUDGES), *(FOLDER / "checks").glob("*.py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                named = [node.module or ""]
            for name in named:
                assert not name.startswith("tallystick"), f"{file.name} imports {name}"
                assert not name.startswith("tests.") or name.startswith("tests.chaos."), (
                    f"{file.name}: {name}"
                )


def test_newest_before() -> None:
    known = [Sighting(10, "a", 3), Sighting(20, "a", 2), Sighting(30, "a", 7), Sighting(5, "b", 9)]
    asked = [(31, "a"), (30, "a"), (10, "a"), (11, "a"), (11, "b"), (11, "c")]
    assert newest_before(known, asked) == [7, 3, 0, 3, 9, 0]


# Finding and changing things.


def attempts(evidence: Evidence, key: str) -> list[Attempt]:
    return [attempt for attempt in evidence.history.attempts if attempt.invoked.key == key]


def reads(evidence: Evidence, account: str, query: str = "") -> list[Attempt]:
    path = f"/v1/accounts/{account}/balance{query}"
    return [attempt for attempt in evidence.history.attempts if attempt.invoked.path.startswith(path)]


def change_answer(attempt: Attempt, **changes: Any) -> None:
    assert attempt.completed is not None
    answer = json.loads(attempt.completed.answer or "") | changes
    attempt.completed.answer = json.dumps(answer)


def all_events(by_shard: dict[int, list[Event]]) -> Iterator[Event]:
    for events in by_shard.values():
        yield from events


def shown(evidence: Evidence, description: str) -> Event:
    return next(event for event in all_events(evidence.final.feed) if event.description == description)


def logged(evidence: Evidence, kind: str) -> Event:
    return next(event for event in all_events(evidence.final.log) if event.kind == kind)


def show_again(evidence: Evidence, event: Event, **changes: Any) -> None:
    """Append a copy of an event of the feed, as another payment if nothing else is said."""
    feed = evidence.final.feed[event.shard]
    copy = msgspec.structs.replace(
        deepcopy(event), **{"position": feed[-1].position + 1, "transaction": "txn again"} | changes
    )
    feed.append(copy)


def read_later(evidence: Evidence, attempt: Attempt, after_us: int) -> None:
    """Let a read be asked and answered again, later."""
    last_us = evidence.history.attempts[-1].began_us
    number = len(evidence.history.attempts) + 1
    assert attempt.completed is not None
    invoked = msgspec.structs.replace(attempt.invoked, request=number, at_us=last_us + after_us)
    completed = Completed(
        number, last_us + after_us + ANSWER_US, attempt.status, attempt.answer, attempt.completed.error
    )
    evidence.history.attempts.append(Attempt(invoked, completed))


# The log.


@breaks("positions_follow_one_another")
def a_position_comes_twice(evidence: Evidence) -> None:
    evidence.final.log[1][4].position = evidence.final.log[1][3].position


@breaks("entries_balance")
def a_cent_is_made(evidence: Evidence) -> None:
    logged(evidence, "transfer").entries[1].amount += 1


@breaks("money_is_conserved")
def a_payment_that_was_released_is_credited(evidence: Evidence) -> None:
    credit_what_was_released(evidence)


@breaks("balances_follow_from_entries")
def a_balance_jumps(evidence: Evidence) -> None:
    entry = logged(evidence, "transfer").entries[1]
    assert entry.balance is not None
    entry.balance += 1


@breaks("balances_follow_from_entries")
def a_held_amount_jumps(evidence: Evidence) -> None:
    logged(evidence, "hold_placed").entries[0].held_after = 1


@breaks("balances_stay_within_bounds")
def a_wallet_is_overdrawn(evidence: Evidence) -> None:
    for event in all_events(evidence.final.log):
        if event.account is not None and event.account.id == "alice":
            event.account.min_balance = 900


@breaks("balances_stay_within_bounds")
def a_wallet_is_too_full(evidence: Evidence) -> None:
    for event in all_events(evidence.final.log):
        if event.account is not None and event.account.id == "carol":
            event.account.max_balance = 1_000


@breaks("balances_stay_within_bounds")
def what_is_set_aside_is_spent(evidence: Evidence) -> None:
    """The balance alone is within its bounds."""
    event = next(event for event in evidence.final.log[1] if event.kind == "hold_placed")
    event.entries[0].held_after = (event.entries[0].balance or 0) + 1


# Requests.


@breaks("acknowledged_are_there_once")
def a_payment_is_lost(evidence: Evidence) -> None:
    evidence.final.feed[1].remove(shown(evidence, "inside"))


@breaks("acknowledged_are_there_once")
@breaks("each_key_has_one_payment")
def a_payment_is_made_twice(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "inside"))


@breaks("acknowledged_are_there_once")
def the_payee_of_a_payment_is_not_credited(evidence: Evidence) -> None:
    evidence.final.feed[2].remove(shown(evidence, "across"))


@breaks("acknowledged_are_there_once")
def a_payment_has_another_amount(evidence: Evidence) -> None:
    payer, payee = shown(evidence, "inside").entries
    payer.amount, payee.amount = -99, 99


@breaks("acknowledged_are_there_once")
def a_payment_has_another_payee(evidence: Evidence) -> None:
    shown(evidence, "inside").entries[1].account = "carol"


@breaks("acknowledged_are_there_once")
def an_answer_names_another_payment(evidence: Evidence) -> None:
    for attempt in attempts(evidence, "across"):
        change_answer(attempt, id="txn 1 1")


@breaks("acknowledged_are_there_once")
def a_hold_is_for_another_payee(evidence: Evidence) -> None:
    hold = shown(evidence, "hold to void").hold
    assert hold is not None
    hold.destination = "carol"


@breaks("acknowledged_are_there_once")
def a_hold_sets_less_aside(evidence: Evidence) -> None:
    shown(evidence, "hold to void").entries[0].held -= 1


@breaks("acknowledged_are_there_once")
def a_capture_pays_from_another_hold(evidence: Evidence) -> None:
    shown(evidence, "capture").refers_to = "another hold"


@breaks("acknowledged_are_there_once")
def a_reversal_pays_the_wrong_way(evidence: Evidence) -> None:
    for entry in shown(evidence, "reverse inside").entries:
        entry.amount = -entry.amount


@breaks("acknowledged_are_there_once")
def a_void_pays(evidence: Evidence) -> None:
    shown(evidence, "void").entries[0].amount = 1


@breaks("answers_are_what_the_log_has")
def an_answer_has_another_balance(evidence: Evidence) -> None:
    for attempt in attempts(evidence, "inside"):
        if attempt.status == 201:
            entries = json.loads(attempt.answer or "")["entries"]
            entries[0]["balance"] = "1"
            change_answer(attempt, entries=entries)


@breaks("answers_are_what_the_log_has")
def an_answer_has_another_position(evidence: Evidence) -> None:
    change_answer(attempts(evidence, "inside")[0], position=1_000)


@breaks("refused_are_absent")
def a_refused_payment_is_there(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "inside"), description="too much")


@breaks("unknown_are_there_once_or_not")
def an_unknown_payment_is_there_twice(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "lost after"))


@breaks("unknown_are_there_once_or_not")
def an_unknown_payment_has_another_body(evidence: Evidence) -> None:
    payer, payee = shown(evidence, "lost after").entries
    payer.amount, payee.amount = -6, 6


@breaks("each_key_has_one_payment")
def a_key_pays_for_both_bodies(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "inside"), description="inside (other body)")


@breaks("each_account_has_one_part")
def a_payee_is_credited_twice_by_one_payment(evidence: Evidence) -> None:
    event = shown(evidence, "across")
    show_again(evidence, event, transaction=event.transaction)


@breaks("repeated_answers_are_equal")
def a_repeated_answer_differs(evidence: Evidence) -> None:
    change_answer(attempts(evidence, "inside")[1], recorded_at="2026-01-01T00:00:00Z")


@breaks("repeated_answers_are_equal")
def what_was_acknowledged_is_refused_when_repeated(evidence: Evidence) -> None:
    completed = attempts(evidence, "inside")[1].completed
    assert completed is not None
    completed.status, completed.answer = 422, '{"code": "insufficient_funds"}'


@breaks("pending_payments_keep_their_names")
def a_pending_payment_is_made_anew(evidence: Evidence) -> None:
    change_answer(attempts(evidence, "late")[0], id="txn 2 1")


@breaks("other_bodies_are_refused")
def another_body_is_accepted(evidence: Evidence) -> None:
    first, _, other = attempts(evidence, "inside")
    assert other.completed is not None
    other.completed.status, other.completed.answer = 201, first.answer


@breaks("nothing_was_unasked")
def a_stranger_pays(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "inside"), description="another tenant")


@breaks("nothing_was_unasked")
def a_payment_has_no_name(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "inside"), description=None)


# Reads.


@breaks("reads_existed")
def a_read_has_a_balance_that_never_was(evidence: Evidence) -> None:
    change_answer(reads(evidence, "bob")[0], balance="1099")


@breaks("reads_existed")
def a_read_has_the_balance_of_another_position(evidence: Evidence) -> None:
    change_answer(reads(evidence, "alice", "?consistency=strong")[0], balance="1000")


@breaks("reads_existed")
def a_read_has_another_held_amount(evidence: Evidence) -> None:
    change_answer(reads(evidence, "bob")[0], held="1")


@breaks("reads_existed")
def a_read_has_a_position_of_another_account(evidence: Evidence) -> None:
    read = reads(evidence, "alice")[0]
    change_answer(read, position=json.loads(read.answer or "")["position"] + 1)


@breaks("strong_reads_are_newest")
def a_strong_read_does_not_see_what_was_acknowledged(evidence: Evidence) -> None:
    """On the payee's shard, whose position the answer to the payment does not name."""
    funded = shown(evidence, "fund carol")
    change_answer(
        reads(evidence, "carol", "?consistency=strong")[0], position=funded.position, balance="1000"
    )


@breaks("strong_reads_are_newest")
def a_strong_read_does_not_see_what_was_read(evidence: Evidence) -> None:
    """What a read saw that only this client made: it had no acknowledgement."""
    late = next(attempt for attempt in evidence.history.attempts if attempt.invoked.kind == "balances")
    change_answer(late, balances=[json.loads(reads(evidence, "alice")[0].answer or "")])


@breaks("min_positions_are_reached")
def a_position_is_not_reached(evidence: Evidence) -> None:
    funded = shown(evidence, "fund bob")
    change_answer(reads(evidence, "bob", "?min_position")[0], position=funded.position, balance="1000")


@breaks("past_reads_are_exact")
def a_past_read_sees_what_came_later(evidence: Evidence) -> None:
    event = shown(evidence, "lost after")
    change_answer(reads(evidence, "alice", "?at")[0], position=event.position)


@breaks("past_reads_are_exact")
def a_past_read_is_older(evidence: Evidence) -> None:
    change_answer(reads(evidence, "alice", "?at")[0], position=0, balance="0")


@breaks("no_read_steps_back")
def a_read_steps_back(evidence: Evidence) -> None:
    read_later(evidence, reads(evidence, "alice")[0], TURN_US)


def test_a_balancer_may_ask_another_server_which_knows_less() -> None:
    evidence = right_run()
    read_later(evidence, reads(evidence, "alice")[0], TURN_US)
    evidence.history.balancers = frozenset(SERVERS)
    assert "no_read_steps_back" not in violations(evidence)


@breaks("fast_reads_are_recent")
def a_read_is_old(evidence: Evidence) -> None:
    """The server has lost its memory, so it does not step back; but clients knew better for twenty seconds."""
    end_us = evidence.history.attempts[-1].began_us
    evidence.history.faults.append(Fault("kill", SERVERS[0], end_us + 1, end_us + 2, "", restarts=True))
    read_later(evidence, reads(evidence, "alice")[0], 20 * TURN_US)
    assert "no_read_steps_back" not in violations(evidence)


def test_a_server_that_lost_its_memory_may_step_back_for_ten_seconds() -> None:
    evidence = right_run()
    end_us = evidence.history.attempts[-1].began_us
    for attempt in evidence.history.attempts[-3:]:
        attempt.invoked.at_us += 20 * TURN_US
    evidence.history.faults.append(
        Fault("kill", SERVERS[0], end_us + 15 * TURN_US, end_us + 16 * TURN_US, "", restarts=True)
    )
    assert violations(evidence) == {}


# Holds and reversals.


@breaks("holds_are_closed")
def a_hold_stays_open(evidence: Evidence) -> None:
    next(iter(evidence.final.holds.values())).status = "open"


@breaks("holds_are_closed")
def something_stays_held(evidence: Evidence) -> None:
    log = evidence.final.log[1]
    log.append(
        msgspec.structs.replace(
            deepcopy(log[-1]), position=log[-1].position + 1, entries=[Entry("alice", "USD", 0, 0, 1, 1)]
        )
    )


def log_again(evidence: Evidence, kind: str) -> None:
    event = deepcopy(logged(evidence, kind))
    log = evidence.final.log[event.shard]
    event.position = log[-1].position + 1
    log.append(event)


@breaks("holds_tell_one_story")
def a_hold_is_captured_twice(evidence: Evidence) -> None:
    log_again(evidence, "hold_captured")


@breaks("holds_tell_one_story")
def a_hold_is_placed_twice(evidence: Evidence) -> None:
    log_again(evidence, "hold_placed")


@breaks("holds_tell_one_story")
def a_hold_expires_early(evidence: Evidence) -> None:
    event = logged(evidence, "hold_expired")
    placed = [one for one in evidence.final.log[1] if one.hold is not None and event.hold is not None]
    first = next(one for one in placed if one.hold and event.hold and one.hold.id == event.hold.id)
    event.recorded_at = first.recorded_at


@breaks("holds_tell_one_story")
def more_is_captured_than_was_set_aside(evidence: Evidence) -> None:
    hold = logged(evidence, "hold_captured").hold
    assert hold is not None
    hold.captured = hold.amount + 1


@breaks("holds_tell_one_story")
def a_hold_is_not_as_its_newest_event(evidence: Evidence) -> None:
    hold = next(hold for hold in evidence.final.holds.values() if hold.status == "voided")
    hold.status = "expired"


@breaks("captures_are_paid")
def a_capture_is_not_paid(evidence: Evidence) -> None:
    evidence.final.feed[1].remove(shown(evidence, "capture"))


@breaks("reversals_stay_within_the_original")
def a_payment_is_given_back_twice(evidence: Evidence) -> None:
    show_again(evidence, shown(evidence, "reverse inside"))


# Payments between shards.


@breaks("sagas_are_closed")
def a_payment_stays_on_its_way(evidence: Evidence) -> None:
    event = logged(evidence, "transfer_finalized")
    evidence.final.log[event.shard].remove(event)


@breaks("sagas_are_closed")
def a_payment_ends_twice(evidence: Evidence) -> None:
    log_again(evidence, "transfer_finalized")


@breaks("sagas_are_closed")
def a_payment_was_never_reserved(evidence: Evidence) -> None:
    event = logged(evidence, "transfer_reserved")
    evidence.final.log[event.shard].remove(event)


@breaks("credits_match_their_ends")
def a_payment_is_credited_twice(evidence: Evidence) -> None:
    log_again(evidence, "transfer_credited")


@breaks("credits_match_their_ends")
def a_finalized_payment_was_not_credited(evidence: Evidence) -> None:
    event = logged(evidence, "transfer_credited")
    evidence.final.log[event.shard].remove(event)


@breaks("credits_match_their_ends")
def a_released_payment_is_credited(evidence: Evidence) -> None:
    credit_what_was_released(evidence)


@breaks("credits_match_their_ends")
def a_payment_is_credited_with_less(evidence: Evidence) -> None:
    event = logged(evidence, "transfer_credited")
    event.entries[0].amount, event.entries[1].amount = -1, 1


def credit_what_was_released(evidence: Evidence) -> None:
    """The credit comes late, and finds no refusal."""
    credit = deepcopy(logged(evidence, "transfer_credited"))
    log = evidence.final.log[credit.shard]
    balances = {entry.account: entry.balance or 0 for event in log for entry in event.entries}
    for entry in credit.entries:
        entry.balance = balances[entry.account] + entry.amount
    credit.position = log[-1].position + 1
    credit.refers_to = logged(evidence, "transfer_released").refers_to
    log.append(credit)


# Views.


@breaks("accounts_are_as_the_log_has_them")
def an_account_has_another_balance(evidence: Evidence) -> None:
    evidence.final.accounts["alice"].balance += 1


@breaks("accounts_are_as_the_log_has_them")
def an_account_has_more_available(evidence: Evidence) -> None:
    evidence.final.accounts["alice"].available += 1


@breaks("balances_are_as_the_log_has_them")
def a_server_answers_with_an_old_balance(evidence: Evidence) -> None:
    seen = next(seen for seen in evidence.final.balances if seen.consistency == "strong")
    seen.read = msgspec.structs.replace(seen.read, position=seen.read.position - 1)


@breaks("balances_are_as_the_log_has_them")
def a_server_answers_with_a_balance_that_never_was(evidence: Evidence) -> None:
    seen = next(seen for seen in evidence.final.balances if seen.consistency == "fast")
    seen.read = msgspec.structs.replace(seen.read, balance=seen.read.balance + 1)


@breaks("histories_are_as_the_feed_has_them")
def a_history_lacks_a_line(evidence: Evidence) -> None:
    evidence.final.histories["alice"].pop()


@breaks("histories_are_as_the_feed_has_them")
def a_history_has_a_line_twice(evidence: Evidence) -> None:
    lines = evidence.final.histories["alice"]
    lines.insert(0, lines[0])


@breaks("histories_are_as_the_feed_has_them")
def a_balance_in_a_history_jumps(evidence: Evidence) -> None:
    evidence.final.histories["alice"][1].balance += 1
