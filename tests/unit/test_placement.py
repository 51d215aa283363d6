"""Where owners are placed: evenly, and for ever."""

from collections import Counter

import pytest

from tallystick.domain.fingerprint import request_key
from tallystick.ledger.placement import NOTHING_PLACED, Placement, following, read_placement, write_placement
from tests.whole import WHOLE

MANY = 100_000 if WHOLE else 25_000
KEYS = [request_key(1, f"order {number}") for number in range(MANY)]
OWNERS = [f"customer {number}" for number in range(MANY)]
UNEVENNESS_MAX = 0.03


def first(*shards: int) -> Placement:
    """The placement of a new installation."""
    return following(dict.fromkeys(shards, NOTHING_PLACED), (), shards)


def changed(placement: Placement, shards: tuple[int, ...], open_shards: tuple[int, ...]) -> Placement:
    """The placement after `migrate` with these shards: those that are new were told nothing yet."""
    told = {shard: placement if shard in placement.shards else NOTHING_PLACED for shard in shards}
    return following(told, placement.shards, open_shards)


# Measured with 100,000: at most 0.01% from even over two shards, 0.8% over five.
@pytest.mark.parametrize("shards", [(1, 2), (1, 2, 3, 4, 5)])
def test_owners_spread_evenly(shards: tuple[int, ...]) -> None:
    placement = first(*shards)
    counts = Counter(placement.choice(1, owner) for owner in OWNERS)
    even = len(OWNERS) / len(shards)
    unevenness = max(abs(counts[shard] - even) / even for shard in shards)
    assert unevenness < UNEVENNESS_MAX


@pytest.mark.parametrize("shards", [(1, 2), (2, 3), (1, 2, 3, 4, 5), (7, 4_095)])
def test_keys_spread_evenly(shards: tuple[int, ...]) -> None:
    placement = first(*shards)
    counts = Counter(home for key in KEYS for home in placement.homes_of_key(key))
    even = len(KEYS) / len(shards)
    assert max(abs(counts[shard] - even) / even for shard in shards) < UNEVENNESS_MAX


def test_where_a_key_may_be_known_is_looked_at_after_every_change() -> None:
    placement = first(1, 2)
    before = {key: placement.homes_of_key(key) for key in KEYS[:2_000]}
    grown = changed(placement, (1, 2, 3), (1, 2, 3))
    after = {key: grown.homes_of_key(key) for key in before}

    assert all(len(homes) == 1 for homes in before.values())
    assert all(after[key][0] == homes[0] for key, homes in before.items())
    # Only a key that the new shard takes over is claimed on two shards.
    moved = sum(len(homes) == 2 for homes in after.values())
    assert abs(moved - len(before) / 3) < len(before) / 20
    assert all(homes[1:] in ([], [3]) for homes in after.values())


def test_tenants_are_spread_apart() -> None:
    placement = first(1, 2)
    same = sum(placement.choice(1, owner) == placement.choice(2, owner) for owner in OWNERS[:10_000])
    assert 4_700 < same < 5_300


def test_an_owner_of_a_new_installation_is_looked_for_on_one_shard_only() -> None:
    placement = first(1, 2, 3)
    assert all(placement.candidates(1, owner) == [placement.choice(1, owner)] for owner in OWNERS[:1_000])


def test_where_an_owner_was_placed_is_looked_at_after_every_change() -> None:
    placement = first(1, 2)
    homes = {owner: placement.choice(1, owner) for owner in OWNERS[:2_000]}
    for shards, open_shards in (
        ((1, 2, 3), (1, 2, 3)),
        ((1, 2, 3), (2, 3)),
        ((1, 2, 3, 4), (3, 4)),
        ((1, 2, 3, 4), (1, 2, 3, 4)),
    ):
        placement = changed(placement, shards, open_shards)
        for owner in OWNERS[:2_000]:
            candidates = placement.candidates(1, owner)
            assert candidates[0] == placement.choice(1, owner)
            assert candidates[0] in open_shards
            assert homes[owner] in candidates
        # Owners who come now are placed by what is in force now, and found after the next change.
        homes.update({f"late {owner}": placement.choice(1, f"late {owner}") for owner in OWNERS[:500]})
        assert all(home in placement.candidates(1, owner) for owner, home in homes.items())


@pytest.mark.slow
def test_an_added_shard_takes_its_share_of_new_owners_from_all_others_alike() -> None:
    before, after = first(1, 2), changed(first(1, 2), (1, 2, 3), (1, 2, 3))
    taken = Counter(
        before.choice(1, owner)
        for owner in OWNERS
        if after.choice(1, owner) != before.choice(1, owner) and after.choice(1, owner) == 3
    )
    assert taken.total() == sum(after.choice(1, owner) != before.choice(1, owner) for owner in OWNERS)
    assert all(abs(taken[shard] - len(OWNERS) / 6) < 0.03 * len(OWNERS) / 6 for shard in (1, 2))


def test_the_version_counts_changes_only_and_repetition_adds_nothing() -> None:
    one = first(1, 2)
    assert one.version == 1
    assert changed(one, (1, 2), (1, 2)) == one
    filled = changed(one, (1, 2), (2,))
    reopened = changed(filled, (1, 2), (1, 2))
    assert (filled.version, reopened.version) == (2, 3)
    assert reopened.generations == ((2,), (1, 2))
    assert changed(reopened, (1, 2, 3), (1, 2)).version == 4


def test_owners_of_shards_that_were_served_without_a_record_may_live_on_any_of_them() -> None:
    told = dict.fromkeys((1, 2, 3), NOTHING_PLACED)
    placement = following(told, (1, 2), (1, 2, 3))
    assert all({1, 2} <= set(placement.candidates(1, owner)) for owner in OWNERS[:1_000])


def test_a_record_that_not_all_shards_were_told_of_is_completed() -> None:
    one = first(1, 2)
    two = changed(one, (1, 2, 3), (1, 2, 3))
    assert following({1: two, 2: one, 3: NOTHING_PLACED}, (1, 2), (1, 2, 3)) == two


def test_it_is_read_as_it_was_written() -> None:
    placement = changed(first(1, 2), (1, 2, 3), (3,))
    assert read_placement(write_placement(placement)) == placement
    assert read_placement(None) == NOTHING_PLACED
