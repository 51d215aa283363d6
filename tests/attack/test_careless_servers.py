"""What the HTTP server itself defends cannot be taken away: those attacks are made on servers that are careless."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Final

import pytest

from tests.api.client import Client
from tests.attack import test_connections, test_framing, wire
from tests.attack.lax_server import READINGS, LaxServer, lax_server

CAUGHT: Final = (AssertionError, OSError)
IMPATIENT: Final = {"WAIT_SECONDS_MAX": 3.0, "HELD_UP_SECONDS_MAX": 2.0}
"""What has not come by then does not come: these servers do little."""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in IMPATIENT.items():
        monkeypatch.setattr(wire, name, seconds)
    monkeypatch.setattr(test_connections, "HELD_UP_SECONDS_MAX", IMPATIENT["HELD_UP_SECONDS_MAX"])


@pytest.fixture
def lax_servers() -> Iterator[list[LaxServer]]:
    with (
        lax_server(READINGS[0]) as first,
        lax_server(READINGS[1]) as second,
        lax_server(READINGS[2]) as third,
    ):
        yield [first, second, third]


@pytest.fixture
def callers(lax_servers: list[LaxServer]) -> tuple[Client, Client]:
    """Two tenants, whom a careless server asks for a key, and for no right one."""
    return Client(lax_servers[0].url, "one"), Client(lax_servers[0].url, "another")


def unseen(attacks: Mapping[str, Callable[[LaxServer], None]], servers: Sequence[LaxServer]) -> list[str]:
    """The attacks that none of these servers would be found out by."""

    def sees(attack: Callable[[LaxServer], None], server: LaxServer) -> bool:
        try:
            attack(server)
        except CAUGHT:
            return True
        return False

    return [name for name, attack in attacks.items() if not any(sees(attack, server) for server in servers)]


def test_careless_framing_is_seen(lax_servers: list[LaxServer], callers: tuple[Client, Client]) -> None:
    attacks = {
        f"{framing} {body!r}": partial(
            test_framing.test_what_may_end_in_two_places_is_refused,
            client=callers[0],
            framing=framing,
            body=body,
        )
        for framing, body in test_framing.AMBIGUOUS
    }
    missed = unseen(attacks, lax_servers)
    assert not missed, missed


def test_chunks_of_an_old_client_are_seen(
    lax_servers: list[LaxServer], callers: tuple[Client, Client]
) -> None:
    attack = partial(test_framing.test_chunks_over_http_1_0_are_refused, client=callers[0])
    assert unseen({"1.0": attack}, lax_servers) == []


def test_bodies_that_are_requests_are_seen(lax_servers: list[LaxServer]) -> None:
    attacks = {
        f"{method!r} {target!r} {chunked}": partial(
            test_framing.test_a_body_that_nothing_reads_is_no_request,
            method=method,
            target=target,
            chunked=chunked,
        )
        for method, target, chunked in product(
            (b"GET", b"HEAD", b"POST", b"DELETE"), (b"/healthz", b"/nothing"), (False, True)
        )
    }
    missed = unseen(attacks, lax_servers)
    assert not missed, missed


def test_trailers_that_count_are_seen(lax_servers: list[LaxServer], callers: tuple[Client, Client]) -> None:
    client, stranger = callers
    attack = partial(test_framing.test_a_trailer_changes_nothing, client=client, stranger=stranger)
    assert unseen({"a trailer": attack}, lax_servers) == []


def test_protocols_that_begin_are_seen(lax_servers: list[LaxServer]) -> None:
    attacks = {
        str(upgrade): partial(test_framing.test_no_other_protocol_begins, upgrade=upgrade)
        for upgrade in test_framing.UPGRADES
    }
    attacks |= {
        str(method): partial(test_framing.test_methods_for_proxies_are_unknown, method=method)
        for method in (b"CONNECT", b"TRACE")
    }
    missed = unseen(attacks, lax_servers)
    assert not missed, missed


def test_many_headers_that_are_read_are_seen(lax_servers: list[LaxServer]) -> None:
    attack = partial(test_connections.test_headers_are_bounded, headers=[b"A: x"] * 4_000)
    assert unseen({"many": attack}, lax_servers) == []


def test_one_connection_at_a_time_is_seen() -> None:
    with lax_server(READINGS[0], threads=False) as server:
        attack = partial(test_connections.test_floods_of_headers_hold_nothing_up, header=b"A: x")
        assert unseen({"a flood": attack}, [server]) == []
