"""The package's names: everything that a call returns, takes or raises can be imported from `tallystick`."""

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tallystick
from tallystick import Ledger
from tallystick.ledger import errors as ledger_errors
from tallystick.service import errors as service_errors
from tallystick.service.webhooks.endpoints import Webhooks

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text(encoding="utf-8")
# Of the API alone; and what becomes a ParameterError before it comes out.
NOT_RAISED = {
    "AccessDeniedError",
    "AuthenticationError",
    "KeyExpiredError",
    "KeyNotFoundError",
    "LastAdminError",
    "NetworkNotAllowedError",
    "ScopeMissingError",
    "TooManyKeysError",
    "FeedError",
    "TooManyAccountsError",
    "BeyondHeadError",
}


def types_in(hint: object) -> Iterator[type]:
    """The types of ours that a type hint speaks of, also as a field of another."""
    for found in (hint, typing.get_origin(hint)):
        if isinstance(found, type) and found.__module__.startswith("tallystick"):
            yield found
            if hasattr(found, "__struct_fields__") or hasattr(found, "_fields"):
                for field in typing.get_type_hints(found).values():
                    yield from types_in(field)
    for part in typing.get_args(hint):
        yield from types_in(part)


def types_of(calls: type) -> set[type]:
    found: set[type] = set()
    for name, member in inspect.getmembers_static(calls):
        if not name.startswith("_"):
            function: Any = (
                member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            )
            for hint in typing.get_type_hints(inspect.unwrap(function)).values():
                found.update(types_in(hint))
    return found


def errors_in(module: ModuleType) -> set[type]:
    return {
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Exception) and one.__module__ == module.__name__ and one.__name__ not in NOT_RAISED
    }


def test_every_name_is_there_and_means_what_it_says() -> None:
    for name in tallystick.__all__:
        found = getattr(tallystick, name)
        assert found is tallystick.UNSET or found.__name__ == name
    with pytest.raises(AttributeError):
        _ = tallystick.nothing


@pytest.mark.parametrize(
    "types", [types_of(Ledger), types_of(Webhooks), errors_in(ledger_errors), errors_in(service_errors)]
)
def test_what_calls_take_return_and_raise_is_exported(types: set[type]) -> None:
    assert types
    assert sorted(one.__name__ for one in types if getattr(tallystick, one.__name__, None) is not one) == []


def test_the_page_lists_every_name_and_every_call() -> None:
    named = {word for code in re.findall(r"`([^`\n]+)`", PAGE) for word in code.split(".")}
    calls = [name for kind in (Ledger, Webhooks) for name in vars_of(kind)]
    assert [name for name in (*tallystick.__all__, *calls) if name not in named] == []


def vars_of(kind: type) -> list[str]:
    return [name for name, _ in inspect.getmembers_static(kind) if not name.startswith("_")]
