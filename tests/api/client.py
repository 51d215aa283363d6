"""HTTP as a careful stranger speaks it: nothing here knows the product's types."""

import http.client
import json
import re
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import requests

TIMEOUT_SECONDS = 60.0
PROBLEM_TYPE = "application/problem+json"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """An answer as it came over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    def ok(self) -> Self:
        """This answer, which must be a success."""
        assert self.status in {200, 201}, f"{self.status}: {self.body.decode()}"
        return self

    def refused(self) -> tuple[int, str, str | None]:
        """Status, code and param of this answer, which must be a problem document."""
        assert self.content_type == PROBLEM_TYPE, f"{self.status} {self.content_type}: {self.body!r}"
        problem = self.json
        assert problem["status"] == self.status
        assert problem["type"] == f"/errors/{problem['code']}"
        assert problem["instance"].startswith("urn:")
        assert self.headers["x-request-id"]
        assert problem["title"]
        assert problem["detail"]
        return self.status, problem["code"], problem.get("param")


class Client:
    """One caller with an API key, or without one."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self.url = url
        self.api_key = api_key
        self._paths: dict[str, Any] | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        if api_key is not None:
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def another(self) -> "Client":
        """The same caller over a connection of its own."""
        return Client(self.url, self.api_key)

    def request(
        self,
        method: str,
        path: str,
        *,
        content: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Answer:
        answer = self._session.request(
            method,
            self.url + path,
            data=content,
            params=query,
            headers=dict(headers or {}),
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        found = Answer(
            answer.status_code,
            answer.content,
            {name.lower(): value for name, value in answer.headers.items()},
        )
        if found.content_type == PROBLEM_TYPE and method != "HEAD":
            self._require_documented(method, path, found)
        return found

    def _require_documented(self, method: str, path: str, answer: Answer) -> None:
        """A problem is one of those that the API's description names for this call and status."""
        if self._paths is None:
            described = self._session.get(f"{self.url}/openapi.json", timeout=TIMEOUT_SECONDS)
            self._paths = described.json()["paths"]
        for template, operations in self._paths.items():
            pattern = template.replace("{identifier}", "[^/]*")
            if re.fullmatch(pattern, path.partition("?")[0]) and method.lower() in operations:
                responses = operations[method.lower()]["responses"]
                assert str(answer.status) in responses, f"{method} {template}: {answer.body!r}"
                schema = responses[str(answer.status)]["content"][PROBLEM_TYPE]["schema"]
                codes = schema["allOf"][1]["properties"]["code"]["enum"]
                assert answer["code"] in codes, f"{method} {template} {answer.status}: {answer.body!r}"
                return

    def get(self, path: str, **query: Any) -> Answer:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: object = None, *, key: str | None = None) -> Answer:
        """Send a body under an idempotency key: one of its own unless it is named."""
        return self.send("POST", path, body, key=key or new_key())

    def patch(self, path: str, body: object, *, key: str | None = None) -> Answer:
        return self.send("PATCH", path, body, key=key or new_key())

    def send(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Answer:
        headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        content = None if body is None else json.dumps(body).encode()
        return self.request(method, path, content=content, headers=headers)

    def raw(self, message: bytes) -> Answer:
        """Send bytes as they are, and read the answer. They must ask to close the connection."""
        address = urlsplit(self.url)
        with socket.create_connection((address.hostname, address.port or 80), TIMEOUT_SECONDS) as connection:
            connection.sendall(message)
            answer = http.client.HTTPResponse(connection, method=message.split(b" ", 1)[0].decode("latin-1"))
            answer.begin()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, answer.read(), headers)

    def hang_up(self, path: str, body: object, *, key: str) -> None:
        """Send a request and close the connection without waiting for the answer."""
        content = json.dumps(body).encode()
        lines = (
            f"POST {path} HTTP/1.1",
            "Host: tallystick.test",
            f"Authorization: Bearer {self.api_key}",
            "Content-Type: application/json",
            f"Idempotency-Key: {key}",
            f"Content-Length: {len(content)}",
        )
        address = urlsplit(self.url)
        with socket.create_connection((address.hostname, address.port or 80), TIMEOUT_SECONDS) as connection:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    def raw_request(
        self, method: str, target: bytes, headers: Mapping[str, bytes] | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request whose target and headers are any bytes."""
        lines = {
            "Host": b"tallystick.test",
            "Connection": b"close",
            "Authorization": f"Bearer {self.api_key}".encode(),
            "Content-Type": b"application/json",
            "Content-Length": str(len(body)).encode(),
            **(headers or {}),
        }
        head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in lines.items())
        return self.raw(method.encode() + b" " + target + b" HTTP/1.1\r\n" + head + b"\r\n" + body)


def new_key() -> str:
    return str(uuid.uuid4())


def at_once(clients: Sequence[Client], send: Callable[[Client], Result]) -> list[Result]:
    """The same from several callers at the same moment, each over a connection of its own."""
    start = Barrier(len(clients), timeout=TIMEOUT_SECONDS)

    def one(client: Client) -> Result:
        with client.another() as caller:
            caller.get("/healthz")  # connected before the start
            start.wait()
            return send(caller)

    with ThreadPoolExecutor(len(clients)) as threads:
        return list(threads.map(one, clients))
