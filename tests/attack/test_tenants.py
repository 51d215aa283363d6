"""One tenant against another, through every call that the application has.

The calls are those of the application's own list of routes, so a new one that is in no attack fails here.
"""

import http.client
import json
import re
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import msgspec
import pytest

from tallystick.api.calls import Key, Operation
from tallystick.api.operations import OPERATIONS
from tests.api.client import Answer, Client, new_key
from tests.api.server import Installation, Server
from tests.attack.things import KEY, UNKNOWN, Sample, Things, made_by, named, samples, with_one_place_changed

KEY_SECONDS_MAX = 60.0
BY_NAME = {operation.name: operation for operation in OPERATIONS}
REFERRING = [
    name for name, calls in samples(UNKNOWN).items() if any(thing in str(calls) for thing in UNKNOWN)
]


@pytest.fixture(scope="module")
def mine(stranger: Client) -> Things:
    """What the attacker has."""
    return made_by(stranger)


@pytest.fixture(scope="module")
def theirs(client: Client) -> Things:
    """What the attacked tenant has."""
    return made_by(client)


def send(
    caller: Client, operation: Operation, sample: Sample, *, key: str | None = None, accept: str = "*/*"
) -> Answer:
    """Make a call; of a stream only how it begins is read."""
    path = operation.path.format(identifier=sample.identifier)
    if sample.query:
        path += "?" + urlencode(sample.query)
    headers = {"Accept": accept, "Content-Type": "application/json"}
    if caller.api_key is not None:
        headers["Authorization"] = f"Bearer {caller.api_key}"
    key = key or new_key()
    if operation.key is Key.REQUIRED:
        headers["Idempotency-Key"] = key
    place = urlsplit(caller.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=KEY_SECONDS_MAX)
    try:
        content = None if sample.body is None else json.dumps(sample.body).replace(KEY, key).encode()
        connection.request(operation.method, path, content, headers)
        answer = connection.getresponse()
        streaming = answer.headers.get_content_type() == "text/event-stream"
        body = b"" if streaming else answer.read()
        return Answer(answer.status, body, {name.lower(): value for name, value in answer.getheaders()})
    finally:
        connection.close()


def accepted(operation: Operation) -> list[str]:
    return ["*/*"] if operation.stream is None else ["*/*", "text/event-stream"]


def test_every_call_and_every_field_is_attacked() -> None:
    calls = samples(UNKNOWN)
    assert set(calls) == set(BY_NAME)
    for name, operation in BY_NAME.items():
        for wanted, parts in (
            (operation.query, [call.query for call in calls[name]]),
            (operation.body, [call.body for call in calls[name]]),
        ):
            fields = set()
            if wanted is not None:
                for schema in msgspec.json.schema(wanted)["$defs"].values():
                    fields |= set(schema.get("properties", ()))
            assert fields <= named(parts), f"{name} has fields that no attack names"


@pytest.mark.parametrize("name", REFERRING)
def test_what_is_anothers_answers_as_what_is_not_there(
    stranger: Client, mine: Things, theirs: Things, name: str
) -> None:
    operation = BY_NAME[name]
    for sample in samples(mine)[name]:
        changed = zip(
            with_one_place_changed(sample, mine, theirs),
            with_one_place_changed(sample, mine, UNKNOWN),
            strict=True,
        )
        for of_another, of_none in changed:
            for accept in accepted(operation):
                found = send(stranger, operation, of_another, accept=accept)
                expected = send(stranger, operation, of_none, accept=accept)
                assert masked(found, theirs) == masked(expected, UNKNOWN), of_another


def masked(answer: Answer, asked: Things) -> tuple[int, str, str]:
    """An answer in which what was asked for is one word, and so is what each answer has of its own."""
    text = answer.body.decode()
    for value in asked:
        text = text.replace(value, "ASKED")
    text = re.sub(r"(acct|txn|hold|hook|whsec)_[0-9A-Za-z+/=]+", r"\1", text)
    text = re.sub(r"urn:(uuid|tallystick:key):[0-9a-f-]+", r"\1", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
    text = re.sub(r'"(key|id)":"(tally_)?[0-9a-f]{12}[^"]*"', r'"\1"', text)
    return answer.status, answer.content_type, re.sub(r'"(position|id|version)":\d+', r'"\1"', text)


@pytest.fixture(scope="module")
def unseen(client: Client) -> Things:
    """What the attacked tenant has, and the attacker cannot know of."""
    return made_by(client)


@pytest.mark.parametrize("name", BY_NAME)
def test_nothing_of_another_is_told(stranger: Client, mine: Things, unseen: Things, name: str) -> None:
    """The attacker asks for what is its own: lists, events and answers hold nothing else."""
    operation = BY_NAME[name]
    for sample in samples(made_by(stranger) if operation.method in {"DELETE", "PATCH"} else mine)[name]:
        answer = send(stranger, operation, sample)
        assert answer.status < 500
        for value in unseen:
            assert value.encode() not in answer.body


@pytest.mark.parametrize(
    "name", ["transferBatch", *(one.name for one in OPERATIONS if one.key is Key.REQUIRED)]
)
def test_the_key_of_another_tenants_request_is_free(client: Client, stranger: Client, name: str) -> None:
    """The same name for a request, of two tenants: two requests, and neither learns of the other."""
    operation = BY_NAME[name]
    theirs, mine = made_by(client), made_by(stranger)
    for sample, own in zip(samples(theirs)[name], samples(mine)[name], strict=True):
        key = new_key()
        first = send(client, operation, sample, key=key)
        answer = send(stranger, operation, own, key=key)
        assert answer.status == first.ok().status
        assert not any(value.encode() in answer.body for value in theirs)
        assert send(stranger, operation, own, key=key).body == answer.body
        assert send(client, operation, sample, key=key).body == first.body


def test_a_cursor_of_another_tenants_list_shows_nothing_of_it(client: Client, stranger: Client) -> None:
    """A cursor is a place in a list, and no permission."""
    theirs, mine = made_by(client), made_by(stranger)
    path, place = f"/v1/accounts/{mine.account}/entries", f"/v1/accounts/{theirs.account}/entries"
    cursor = client.get(place, limit=1).ok()["next_cursor"]
    own = {json.dumps(one) for one in stranger.get(path).ok()["items"]}
    assert {json.dumps(one) for one in stranger.get(path, cursor=cursor).ok()["items"]} <= own
    assert stranger.get(place, cursor=cursor).refused() == (404, "account_not_found", "id")

    client.post("/v1/accounts", {"owner": theirs.owner, "asset": "EUR"}).ok()
    stranger.post("/v1/accounts", {"owner": mine.owner, "asset": "EUR"}).ok()
    cursor = client.get("/v1/accounts", owner=theirs.owner, limit=1).ok()["next_cursor"]
    assert cursor
    accounts = {one["id"] for one in stranger.get("/v1/accounts", owner=mine.owner).ok()["items"]}
    found = stranger.get("/v1/accounts", owner=mine.owner, cursor=cursor).ok()["items"]
    assert {one["id"] for one in found} <= accounts
    assert stranger.get("/v1/accounts", owner=theirs.owner, cursor=cursor).ok()["items"] == []


@pytest.fixture(scope="module")
def revoked(installation: Installation, server: Server) -> Iterator[Client]:
    """A caller of the attacked tenant whose key was in use, and is out of force."""
    made = installation.make_key("victim")
    with Client(server.url, made.key) as caller:
        caller.get("/v1/assets").ok()
        assert installation.revoke_key(made.id)
        deadline = time.monotonic() + KEY_SECONDS_MAX
        while caller.get("/v1/assets").status != 401:
            assert time.monotonic() < deadline, "the key is still in force"
            time.sleep(0.1)
        yield caller


@pytest.mark.parametrize("name", BY_NAME)
def test_without_a_key_in_force_no_call_does_anything(
    installation: Installation, server: Server, revoked: Client, theirs: Things, name: str
) -> None:
    """A key that was revoked, one that is nearly right, and none."""
    operation = BY_NAME[name]
    before = installation.head()
    nearly = f"{str(revoked.api_key)[:-1]}{'A' if str(revoked.api_key)[-1] != 'A' else 'B'}"
    for caller in (revoked, Client(server.url, nearly), Client(server.url, None)):
        for sample in samples(theirs)[name]:
            for accept in accepted(operation):
                answer = send(caller, operation, sample, accept=accept)
                assert answer.refused() == (401, "unauthorized", "Authorization")
    assert installation.head() == before
