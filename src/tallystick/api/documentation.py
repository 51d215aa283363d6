"""The API's description as OpenAPI 3.1, and a page to read and try it: Swagger UI, from files of this machine."""

import json
from importlib import resources
from typing import Any, Final

import falcon
import msgspec
from falcon.asgi import Request, Response

from tallystick.api.answers import Health, Hold, Problem, Transaction
from tallystick.api.operations import OPERATIONS, Key, Operation
from tallystick.api.streams import EVENT_STREAM, LAST_EVENT_ID
from tallystick.api.webhooks import EventMessage, TestMessage
from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, identifier_pattern
from tallystick.domain.webhooks import ID_PREFIX

_REFERENCE: Final = "#/components/schemas/{name}"
_PREFIX_OF: Final = {
    "accounts": Prefix.ACCOUNT,
    "holds": Prefix.HOLD,
    "transactions": Prefix.TRANSACTION,
    "webhooks": ID_PREFIX,
}
_PROBLEMS: Final = {
    "400": "The request is malformed: `param` names what to correct. Nothing was written, no key was burned.",
    "401": "No valid API key.",
    "413": "The body is too large.",
    "415": "The body is not JSON, or it is compressed.",
    "503": "Overloaded, or the shard is unavailable: send the same request again after `Retry-After`.",
}
_ASSET_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Tallystick API</title>
  <link rel="stylesheet" href="/docs/swagger-ui.css">
  <link rel="icon" href="data:,">
</head>
<body>
  <div id="api"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script>
    SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, persistAuthorization: true})
  </script>
</body>
</html>
"""


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document, generated from the operations and the types that validate them."""
    types = {Problem, Health, EventMessage, TestMessage}
    for operation in OPERATIONS:
        types |= {found for found in (operation.answer, operation.body) if found is not None}
    _, components = msgspec.json.schema_components(
        sorted(types, key=lambda one: one.__name__), ref_template=_REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths["/healthz"] = {"get": _open_call("alive", "Whether the server lives", "200")}
    paths["/readyz"] = {"get": _open_call("ready", "Whether the server can serve, by shard", "200", "503")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick",
            "version": "1",
            "summary": "A digital wallet and double-entry ledger.",
            "description": "Amounts are strings of integer minor units. Every call that moves money carries an "
            "`Idempotency-Key`: the same key and the same request have the same answer, for ever.",
        },
        "security": [{"apiKey": []}],
        "paths": paths,
        "webhooks": {"event": {"post": _WEBHOOK}},
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.path.split("/")[2]],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {
            # No body says nothing, which is all that some calls need.
            "required": any(field.required for field in msgspec.structs.fields(operation.body)),
            "content": {"application/json": {"schema": _schema(operation.body)}},
        }
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{identifier}" not in operation.path:
        return []
    prefix = _PREFIX_OF[operation.path.split("/")[2]]
    schema = {"type": "string", "pattern": identifier_pattern(prefix)}
    return [{"name": "identifier", "in": "path", "required": True, "schema": schema}]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = msgspec.json.schema(operation.query)["$defs"][operation.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(found)}
        for name, found in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query cannot say null: it leaves the parameter out."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**rest, **choices[0]}


_LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": LAST_EVENT_ID,
    "in": "header",
    "description": "With `Accept: text/event-stream`: the last `id` that was received, to go on after it. "
    "EventSource sends it by itself.",
    "schema": {"type": "integer", "minimum": 0, "maximum": limits.LOCAL_NUMBER_MAX},
}


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if operation.stream is not None:
        return [_LAST_EVENT_ID]
    if operation.key is Key.NONE:
        return []
    schema = {
        "type": "string",
        "minLength": 1,
        "maxLength": limits.IDEMPOTENCY_KEY_CHARACTERS_MAX,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    }
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": operation.key is Key.REQUIRED,
            "description": "Your own name for this request. Sent again, it has the same answer and moves money once. "
            "A key belongs to the tenant and to the shard of the payer.",
            "schema": schema,
        }
    ]


_MAY_CROSS_SHARDS: Final = (Transaction, Hold)


def _responses(operation: Operation) -> dict[str, Any]:
    answered: dict[str, Any] = {
        str(int(operation.status)): {
            "description": operation.summary,
            "content": {"application/json": {"schema": _schema(operation.answer)}},
        }
    }
    if operation.streamed is not None:
        # Each event's data is of that schema; OpenAPI 3.1 has no words for a stream.
        answered[str(int(operation.status))]["content"][EVENT_STREAM] = {
            "schema": {"type": "string", "contentMediaType": "application/json"},
            "example": f"id: 42\ndata: {{ … {operation.streamed.__name__} … }}\n\n",
        }
    if operation.answer in _MAY_CROSS_SHARDS and operation.method == "POST":
        answered["202"] = {
            "description": "On its way to another shard. Location says where to ask; the same request with the same "
            "key gives the outcome when there is one.",
            "content": {"application/json": {"schema": _schema(operation.answer)}},
            "headers": {"Location": {"schema": {"type": "string"}}},
        }
    described = dict(_PROBLEMS)
    if operation.body is None:
        del described["413"], described["415"]
    if "{identifier}" in operation.path and operation.method == "GET":
        described["404"] = "There is no such thing, or it is another tenant's."
    if operation.path.startswith("/v1/webhooks/"):
        described["404"] = "There is no such endpoint, or it is another tenant's."
    if _may_be_refused(operation):
        described["422"] = "Refused: `code` says why. Nothing was written but the answer under its key."
    if operation.name == "createAsset":
        described["409"] = "The code is taken."
    if operation.name == "createWebhook":
        described["409"] = "There are as many endpoints as there may be: remove one first."
    for status, description in sorted(described.items()):
        answered[status] = _problem_response(description)
    return answered


def _may_be_refused(operation: Operation) -> bool:
    """Whether the ledger itself may refuse it, which is what it answers under a key."""
    return operation.key is not Key.NONE


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": _schema(Problem)}}}


def _open_call(name: str, summary: str, *statuses: str) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["health"],
        "security": [],
        "responses": dict.fromkeys(statuses, answer),
    }


def _schema(model: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=model.__name__)}


_WEBHOOK: Final[dict[str, Any]] = {
    "operationId": "event",
    "summary": "One transaction of the log, sent to an endpoint that asked for it, or a test",
    "tags": ["webhooks"],
    "security": [],
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": description,
            "schema": {"type": "string"},
        }
        for name, description in (
            ("webhook-id", "The same for the same event and endpoint, for ever."),
            ("webhook-timestamp", "When it was sent, in seconds since 1970."),
            (
                "webhook-signature",
                "`v1,` and base 64 of HMAC-SHA256, for each secret that is valid, as Standard Webhooks says.",
            ),
        )
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"oneOf": [_schema(EventMessage), _schema(TestMessage)]}}},
    },
    "responses": {
        "2XX": {"description": "Taken: the next event comes."},
        "410": {"description": "Gone: the endpoint is told nothing more until it is replayed."},
        "429": {"description": "Too much: it comes again after `Retry-After`."},
        "503": {"description": "Not now: it comes again after `Retry-After`."},
        "default": {"description": "Not taken: it comes again."},
    },
}


class Description:
    """`/openapi.json`."""

    def __init__(self) -> None:
        self._document = json.dumps(openapi_document()).encode()

    async def on_get(self, _request: Request, response: Response) -> None:
        """Send the document."""
        response.content_type = "application/json"
        response.data = self._document

    on_head = on_get


class DocumentationPage:
    """`/docs` and the files that it needs."""

    def __init__(self) -> None:
        folder = resources.files("swagger_ui") / "static"
        self._files = {name: (folder / name).read_bytes() for name in _ASSET_FILES}

    async def on_get(self, _request: Request, response: Response) -> None:
        """Send the page."""
        response.content_type = "text/html; charset=utf-8"
        response.data = _PAGE.encode()

    on_head = on_get

    async def on_get_file(self, _request: Request, response: Response, name: str) -> None:
        """Send one of its files."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        response.content_type = _ASSET_FILES[name]
        response.cache_control = ["public", "max-age=3600"]
        response.data = self._files[name]

    on_head_file = on_get_file
