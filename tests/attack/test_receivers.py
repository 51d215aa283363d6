"""Receivers of webhooks that are no receivers: what is behind the server's network is not to be reached through it.

The addresses come from `tests.webhooks`; here each is tried in every way in which an address comes to the server.
"""

import ipaddress
from collections.abc import Iterator

import pytest

from tests.api.client import Client
from tests.api.server import Installation, Server
from tests.attack.length import LENGTH
from tests.webhooks.test_bad_input import BAD_URLS
from tests.webhooks.test_names import NOT_PUBLIC


@pytest.fixture(scope="module")
def attacker(installation: Installation, strict: Server) -> Iterator[Client]:
    with Client(strict.url, installation.make_key("attacker of receivers").key) as caller:
        yield caller


def forms_of(address: str) -> Iterator[str]:
    """All the ways to write an address in a URL that some program or other takes."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        yield from (f"[{found}]", f"[{found.exploded}]")
        return
    number = int(found)
    a, b, c, d = found.packed
    yield from (address, f"{address}.", f"[::ffff:{address}]", f"[::{address}]", f"[64:ff9b::{address}]")
    yield from (
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{(b << 16) + (c << 8) + d}",
        f"{a}.{b}.{(c << 8) + d}",
    )
    yield from (
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::]",
    )


FORMS = [form for address in NOT_PUBLIC for form in forms_of(address)]


@pytest.mark.parametrize("part", range(8))
def test_addresses_inside_are_refused_in_every_form(attacker: Client, part: int) -> None:
    forms = FORMS[part :: 8 if LENGTH > 1 else 40]
    assert forms
    for form in forms:
        for url in (f"https://{form}/", f"https://{form}:443/a?b=c"):
            answer = attacker.send("POST", "/v1/webhooks", {"url": url})
            assert answer.refused() == (400, "parameter_invalid", "url"), url
    assert attacker.get("/v1/webhooks").ok()["items"] == []


def test_an_endpoint_is_not_changed_to_what_it_could_not_be(attacker: Client) -> None:
    made = attacker.send("POST", "/v1/webhooks", {"url": "https://93.184.215.14/"}).ok()["webhook"]["id"]
    path = f"/v1/webhooks/{made}"
    for url in BAD_URLS:
        assert attacker.send("PATCH", path, {"url": url}).refused() == (400, "parameter_invalid", "url"), url
    assert attacker.get(path).ok()["webhook"]["url"] == "https://93.184.215.14/"
    attacker.send("DELETE", path).ok()
