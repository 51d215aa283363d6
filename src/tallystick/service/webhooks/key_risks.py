"""Warnings about secrets of webhooks, which servers log when they start."""

from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from tallystick.service.configuration import Configuration
from tallystick.service.webhooks.key_file import read_keys
from tallystick.store.errors import ShardUnavailableError
from tallystick.store.secret_keys import secret_keys_in

_ENDPOINTS_NAMED_MAX: Final = 5


def risks_of_secrets(configuration: Configuration, unreachable: Collection[int]) -> list[str]:
    """The secrets that are not encrypted, or whose key is missing. Each warning says what to do.

    Raises:
        ConfigurationError: the file of keys is wrong or missing.
    """
    path = configuration.webhooks_key_file
    names = [key.name for key in read_keys(Path(path))] if path is not None else []
    endpoints: defaultdict[str | None, set[str]] = defaultdict(set)
    for number, dsn in configuration.dsns.items():
        if number not in unreachable:
            with suppress(ShardUnavailableError):
                for stored in secret_keys_in(dsn):
                    if stored.key_name is None or stored.state != "removed":
                        endpoints[stored.key_name].add(stored.endpoint)
    plain = endpoints.pop(None, set())
    risks = [
        f"no message is sent to {_named(found)}: their secrets are encrypted with key {name}, which is not in "
        f"webhooks_key_file: put it back there, or give them new secrets"
        for name, found in endpoints.items()
        if name not in names
    ]
    if plain:
        risks.append(
            f"secrets of webhooks are not encrypted in the database, those of {_named(plain)}: run "
            + ("" if names else "`tallystick webhooks make-key`, and then ")
            + "`tallystick webhooks rotate-keys`"
        )
    return risks


def _named(endpoints: Collection[str]) -> str:
    named = ", ".join(sorted(endpoints)[:_ENDPOINTS_NAMED_MAX])
    more = len(endpoints) - _ENDPOINTS_NAMED_MAX
    return f"{named} and {more} more" if more > 0 else named
