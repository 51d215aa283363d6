"""The API's description as OpenAPI 3.1, and a page to read and try it: Swagger UI, from files of this machine."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import falcon
import msgspec
from falcon.asgi import Request, Response

from tallystick.api.answers import Health, Problem
from tallystick.api.calls import Key, Operation
from tallystick.api.documented_answers import REFERENCE, problem_response, responses_of, schema_reference
from tallystick.api.error_codes import error_code, table
from tallystick.api.examples import example_of, with_examples
from tallystick.api.health import ReadyQuery
from tallystick.api.idempotency_keys import HEADER, KEY_PATTERN, REPLAYED_HEADER
from tallystick.api.merge_patches import MERGE_PATCH
from tallystick.api.operations import OPERATIONS
from tallystick.api.preconditions import HEADER as IF_MATCH
from tallystick.api.request_ids import HEADER as REQUEST_ID_HEADER
from tallystick.api.request_ids import REQUEST_ID_PATTERN
from tallystick.api.streams import LAST_EVENT_ID
from tallystick.domain import limits
from tallystick.domain.access import SCOPE_NEEDED
from tallystick.domain.identifiers import Prefix, identifier_pattern
from tallystick.domain.system_owners import PATTERN
from tallystick.domain.webhooks import ID_PREFIX
from tallystick.views import EventMessage, TestMessage
from tallystick.views.api_keys import KEY_ID_PATTERN
from tallystick.views.encoding import schema_of

_PATTERN_OF: Final = {
    "accounts": identifier_pattern(Prefix.ACCOUNT),
    "api-keys": KEY_ID_PATTERN,
    "assets": "^[A-Z][A-Z0-9_]{2,11}$",
    "holds": identifier_pattern(Prefix.HOLD),
    "system-owners": f"^{PATTERN}$",
    "transactions": identifier_pattern(Prefix.TRANSACTION),
    "webhooks": identifier_pattern(ID_PREFIX),
}
_DESCRIPTION_OF: Final = {
    "accounts": "An account.",
    "api-keys": "An API key.",
    "assets": "The code of an asset.",
    "holds": "A hold.",
    "system-owners": "The name of a system owner, such as `@fees`.",
    "transactions": "A transaction.",
    "webhooks": "A webhook endpoint.",
}
_DESCRIPTION: Final = f"""Amounts are strings of integer minor units. Every call that moves money, or opens or
changes an account, carries an `Idempotency-Key`: the same key and the same request have the same answer, for ever.

## Errors

An error is a problem document (RFC 9457). Decide by its `code`; `param` names the part of the request that caused it.

{table()}
"""
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
        of_operation = (operation.answer, operation.body, operation.merge_body)
        types |= {found for found in of_operation if found is not None}
    _, components = msgspec.json.schema_components(
        sorted(types, key=lambda one: one.__name__), schema_hook=schema_of, ref_template=REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths["/healthz"] = {"get": _open_call("alive", "Whether the server lives", "200")}
    paths["/readyz"] = {"get": _READY}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick",
            "version": "1",
            "summary": "A digital wallet and double-entry ledger.",
            "description": _DESCRIPTION,
        },
        "security": [{"apiKey": []}],
        "paths": paths,
        "webhooks": {"event": {"post": _WEBHOOK}},
        "components": {
            "schemas": with_examples(components),
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _scopes(operation),
        "tags": [operation.path.split("/")[2]],
        "security": [{"apiKey": [operation.scope.value]}],
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation.query),
            *_headers(operation),
            *([_IF_MATCH] if operation.is_conditional else []),
        ],
        "responses": responses_of(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {
            # No body says nothing, which is all that some calls need.
            "required": any(field.required for field in msgspec.structs.fields(operation.body)),
            "content": {"application/json": {"schema": schema_reference(operation.body)}},
        }
    if operation.merge_body is not None:
        content = {"schema": schema_reference(operation.merge_body)}
        described["requestBody"]["content"][MERGE_PATCH] = content
    return described


def _scopes(operation: Operation) -> str:
    """The scopes that a call takes, in words."""
    words = [f"Takes an API key with the scope `{operation.scope.value}`."]
    words += [
        f"To {action.value}, it takes the scope `{SCOPE_NEEDED[action].value}`, too."
        for action in operation.more_actions
    ]
    return " ".join(words)


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{identifier}" not in operation.path:
        return []
    things = operation.path.split("/")[2]
    schema: dict[str, Any] = {"type": "string", "pattern": _PATTERN_OF[things]}
    if things != "system-owners":
        schema["examples"] = [example_of("identifier", schema)]
    described = {"name": "identifier", "in": "path", "required": True, "description": _DESCRIPTION_OF[things]}
    return [{**described, "schema": schema}]


def _query_parameters(query: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    schema = msgspec.json.schema(query)["$defs"][query.__name__]
    required = schema.get("required", [])
    return [
        _query_parameter(name, _without_null(found), required=name in required)
        for name, found in schema["properties"].items()
    ]


def _query_parameter(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Programs that read the document expect the description of a parameter beside its schema, not in it."""
    described = {
        "name": name,
        "in": "query",
        "required": required,
        "description": schema.pop("description", None) or schema["items"]["description"],
        "schema": schema,
    }
    # The page fills in examples, so optional parameters have none.
    return {**described, "example": example_of(name, schema)} if required else described


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: it leaves the parameter out."""
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


_IF_MATCH: Final[dict[str, Any]] = {
    "name": IF_MATCH,
    "in": "header",
    "description": "Change it only if its `ETag` is one of these, else 412; `*`: any.",
    "schema": {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'},
}
_REQUEST_ID: Final[dict[str, Any]] = {
    "name": REQUEST_ID_HEADER,
    "in": "header",
    "description": "Your own identifier of the request. It is in the answer and in the log of the server.",
    "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
}


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if operation.stream is not None:
        return [_LAST_EVENT_ID, _REQUEST_ID]
    if operation.key is Key.NONE:
        return [_REQUEST_ID]
    schema = {
        "type": "string",
        "minLength": 1,
        "maxLength": limits.IDEMPOTENCY_KEY_CHARACTERS_MAX,
        "pattern": KEY_PATTERN,
    }
    return [
        {
            "name": HEADER,
            "in": "header",
            "required": operation.key is Key.REQUIRED,
            "description": _KEY_DESCRIPTION,
            "schema": schema,
            "example": example_of(HEADER, schema),
        },
        _REQUEST_ID,
    ]


_KEY_DESCRIPTION: Final = (
    "Your own name for this request. If it is sent again, it is carried out once, and has the same answer, with "
    f"`{REPLAYED_HEADER}`. A key belongs to the tenant: another request with it is refused, whatever its shard. It "
    'is a string as draft-ietf-httpapi-idempotency-key-header says, or bare text: `"k1"` and `k1` are one key.'
)


def _open_call(name: str, summary: str, *statuses: str) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["health"],
        "security": [],
        "responses": dict.fromkeys(statuses, answer),
    }


def _health(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema_reference(Health)}}}


_READY: Final[dict[str, Any]] = {
    "operationId": "ready",
    "summary": "Which shards can be written to",
    "description": "The states of the shards, as this server knows them. It answers at once, without a query. A "
    "shard is `up`; or `away`: no connection is possible, or clocks differ by too much; or `silent`: it has "
    "connections and does not answer; or `failing`: the last write failed, or does not end.",
    "tags": ["health"],
    "security": [],
    "parameters": _query_parameters(ReadyQuery),
    "responses": {
        "200": _health("At least one shard is up; with `shard` or `all`, all of the requested ones are."),
        "400": problem_response([error_code("parameter_invalid"), error_code("request_invalid")]),
        "503": _health("No shard is up; with `shard` or `all`, one of the requested ones is not."),
    },
}

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
            ("webhook-id", "Always the same for the same event and endpoint."),
            ("webhook-timestamp", "When it was sent, in seconds since 1970."),
            (
                "webhook-signature",
                "`v1,` and base 64 of HMAC-SHA256, for each valid secret, after Standard Webhooks.",
            ),
        )
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [schema_reference(EventMessage), schema_reference(TestMessage)]}
            }
        },
    },
    "responses": {
        "2XX": {"description": "Accepted: the next event is sent."},
        "410": {"description": "Gone: the endpoint gets no more messages until it is replayed."},
        "429": {"description": "Too many: the message is sent again after `Retry-After`."},
        "503": {"description": "Not now: the message is sent again after `Retry-After`."},
        "default": {"description": "Not accepted: the message is sent again."},
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
        # Only its files are used. The package is not imported, because it would import a framework.
        package = find_spec("flask_swagger_ui")
        if package is None or package.origin is None:
            raise FileNotFoundError("the package flask_swagger_ui has no folder")
        folder = Path(package.origin).parent / "dist"
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
