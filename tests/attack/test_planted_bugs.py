"""Each defence is taken away once, and the attack that it is for sees it."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
from tests.attack.conftest import PER_ADDRESS
from tests.attack.planted import Bug, package_for_planting, package_with, planted
from tests.attack.wire import processes_of

CAUGHT: Final = (AssertionError, OSError)
IDLE_SECONDS: Final = 1
IMPATIENT: Final = {"WAIT_SECONDS_MAX": 4.0, "HELD_UP_SECONDS_MAX": 3.0, "IDLE_SECONDS": IDLE_SECONDS}
"""What has not come by then does not come. Here it is not that a busy machine is to be waited for."""
OPTIONS: Final = ("--idle-seconds", str(IDLE_SECONDS), "--connections-per-address", str(PER_ADDRESS))

pytestmark = pytest.mark.slow


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
    """A bug, which may take several places, and the attacks of which each must see it.

    `at_once`: they wait, and do not disturb each other.
    """

    bugs: Bug | tuple[Bug, ...]
    attacks: Mapping[str, Attack]
    at_once: bool = False

    @property
    def places(self) -> tuple[Bug, ...]:
        return (self.bugs,) if isinstance(self.bugs, Bug) else self.bugs

    @property
    def at_start(self) -> bool:
        """Whether it is in what a server does once, when it starts."""
        return any(bug.file == "cli/serve.py" for bug in self.places)


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


READ: Final = "        return read(body)\n"
"""How a body is read."""
STANDARD_LIBRARY: Final = (
    "        text = __import__('json').loads(body{})\n"
    "        return msgspec.convert(text, read.__self__.type, strict=False)\n"
)
"""The same with the standard library's reader."""

BUGS: Final[Mapping[str, Planted]] = {
    "a body that was cut off counts as whole": Planted(
        Bug("api/endpoint.py", "if arriving.cut_off:", "if False:"),
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
        at_once=True,
    ),
    "the first part of a body is waited for before the key is looked at": Planted(
        Bug(
            "api/arrivals.py",
            "await self._arrivals.in_time(self._receive())",
            "await self._receive()",
        ),
        {"a stranger's": lambda scene: test_bodies.test_a_stranger_is_not_waited_for(scene.server)},
    ),
    "no other client is served while a body is waited for": Planted(
        Bug("api/arrivals.py", "        self._begun = True\n", "        self._begun = not time.sleep(0.2)\n"),
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
        Bug(
            "api/connections.py",
            "        if len(connections) > per_address_max\n",
            "        if not connections\n",
        ),
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
            "        for name in headers:\n",
            "        for name in headers.keys() - {b'authorization'}:\n",
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
                READ,
                "        return msgspec.convert(msgspec.json.decode(body), read.__self__.type)\n",
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
        Bug("api/endpoint.py", READ, STANDARD_LIBRARY.format("")),
        {"a_huge_integer": shape(test_json.a_huge_integer)},
    ),
    "JSON is read slowly": Planted(
        Bug(
            "api/endpoint.py",
            READ,
            "        deadline = __import__('time').process_time() + len(body) / 2**20\n"
            "        while __import__('time').process_time() < deadline:\n            pass\n" + READ,
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
            READ,
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
        Bug("api/endpoint.py", READ, "        return read(body.decode(errors='replace').encode())\n"),
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
    monkeypatch.setattr(test_bodies, "IDLE_SECONDS", IMPATIENT["WAIT_SECONDS_MAX"] / 30)


class PlantableServer(NamedTuple):
    """A server that takes bugs while it runs, from a socket in the folder."""

    server: Server
    folder: Path


@pytest.fixture(scope="module")
def plantable(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlantableServer]:
    folder = tmp_path_factory.mktemp("plantable")
    with Server(installation, "plantable", *OPTIONS, package=package_for_planting(folder)) as server:
        yield PlantableServer(server, folder)


@contextmanager
def started_with(bug: Planted, installation: Installation, folder: Path) -> Iterator[Server]:
    with Server(installation, "planted", *OPTIONS, package=package_with(bug.places, folder)) as server:
        yield server
        # One with a bug may take long to end by itself.
        for process in processes_of(server):
            process.kill()


@contextmanager
def given(bug: Planted, plantable: PlantableServer) -> Iterator[Server]:
    with planted(bug.places, plantable.folder):
        yield plantable.server


def scene_of(installation: Installation, server: Server) -> Scene:
    """With tenants of its own: what an attack reaches on a server with a bug stays there."""
    name = uuid.uuid4()
    victim, stranger = (
        Client(server.url, installation.make_key(f"{tenant} {name}").key) for tenant in ("victim", "attacker")
    )
    return Scene(installation, server, victim, stranger)


def what_it_sees(attack: Attack, scene: Scene) -> Exception | None:
    try:
        attack(scene)
    except CAUGHT as error:
        return error
    return None


def what_is_seen(bug: Planted, installation: Installation, server: Server) -> list[Exception | None]:
    """By each of its attacks."""
    # One after the other: a tenant that is made at the same moment as another is refused.
    scenes = [scene_of(installation, server) for _ in bug.attacks]
    with ThreadPoolExecutor(len(bug.attacks) if bug.at_once else 1) as threads:
        return list(threads.map(what_it_sees, bug.attacks.values(), scenes))


@pytest.mark.parametrize("name", list(BUGS))
def test_an_attack_sees_it(
    installation: Installation, plantable: PlantableServer, tmp_path: Path, name: str
) -> None:
    bug = BUGS[name]
    # So it is the bug that is seen then, and neither our impatience nor what another bug has left behind.
    for error in filter(None, what_is_seen(bug, installation, plantable.server)):
        raise error
    server = started_with(bug, installation, tmp_path) if bug.at_start else given(bug, plantable)
    with server as running:
        seen = what_is_seen(bug, installation, running)
    missed = [what for what, error in zip(bug.attacks, seen, strict=True) if error is None]
    assert not missed, missed
