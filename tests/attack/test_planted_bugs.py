"""Each defence is taken away once, and the attack that it is for sees it.

What the HTTP server itself defends, nobody can take away here: those attacks are made on servers that are careless.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import pytest

from tallystick.domain.limits import HEADER_BYTES_MAX
from tests.api import test_bad_input
from tests.api.books import Books
from tests.api.client import Client
from tests.api.server import Installation, Server
from tests.attack import (
    test_bodies,
    test_connections,
    test_framing,
    test_http_2,
    test_json,
    test_receivers,
    wire,
)
from tests.attack.conftest import IDLE_SECONDS, PER_ADDRESS
from tests.attack.lax_server import READINGS, LaxServer, lax_server
from tests.attack.length import LENGTH
from tests.attack.planted import Bug, package_with

CAUGHT: Final = (AssertionError, OSError)
IMPATIENT: Final = {"WAIT_SECONDS_MAX": 3.0 * IDLE_SECONDS, "HELD_UP_SECONDS_MAX": 3.0}
"""What has not come by then does not come. Here it is not that a busy machine is to be waited for."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(LENGTH == 1, reason="a server for each bug takes minutes: `make attack` plants them"),
]


class Scene(NamedTuple):
    """A server, and two tenants who call it."""

    installation: Installation
    server: Server
    victim: Client
    stranger: Client

    def books(self) -> Books:
        return Books(self.victim)

    def shop(self) -> Books:
        books = self.books()
        books.open("""
            alice  USD  100
            shop   USD    0
        """)
        return books


Attack = Callable[[Scene], None]


class Planted(NamedTuple):
    """A bug, which may take several places, and the attacks of which each must see it."""

    bugs: Bug | tuple[Bug, ...]
    attacks: Mapping[str, Attack]


def cut_off(length: bytes, begun: bytes) -> Attack:
    return lambda scene: test_bodies.test_a_body_that_was_cut_off_moves_nothing(
        scene.server, scene.shop(), test_bodies.send_no_more, length, begun
    )


def headers(*sent: bytes) -> Attack:
    return lambda scene: test_connections.test_headers_are_bounded(scene.server, sent)


def path(target: bytes) -> Attack:
    return lambda scene: test_connections.test_paths_that_may_mean_another_are_unknown(scene.victim, target)


def flood(frames: Callable[[], bytes]) -> Attack:
    return lambda scene: test_http_2.test_floods_of_frames_cost_nothing(scene.server, frames)


def shape(made: Callable[[], str]) -> Attack:
    return lambda scene: test_json.test_shapes_are_refused_and_hold_nothing_up(
        scene.installation, scene.server, scene.stranger, made
    )


def not_utf_8(content: bytes) -> Attack:
    return lambda scene: test_bad_input.test_bodies_that_are_not_utf_8(scene.victim, content)


DECODER: Final = "msgspec.json.Decoder(operation.body).decode"
"""How a body is read."""
STANDARD_LIBRARY: Final = (
    "(lambda text: msgspec.convert(__import__('json').loads(text{}), operation.body, strict=False))"
)
"""The same with the standard library's reader."""

BUGS: Final[Mapping[str, Planted]] = {
    "a body that was cut off counts as whole": Planted(
        Bug("api/endpoint.py", "if arrived.cut_off:", "if False:"),
        {
            "nothing of a length": cut_off(b"Content-Length: 14", b""),
            "a part of a length": cut_off(b"Content-Length: 14", b"{}"),
            "no chunk": cut_off(b"Transfer-Encoding: chunked", b""),
            "no last chunk": cut_off(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n"),
            "a last chunk without its end": cut_off(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n"),
            "a chunk that is none": lambda scene: test_bodies.test_chunks_that_are_none_are_the_clients_fault(
                scene.server, scene.shop(), b"2\r\n{}\r\n-1"
            ),
        },
    ),
    "a body is waited for, however long it takes": Planted(
        Bug("api/arrivals.py", "            task.cancel()\n", "            pass\n"),
        {
            "a stranger's": lambda scene: test_bodies.test_a_stranger_is_not_waited_for(scene.server),
            "a tenant's": lambda scene: test_bodies.test_bodies_that_do_not_come_are_refused_and_closed(
                scene.server, scene.victim
            ),
            "byte by byte": lambda scene: test_bodies.test_a_body_that_comes_byte_by_byte_is_refused(
                scene.server, scene.victim
            ),
        },
    ),
    "the first part of a body is waited for before the key is looked at": Planted(
        Bug(
            "api/arrivals.py",
            "self._looked_at(await self._arrivals.in_time(self._receive()))",
            "self._looked_at(await self._receive())",
        ),
        {"a stranger's": lambda scene: test_bodies.test_a_stranger_is_not_waited_for(scene.server)},
    ),
    "nobody else is served while a body is waited for": Planted(
        Bug("api/arrivals.py", "        self._begun = True\n", "        self._begun = not time.sleep(0.5)\n"),
        {
            "half of many": lambda scene: test_bodies.test_many_half_bodies_hold_nothing_up(
                scene.server, scene.victim
            ),
        },
    ),
    "silence is waited for": Planted(
        Bug("cli/serve.py", "header_read_timeout=idle_seconds * 1_000", "header_read_timeout=3_600_000"),
        {
            "connections": lambda scene: test_connections.test_connections_that_say_nothing_more_are_closed(
                scene.server
            ),
        },
    ),
    "headers have no bound": Planted(
        Bug("cli/serve.py", "max_buffer_size=limits.HEADER_BYTES_MAX", "max_buffer_size=2**26"),
        {
            "one": headers(b"A: " + b"x" * (4 * HEADER_BYTES_MAX)),
            "many": headers(*[b"A: " + b"x" * 1_000] * 90, b"B: " + b"x" * HEADER_BYTES_MAX),
        },
    ),
    "connections are not counted": Planted(
        Bug("cli/serve.py", "guard_connections(port, connections_per_address)", "guard_connections(port, 0)"),
        {
            "idle": lambda scene: (
                test_connections.test_thousands_of_idle_connections_take_no_more_than_their_share(
                    scene.server
                )
            ),
            "busy": lambda scene: test_connections.test_an_address_has_so_many_connections(scene.server),
        },
    ),
    "a path is taken as it comes": Planted(
        Bug("api/edge.py", 'if _is_ambiguous(scope["path"], scope["raw_path"]):', "if False:"),
        {"an encoded separator": path(b"/v1%2Faccounts")},
    ),
    "HTTP/1.0 has its other name": Planted(
        Bug("api/edge.py", 'if scope["http_version"] == "1":', "if False:"),
        {"health": lambda scene: test_connections.test_http_1_0_is_answered(scene.server, b"/healthz")},
    ),
    "HTTP/2 is spoken": Planted(
        Bug("cli/serve.py", "http=HTTPModes.http1", "http=HTTPModes.auto"),
        {
            made.__name__: flood(made)
            for made in (
                test_http_2.unfolding_headers,
                test_http_2.rapid_reset,
                test_http_2.continuation_flood,
                test_http_2.settings_flood,
                test_http_2.ping_flood,
                test_http_2.empty_frames,
            )
        },
    ),
    "of two keys the last counts": Planted(
        Bug(
            "api/endpoint.py",
            'authorization = request.get_header("Authorization")',
            'authorization = dict(request.scope["headers"]).get(b"authorization", b"").decode()',
        ),
        {
            "two keys": lambda scene: test_framing.test_two_keys_are_none(
                scene.server, scene.victim, scene.stranger, False
            ),
        },
    ),
    "what is nested too deeply is a bug": Planted(
        (
            # Types bound how deep a body is read. So the bug has two places.
            Bug(
                "api/endpoint.py",
                DECODER,
                "(lambda text: msgspec.convert(msgspec.json.decode(text), operation.body))",
            ),
            Bug("api/endpoint.py", "except RecursionError:", "except ZeroDivisionError:"),
        ),
        {
            made.__name__: shape(made)
            for made in (
                test_json.deep_lists,
                test_json.deep_lists_in_a_field,
                test_json.deep_objects,
                test_json.deep_entries,
            )
        },
    ),
    "numbers that are too long are a bug": Planted(
        Bug("api/endpoint.py", DECODER, STANDARD_LIBRARY.format("")),
        {"a_huge_integer": shape(test_json.a_huge_integer)},
    ),
    "JSON is read slowly": Planted(
        Bug(
            "api/endpoint.py",
            "    try:\n        return read(body)\n",
            "    try:\n        deadline = __import__('time').process_time() + len(body) / 2**20\n"
            "        while __import__('time').process_time() < deadline:\n            pass\n"
            "        return read(body)\n",
        ),
        {
            **{
                made.__name__: shape(made)
                for made in (test_json.huge_integers, test_json.many_keys, test_json.spaces)
            },
            "many at once": lambda scene: test_json.test_many_at_once_hold_nothing_up(
                scene.server, scene.stranger
            ),
        },
    ),
    "of a field that is there twice the first counts": Planted(
        Bug(
            "api/endpoint.py",
            DECODER,
            STANDARD_LIBRARY.format(", object_pairs_hook=lambda pairs: dict(reversed(pairs))"),
        ),
        {
            "twice": lambda scene: (
                test_json.test_of_a_field_that_is_there_twice_the_last_counts_for_all_that_is_done(
                    scene.books()
                )
            ),
        },
    ),
    "what is not UTF-8 is replaced": Planted(
        Bug(
            "api/endpoint.py", "return read(body)\n", "return read(body.decode(errors='replace').encode())\n"
        ),
        {
            "in a value": not_utf_8(b'{"description": "\xff"}'),
            "in a name": not_utf_8(b'{"\xff": 1}'),
            "half a pair": not_utf_8(b'{"description": "\xed\xa0\x80"}'),
            "too long": not_utf_8(b'{"description": "\xc0\x80"}'),
        },
    ),
    "an endpoint may be at any address": Planted(
        Bug("followers/webhooks/addresses.py", "            rules.check(place)\n", "            pass\n"),
        {
            "in every form": lambda scene: test_receivers.test_addresses_inside_are_refused_in_every_form(
                scene.stranger, 0
            ),
            "when it is changed": lambda scene: (
                test_receivers.test_an_endpoint_is_not_changed_to_what_it_could_not_be(scene.stranger)
            ),
        },
    ),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: tuple[ModuleType, ...] = (wire, test_bodies, test_connections)
    for module in modules:
        for name, seconds in IMPATIENT.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, seconds)
    # How long bytes are sent one by one is counted in these.
    monkeypatch.setattr(test_bodies, "IDLE_SECONDS", IDLE_SECONDS / 10)


def scene_of(installation: Installation, server: Server) -> Scene:
    """With tenants of its own: what an attack reaches on a server with a bug stays there."""
    name = uuid.uuid4()
    victim, stranger = (
        Client(server.url, installation.make_key(f"{tenant} {name}").key) for tenant in ("victim", "attacker")
    )
    return Scene(installation, server, victim, stranger)


def sees_it(attack: Attack, scene: Scene) -> bool:
    try:
        attack(scene)
    except CAUGHT:
        return True
    return False


@pytest.mark.parametrize("name", BUGS)
def test_an_attack_sees_it(installation: Installation, tmp_path: Path, name: str) -> None:
    bugs, attacks = BUGS[name]
    options = ("--idle-seconds", str(IDLE_SECONDS), "--connections-per-address", str(PER_ADDRESS))
    server = Server(installation, "planted", *options, package=package_with(bugs, tmp_path))
    with server:
        scene = scene_of(installation, server)
        missed = [what for what, attack in attacks.items() if not sees_it(attack, scene)]
        assert not missed, missed


@pytest.mark.parametrize("name", BUGS)
def test_without_the_bug_nothing_is_seen(installation: Installation, strict: Server, name: str) -> None:
    """So it was the bug that was seen, and not our impatience."""
    for attack in BUGS[name].attacks.values():
        attack(scene_of(installation, strict))


# What the HTTP server defends.


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
