"""Asks the programs of a cluster how they are, each in its own protocol, with a short time limit."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final

TIMEOUT_SECONDS: Final = 1.0
_ANSWER_BYTES_MAX: Final = 1024 * 1024

# Proxies that the environment names are not used for this machine.
_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask_json(url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The JSON object with which a server answers, whatever its status; None if it does not answer one."""
    text = ask_text(url, body)
    try:
        answer = json.loads(text or "")
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def ask_text(
    url: str, body: Mapping[str, Any] | None = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> str | None:
    """The text with which a server answers, whatever its status; None if it does not answer in time."""
    data = None if body is None else json.dumps(body).encode("utf-8")
    try:
        with _opener.open(url, data, timeout=timeout_seconds) as answer:
            return str(answer.read(_ANSWER_BYTES_MAX).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            return error.read(_ANSWER_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return None


def ask_valkey(address: str, port: int, password: str, section: str) -> dict[str, str] | None:
    """A section of what `INFO` says on a Valkey or a Sentinel; None if it does not answer."""
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(f"AUTH {password}\r\nINFO {section}\r\n".encode("ascii"))
            with connection.makefile("rb") as answer:
                if not answer.readline().startswith(b"+OK"):
                    return None
                length = answer.readline()
                if not length.startswith(b"$"):
                    return None
                text = answer.read(min(int(length[1:]), _ANSWER_BYTES_MAX)).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
