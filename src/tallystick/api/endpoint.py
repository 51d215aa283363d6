"""From a request to an operation and back: authenticate, check the form, carry out, write the answer."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import falcon
import msgspec
from falcon.asgi import Request, Response

from tallystick.api import problems, streams
from tallystick.api.arrivals import BODY, Arrivals, Body, LateError
from tallystick.api.calls import CSV_TYPE, Call, Operation, StreamHandler
from tallystick.api.idempotency_keys import REPLAYED_HEADER, idempotency_key
from tallystick.api.merge_patches import MERGE_TYPE, is_merge_patch
from tallystick.api.preconditions import tag_of, wanted_tags
from tallystick.api.request_ids import HEADER as REQUEST_ID_HEADER
from tallystick.api.request_ids import INVALID, instance_of, instance_of_key
from tallystick.api.requests import TransferBatchRequest
from tallystick.api.response import Answer
from tallystick.domain import limits
from tallystick.domain.access import SCOPE_NEEDED, Action
from tallystick.domain.decide import PASSING
from tallystick.domain.fingerprint import request_key
from tallystick.domain.outcomes import Refused
from tallystick.service.authentication import Access
from tallystick.service.current_request import REPLAYED, REQUEST_ID
from tallystick.service.engine import Engine
from tallystick.service.errors import (
    AuthenticationError,
    ParameterError,
    ScopeMissingError,
)
from tallystick.service.ledger import Ledger
from tallystick.service.rate_limits import Budget
from tallystick.views.encoding import encode

Responder = Callable[..., Awaitable[None]]
Decode = Callable[[bytes], Any]

_JSON: Final = "application/json"
_JSON_TYPE: Final = _JSON.encode()
_BEARER: Final = "bearer "
_BEARER_CHARACTERS: Final = len(_BEARER)
_AUTHORIZATION_HEADER: Final = b"authorization"
_TYPE_HEADER: Final = b"content-type"
_ENCODING_HEADER: Final = b"content-encoding"
_PLAIN: Final = b"identity"


_REQUEST_ID_EXPECTED: Final = (
    f"expected one such header of 1 to {limits.REQUEST_ID_CHARACTERS_MAX} printable ASCII characters, "
    "and no spaces"
)
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_BOOLEANS: Final = {"true": True, "false": False}
_NOT_UTF8: Final = msgspec.DecodeError("Expected UTF-8")
_TOO_DEEP: Final = msgspec.DecodeError("JSON is nested too deeply")


class MalformedError(Exception):
    """A body or query in a wrong form, with the answer that says why."""

    def __init__(self, answer: problems.ProblemResponse) -> None:
        super().__init__(answer.problem.detail)
        self.answer = answer


class Tenants:
    """The ledgers of the tenants whose keys are used here."""

    def __init__(self, engine: Engine) -> None:
        self.pieces = engine.pieces
        self.directory = engine.directory
        self.rate_limits = engine.rate_limits
        self.remembered = engine.api_keys.remembered
        self._api_keys = engine.api_keys
        self.ledgers = _Ledgers(engine)

    async def access_of(self, api_key: str, action: Action, request: Request) -> Access:
        """What an API key may do, if this action is a part of it, for a caller in this place.

        Raises:
            AuthenticationError: the key is not in force.
            AccessDeniedError: it may not do this.
        """
        access = await self._api_keys.access_of(api_key)
        self.require_network(access, request)
        require_scope(access, action)
        return access

    def require_network(self, access: Access, request: Request) -> None:
        """Raise NetworkNotAllowedError if the key is not valid for callers in this place."""
        self._api_keys.require_network(access, *_place(request))


class _Ledgers(dict[int, Ledger]):
    """The ledger of each tenant whose keys are used here."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def __missing__(self, tenant: int) -> Ledger:
        ledger = self[tenant] = Ledger(self._engine, tenant)
        return ledger


def require_scope(access: Access, action: Action) -> None:
    """Raise ScopeMissingError if a key may not do something."""
    if (scope := SCOPE_NEEDED[action]) not in access.scopes:
        raise ScopeMissingError(scope, action.value)


def _place(request: Request) -> tuple[str | None, str | None]:
    """The address of the peer, and what proxies say."""
    peer: Sequence[str] | None = request.scope.get("client")
    return peer[0] if peer else None, request.get_header("X-Forwarded-For")


class Endpoint:
    """All operations at one path. Falcon finds `on_get`, `on_post` and so on among the attributes."""

    def __init__(
        self,
        tenants: Tenants,
        operations: Mapping[str, Operation],
        open_streams: streams.Streams,
        arrivals: Arrivals,
    ) -> None:
        for method, operation in operations.items():
            responder = _responder(tenants, operation, open_streams, arrivals)
            setattr(self, f"on_{method.lower()}", responder)
            if method == "GET":
                # The framework leaves the body out.
                self.on_head = responder


def _responder(
    tenants: Tenants, operation: Operation, open_streams: streams.Streams, arrivals: Arrivals
) -> Responder:
    read_body = None if operation.body is None else msgspec.json.Decoder(operation.body).decode
    read_merge = None if operation.merge_body is None else msgspec.json.Decoder(operation.merge_body).decode
    status = int(operation.status)
    conditional, tagged = operation.is_conditional, operation.tagged
    reading = operation.method == "GET"
    budget = operation.taken_from
    action, scope, more, table = operation.action, operation.scope, operation.more, operation.table

    async def respond(request: Request, response: Answer, identifier: str = "") -> None:
        if INVALID in request.scope:
            raise ParameterError(REQUEST_ID_HEADER, _REQUEST_ID_EXPECTED)
        headers = _headers(request.scope["headers"])
        api_key = _api_key(headers)
        access = tenants.remembered(api_key)
        if access is None or scope not in access.scopes:
            access = await tenants.access_of(api_key, action, request)
        elif access.networks:
            tenants.require_network(access, request)
        ledger = tenants.ledgers[access.tenant]
        key = idempotency_key(request, headers, operation.key)
        query = read_query(request, operation.query)
        body = None if read_body is None else await _read(request, headers, arrivals, read_body, read_merge)
        if more is not None and (asked := more(body)) is not None:
            require_scope(access, asked)
        last_event_id = None if operation.stream is None else streams.last_event_id(request)
        tags = wanted_tags(headers) if conditional else None
        call = Call(
            ledger,
            tenants.pieces,
            identifier,
            body,
            query,
            key,
            access,
            tenants.directory,
            last_event_id,
            tags,
        )
        streaming = operation.stream is not None and streams.wanted(request)
        spent = Budget.STREAMS if streaming else budget
        if tenants.rate_limits.limited(spent, ledger.tenant):
            await tenants.rate_limits.spend(spent, ledger.tenant, access.key_id, _transfers_of(body))
        if operation.stream is not None and streaming:
            open_streams.require_room(ledger.tenant)
            parts = await _parts(operation.stream, call)
            caller = streams.Caller(ledger.tenant, partial(tenants.access_of, api_key, action, request))
            open_streams.send(request, response, parts, operation.name, caller)
            return
        if table is not None and prefers_table(request):
            response.content_type, response.stream = CSV_TYPE, await table(call)
            return
        found = await operation.handler(call)
        if REPLAYED in request.scope:
            response.set_header(REPLAYED_HEADER, "true")
        if isinstance(found, Refused):
            instance = _instance_of_refusal(ledger.tenant, key, found)
            write_problem(request, response, problems.refusal(found, reading=reading), instance)
            return
        response.answer(found, status, reading=reading)
        if tagged and (tag := tag_of(found)) is not None:
            response.set_header("ETag", tag)

    return respond


async def _read(
    request: Request,
    headers: Mapping[bytes, bytes],
    arrivals: Arrivals,
    as_json: Decode,
    as_patch: Decode | None,
) -> Any:
    """The body in its form: that of a merge patch, if the call takes one and it is one."""
    if as_patch is not None and is_merge_patch(headers):
        return _decoded(as_patch, await _body(request, headers, arrivals, MERGE_TYPE))
    return _decoded(as_json, await _body(request, headers, arrivals, _JSON_TYPE))


def prefers_table(request: Request) -> bool:
    """Whether a caller prefers CSV to JSON."""
    return request.client_prefers((_JSON, CSV_TYPE)) == CSV_TYPE


def _headers(sent: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. Those of one name are joined with a comma (RFC 9110, 5.2)."""
    headers = dict(sent)
    if len(headers) != len(sent):
        for name in headers:
            headers[name] = b",".join(value for one, value in sent if one == name)
    return headers


def _api_key(headers: Mapping[bytes, bytes]) -> str:
    authorization = headers.get(_AUTHORIZATION_HEADER)
    if authorization is None:
        raise AuthenticationError("no Authorization header was sent")
    text = authorization.decode("latin-1")
    if text[:_BEARER_CHARACTERS].lower() != _BEARER:
        raise AuthenticationError("the Authorization header must read `Bearer` and an API key")
    return text[_BEARER_CHARACTERS:].strip()


def _transfers_of(body: Any) -> int:
    """The number of transfers that a request counts as: that of a batch, or one for any other call."""
    return len(body.transfers) if isinstance(body, TransferBatchRequest) else 1


async def _parts(stream: StreamHandler, call: Call) -> streams.Parts:
    """Open a stream. If the header has the position to begin at, errors name the header."""
    try:
        return await stream(call)
    except ParameterError as error:
        if error.param == "after" and call.last_event_id is not None:
            raise ParameterError(streams.LAST_EVENT_ID, error.detail) from None
        raise


def write_problem(
    request: Request, response: Response, answer: problems.ProblemResponse, instance: str | None = None
) -> None:
    """Answer with a problem document. `instance` is by default the request."""
    if instance is None and (request_id := request.scope.get(REQUEST_ID)) is not None:
        instance = instance_of(request_id.decode())
    response.status = answer.problem.status
    response.content_type = problems.PROBLEM_TYPE
    response.data = encode(msgspec.structs.replace(answer.problem, instance=instance))
    for name, value in answer.headers.items():
        response.set_header(name, value)


def _instance_of_refusal(tenant: int, key: str, refused: Refused) -> str | None:
    """What is recorded under the key: so the same request has the same answer, byte for byte. None: nothing is."""
    if not key or refused.code in PASSING:
        return None
    return instance_of_key(request_key(tenant, key))


async def _body(
    request: Request, headers: Mapping[bytes, bytes], arrivals: Arrivals, sent_type: bytes = _JSON_TYPE
) -> bytes:
    content_type = headers.get(_TYPE_HEADER, _JSON_TYPE)
    if content_type != sent_type and content_type.partition(b";")[0].strip().lower() != sent_type:
        raise falcon.HTTPUnsupportedMediaType(description=f"Send the body as Content-Type: {_JSON}.")
    if headers.get(_ENCODING_HEADER, _PLAIN).lower() != _PLAIN:
        name = "Content-Encoding"
        detail = f"Send the body as it is: without {name}, and not compressed."
        raise MalformedError(problems.answer("content_encoding_unsupported", detail, name))
    length = request.content_length
    if length is not None and length > limits.BODY_BYTES_MAX:
        raise _too_large()
    arriving: Body = request.scope[BODY]
    body = arriving.arrived(length)
    if body is None:
        try:
            # Read one byte more than allowed, because a chunked body does not announce its length.
            body = await arrivals.in_time(request.stream.read(limits.BODY_BYTES_MAX + 1))
        except LateError:
            raise _late(arrivals) from None
    if len(body) > limits.BODY_BYTES_MAX:
        raise _too_large()
    if arriving.late:
        raise _late(arrivals)
    if arriving.cut_off:
        # A part of a body may mean something else than the whole: an empty body captures all that is left of a hold.
        raise MalformedError(
            problems.answer("parameter_invalid", "The body was cut off. Send all of it.", "body")
        )
    # Some calls need no body, so it may be empty.
    return body or b"{}"


def _decoded(read: Decode, body: bytes) -> Any:
    try:
        return read(body)
    except msgspec.DecodeError as error:
        raise MalformedError(problems.malformed(error, "body")) from None
    except UnicodeDecodeError:
        raise MalformedError(problems.malformed(_NOT_UTF8, "body")) from None
    except RecursionError:
        raise MalformedError(problems.malformed(_TOO_DEEP, "body")) from None


def _late(arrivals: Arrivals) -> MalformedError:
    detail = f"Send the whole body within {arrivals.seconds_max:.0f} seconds."
    return MalformedError(problems.answer("body_timeout", detail))


def _too_large() -> falcon.HTTPError:
    # The rest of the body is not read, so no other request can follow it over this connection.
    return falcon.HTTPContentTooLarge(
        description=f"Send at most {limits.BODY_BYTES_MAX} bytes.", headers={"Connection": "close"}
    )


def read_query(request: Request, wanted: type[msgspec.Struct] | None) -> Any:
    """The query of a request in its form; raises MalformedError."""
    if wanted is None and not request.query_string:
        return None
    try:
        # The framework replaces bytes that are not UTF-8, and would change the query.
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise MalformedError(problems.malformed(_NOT_UTF8, "query")) from None
    wanted = wanted or _NoQuery
    try:
        values = _with_booleans(_with_integers(request.params, wanted), wanted)
        return msgspec.convert(_with_lists(values, wanted), wanted)
    except msgspec.ValidationError as error:
        raise MalformedError(problems.malformed(error, "query")) from None


def _with_integers(texts: Mapping[str, Any], wanted: type[msgspec.Struct]) -> dict[str, Any]:
    """Read integers. msgspec itself would also accept 1e2, and a number for a time."""
    integers = _names(wanted, "integer")
    return {
        name: int(text) if name in integers and isinstance(text, str) and _INTEGER.fullmatch(text) else text
        for name, text in texts.items()
    }


def _with_booleans(values: dict[str, Any], wanted: type[msgspec.Struct]) -> dict[str, Any]:
    """Read booleans."""
    named = _names(wanted, "boolean")
    return {
        name: _BOOLEANS.get(value, value) if name in named and isinstance(value, str) else value
        for name, value in values.items()
    }


def _with_lists(values: dict[str, Any], wanted: type[msgspec.Struct]) -> dict[str, Any]:
    """Read lists: repeated parameters, values with commas between, or both."""
    for name in _names(wanted, "array") & values.keys():
        given = values[name] if isinstance(values[name], list) else [values[name]]
        values[name] = [text for one in given for text in one.split(",")]
    return values


@cache
def _names(wanted: type[msgspec.Struct], json_type: str) -> frozenset[str]:
    """The parameters of a type of JSON."""
    properties = msgspec.json.schema(wanted)["$defs"][wanted.__name__]["properties"]
    return frozenset(
        name
        for name, schema in properties.items()
        if any(choice.get("type") == json_type for choice in schema.get("anyOf", [schema]))
    )


class _NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The query of a call without parameters."""
