"""What clients do follows from the seed alone, and is as the description of the load says."""

from collections import Counter
from itertools import islice
from typing import Final

import pytest

from tests.chaos.plan import Intent, Kind, Manner, Spot, Terrain, intents

TERRAIN: Final = Terrain()
MANY: Final = 20_000


@pytest.fixture(scope="module")
def plan() -> list[Intent]:
    return list(islice(intents(7, 1, TERRAIN), MANY))


@pytest.fixture(scope="module")
def moving(plan: list[Intent]) -> list[Intent]:
    return [intent for intent in plan if intent.kind not in {Kind.BALANCE, Kind.BALANCES}]


def test_a_sequence_can_be_replayed(plan: list[Intent]) -> None:
    assert list(islice(intents(7, 1, TERRAIN), MANY)) == plan


@pytest.mark.parametrize(("seed", "client"), [(7, 2), (8, 1)])
def test_another_client_or_seed_does_something_else(plan: list[Intent], seed: int, client: int) -> None:
    assert list(islice(intents(seed, client, TERRAIN), 100)) != plan[:100]


def test_intents_are_numbered_and_refer_to_earlier_ones(plan: list[Intent]) -> None:
    assert [intent.number for intent in plan] == list(range(1, MANY + 1))
    by_number = {intent.number: intent for intent in plan}
    about = {Kind.CAPTURE: Kind.HOLD, Kind.VOID: Kind.HOLD, Kind.REVERSAL: Kind.TRANSFER}
    for intent in plan:
        if intent.of is not None:
            assert intent.of < intent.number
            assert by_number[intent.of].kind is about[intent.kind]
        else:
            assert intent.kind not in about


@pytest.mark.parametrize(
    ("manner", "share"),
    [
        (Manner.HUNG_UP, 0.05),
        (Manner.OTHER_BODY, 0.01),
        (Manner.AGAIN, 0.05),
        (Manner.AT_ONCE, 0.05),
    ],
)
def test_requests_are_sent_in_all_manners(moving: list[Intent], manner: Manner, share: float) -> None:
    found = sum(intent.manner is manner for intent in moving) / len(moving)
    assert found == pytest.approx(share, rel=0.25)


def test_half_of_the_payments_cross(plan: list[Intent]) -> None:
    pairs = [intent.spots for intent in plan if intent.kind in {Kind.TRANSFER, Kind.HOLD}]
    crossing = sum(source.shard != destination.shard for source, destination in pairs)
    assert crossing / len(pairs) == pytest.approx(0.5, abs=0.03)


def test_a_few_accounts_are_hot(plan: list[Intent]) -> None:
    used = Counter(spot for intent in plan for spot in intent.spots)
    assert set(used) == set(TERRAIN.spots)
    hot = sum(count for spot, count in used.items() if spot.number < TERRAIN.hot)
    assert 0.4 < hot / used.total() < 0.6


def test_holds_come_to_every_end(plan: list[Intent]) -> None:
    ends: dict[int, list[Kind]] = {intent.number: [] for intent in plan[:-100] if intent.kind is Kind.HOLD}
    for intent in plan:
        if intent.of in ends and intent.of is not None:
            ends[intent.of].append(intent.kind)
    found = Counter(tuple(kinds) for kinds in ends.values())
    assert set(found) == {(Kind.CAPTURE,), (Kind.CAPTURE, Kind.CAPTURE), (Kind.VOID,), ()}


def test_one_shard_is_enough() -> None:
    plan = list(islice(intents(1, 1, Terrain(shards=1)), 500))
    assert {spot.shard for intent in plan for spot in intent.spots} == {0}
    assert Spot(0, 0) in {spot for intent in plan for spot in intent.spots}
