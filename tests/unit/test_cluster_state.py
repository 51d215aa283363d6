"""What is made of the answers of Patroni: who is the primary, and whether a shard can be written to."""

from typing import Any

from tallystick.cluster.state import is_whole, shard_state


def primary(*confirming: str, location: int = 1_000) -> dict[str, Any]:
    """What Patroni says on the primary, with the standbys that confirm commits."""
    return {
        "machine": "a",
        "state": "running",
        "role": "primary",
        "timeline": 3,
        "xlog": {"location": location},
        "replication": [{"application_name": name, "sync_state": "quorum"} for name in confirming],
    }


def standby(machine: str, position: int = 1_000, **more: Any) -> dict[str, Any]:
    """What Patroni says on a standby."""
    return {
        "machine": machine,
        "state": "running",
        "role": "replica",
        "timeline": 3,
        "quorum_standby": True,
        "xlog": {"received_location": position, "replayed_location": position - 10},
        **more,
    }


def away(machine: str) -> dict[str, Any]:
    return {"machine": machine, "state": "unreachable"}


def test_a_shard_with_a_primary_and_two_standbys_is_whole() -> None:
    state = shard_state(1, [primary("b", "c"), standby("b"), standby("c", 940)])
    assert state.writable
    assert state.primary == "a"
    assert [one.behind_bytes for one in state.databases] == [0, 0, 60]
    assert is_whole(state)


def test_with_one_standby_it_is_written_to_and_not_whole() -> None:
    state = shard_state(1, [primary("b"), standby("b"), away("c")])
    assert state.writable
    assert not is_whole(state)


def test_without_standbys_nothing_is_written() -> None:
    state = shard_state(1, [primary(), away("b"), away("c")])
    assert state.primary == "a"
    assert not state.writable


def test_a_standby_that_confirms_nothing_is_no_help() -> None:
    answer = primary()
    answer["replication"] = [{"application_name": "b", "sync_state": "async"}]
    assert not shard_state(1, [answer, standby("b", quorum_standby=False)]).writable


def test_a_primary_that_stops_is_none() -> None:
    state = shard_state(1, [{**primary("b", "c"), "state": "stopping"}, standby("b"), standby("c")])
    assert state.primary is None
    assert not state.writable
    assert [one.behind_bytes for one in state.databases] == [None, None, None]


def test_what_does_not_answer_is_unreachable() -> None:
    state = shard_state(1, [away("a"), away("b"), away("c")])
    assert [one.state for one in state.databases] == ["unreachable"] * 3
    assert not state.writable
