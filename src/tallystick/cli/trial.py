"""What people try first: an API key that is kept, a file that sets it in a shell, and a line that pays."""

import json
import secrets
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Final

from tallystick.cli.demonstration import ASSET, DemonstrationAccounts
from tallystick.domain.access import ALL_SCOPES
from tallystick.files import write_private
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service.api_keys import create_key
from tallystick.service.authentication import ApiKeys
from tallystick.service.errors import AuthenticationError

CURL_MINOR_UNITS: Final = 1250
_KEY_BYTES: Final = 4


async def kept_api_key(directory: ReplicatedDirectory, path: Path, name: str) -> str:
    """The API key in a file, or a new one with this name, and with all scopes, if that is not in force."""
    with suppress(FileNotFoundError, UnicodeDecodeError, AuthenticationError):
        key = _read(path)
        await ApiKeys(directory).access_of(key)
        return key
    key = (await create_key(directory, name, scopes=ALL_SCOPES)).key
    write_private(path, f"{key}\n")
    return key


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def write_shell(path: Path, url: str, api_key: str, accounts: DemonstrationAccounts) -> None:
    """Write the file that sets the address, the key and the accounts in a shell."""
    values = {
        "URL": url,
        "KEY": api_key,
        **{name.upper(): one for name, one in accounts._asdict().items()},
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    write_private(path, "".join(lines))


def curl_line(url: str, api_key: str, source: str, destination: str) -> str:
    """A line for a shell that pays once, however often it is pasted."""
    body = json.dumps(
        {"source": source, "destination": destination, "amount": str(CURL_MINOR_UNITS), "asset": ASSET}
    )
    # One line. Each start and payee has its own idempotency key.
    key = f"up-{secrets.token_hex(_KEY_BYTES)}"
    return (
        f"curl -sS {url}/v1/transfers -H 'Authorization: Bearer {api_key}' "
        f"-H 'Content-Type: application/json' -H 'Idempotency-Key: {key}' -d '{body}'"
    )
