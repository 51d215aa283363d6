"""The endpoints of tenants: make, list, change, remove, test and replay them. Secrets are shown once."""

import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.domain import limits
from tallystick.domain.commands import KINDS, Kind
from tallystick.domain.identifiers import DIGITS, TEXT_DIGITS
from tallystick.domain.outcomes import REFUSAL_DETAILS, RefusalCode
from tallystick.domain.webhooks import ID_PREFIX, Secret, State, StoredSecret, WebhookEndpoint
from tallystick.followers.errors import SecretUnreadableError, UrlRefusedError
from tallystick.followers.webhooks.events import test_message
from tallystick.followers.webhooks.messages import Attempt
from tallystick.ledger.errors import UnavailableError
from tallystick.ledger.shard import Shard
from tallystick.service import parameters
from tallystick.service.cursor import read_name_cursor, write_name_cursor
from tallystick.service.engine import Engine
from tallystick.service.errors import (
    ParameterError,
    PreconditionFailedError,
    TooManyWebhooksError,
    WebhookNotFoundError,
)
from tallystick.service.kept_requests import Answer, Asked, Kept
from tallystick.store.webhooks import Progress, WebhookStore
from tallystick.views.pages import Page
from tallystick.views.webhooks import DeliveryState, NewSecret, Told, Webhook, WebhookProgress, webhook_view

Unset = msgspec.UnsetType
UNSET: Final = msgspec.UNSET

_TEST_BYTES: Final = 8
_LIST: Final = "webhooks"
_PLACE: Final = re.compile(rf"[0-9-]{{10}}T[0-9:.]{{15}} {ID_PREFIX}_[0-9a-z]{{{TEXT_DIGITS}}}", re.ASCII)
STATES: Final[dict[str, State]] = {"active": "active", "paused": "paused"}


class Webhooks:
    """The endpoints of one tenant.

    Methods with an identifier raise WebhookNotFoundError if there is no such endpoint.
    """

    def __init__(self, engine: Engine, tenant: int) -> None:
        self._engine = engine
        self._tenant = tenant

    async def all(self) -> list[Webhook]:
        """The endpoints, oldest first."""
        return [webhook_view(endpoint) for endpoint in await self._all()]

    async def page(
        self, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> Page[Webhook]:
        """The same, one page at a time."""
        limit = parameters.page_limit(limit)
        after = read_name_cursor(_LIST, cursor, _PLACE)
        endpoints = await self._all()
        rest = endpoints if after is None else [one for one in endpoints if _place(one) > after]
        more = len(rest) > limit
        return Page(
            [webhook_view(endpoint) for endpoint in rest[:limit]],
            write_name_cursor(_LIST, _place(rest[limit - 1])) if more else None,
        )

    async def get(self, identifier: str) -> Webhook:
        """One endpoint."""
        return webhook_view(await self._find(identifier))

    async def create(
        self,
        url: str,
        kinds: Sequence[str] = (),
        owner: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> NewSecret:
        """Make an endpoint. It gets all events from now on.

        Raises:
            ParameterError: messages may not be sent to this URL.
            TooManyWebhooksError: the tenant has the largest allowed number of endpoints.
            WebhookKeyMissingError: there is no key to encrypt its secret with.
            DirectoryIncompleteError: a shard cannot be reached. The message says what to do.
        """
        identifier = f"{ID_PREFIX}_{''.join(secrets.choice(DIGITS) for _ in range(TEXT_DIGITS))}"

        async def make(drawn: bytes) -> Webhook:
            return webhook_view(await self._create(_read_drawn(drawn), url, kinds, owner))

        kept = Kept(self._tenant, idempotency_key, self._draw(identifier))
        asked = Asked("create_webhook", {"url": url, "kinds": list(kinds), "owner": owner})
        webhook, drawn = await self._engine.kept_requests.once(kept, asked, make, Webhook)
        return NewSecret(webhook, self._revealed(drawn))

    async def _create(
        self, drawn: "_Drawn", url: str, kinds: Sequence[str], owner: str | None
    ) -> WebhookEndpoint:
        now = datetime.now(UTC)
        endpoint = WebhookEndpoint(
            id=drawn.endpoint,
            tenant=self._tenant,
            url=await self._checked(url),
            kinds=_kinds(kinds),
            owner=_owner(owner),
            state="active",
            secret=drawn.secret,
            previous_secret=None,
            previous_secret_until=None,
            created_at=now,
            version=1,
            changed_at=now,
        )
        if await self._engine.directory.newest_endpoint(self._tenant, drawn.endpoint) is not None:
            # An earlier try of this request has made it. All shards must know it.
            return await self._change(drawn.endpoint, lambda endpoint: endpoint, removed_too=True)
        async with self._engine.directory.making_webhook_endpoints():
            if len(await self._all()) >= limits.WEBHOOK_ENDPOINTS_PER_TENANT_MAX:
                raise TooManyWebhooksError(
                    f"there may be {limits.WEBHOOK_ENDPOINTS_PER_TENANT_MAX} endpoints at most: remove one first"
                )
            await self._engine.directory.put_webhook_endpoint(endpoint)
        return endpoint

    async def _checked(self, url: str) -> str:
        try:
            return await self._engine.webhook_sender.check_url(url)
        except UrlRefusedError as error:
            raise ParameterError("url", str(error)) from None

    async def change(
        self,
        identifier: str,
        *,
        url: str | Unset = UNSET,
        kinds: Sequence[str] | Unset = UNSET,
        owner: str | None | Unset = UNSET,
        state: str | Unset = UNSET,
        if_match: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Webhook:
        """Change the given fields. A waiting attempt is made at once. Raises what `create` raises.

        Raises:
            PreconditionFailedError: the `tag` of the endpoint is none of `if_match`.
        """
        given = _Changes(url, kinds, owner, state)
        fields = {name: value for name, value in given._asdict().items() if value is not UNSET}

        async def act(_: bytes) -> Webhook:
            return webhook_view(await self._change_fields(identifier, given, if_match))

        asked = Asked("change_webhook", {"id": identifier, **fields})
        return await self._once(idempotency_key, asked, act, Webhook)

    async def _change_fields(
        self,
        identifier: str,
        given: "_Changes",
        if_match: Collection[str] | None,
    ) -> WebhookEndpoint:
        url, kinds, owner, state = given
        await self._find(identifier)
        changes: dict[str, Any] = {}
        if url is not UNSET:
            changes["url"] = await self._checked(url)
        if kinds is not UNSET:
            changes["kinds"] = _kinds(kinds)
        if owner is not UNSET:
            changes["owner"] = _owner(owner)
        if state is not UNSET:
            changes["state"] = parameters.choice(state, STATES, "state")
        return await self._change(
            identifier, lambda endpoint: endpoint._replace(**changes), if_match=if_match
        )

    async def remove(
        self,
        identifier: str,
        *,
        if_match: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Webhook:
        """Remove an endpoint for ever. Repeat it, so that a shard that could not be reached learns of it.

        Raises:
            PreconditionFailedError: the `tag` of the endpoint is none of `if_match`.
        """

        async def act(_: bytes) -> Webhook:
            return webhook_view(
                await self._change(
                    identifier,
                    lambda endpoint: endpoint._replace(state="removed"),
                    removed_too=True,
                    if_match=if_match,
                )
            )

        return await self._once(idempotency_key, Asked("remove_webhook", {"id": identifier}), act, Webhook)

    async def rotate(
        self,
        identifier: str,
        overlap_seconds: int = limits.WEBHOOK_SECRET_OVERLAP_SECONDS_DEFAULT,
        *,
        idempotency_key: str | None = None,
    ) -> NewSecret:
        """Give an endpoint a new secret. For some time messages are also signed with the old one.

        Raises what `create` raises. An old secret that cannot be decrypted any more signs nothing.
        """
        parameters.between(overlap_seconds, "overlap_seconds", 0, limits.WEBHOOK_SECRET_OVERLAP_SECONDS_MAX)
        until = datetime.now(UTC) + timedelta(seconds=overlap_seconds)
        keys = self._engine.secret_keys

        async def act(drawn: bytes) -> Webhook:
            secret = _read_drawn(drawn).secret

            def rotated(endpoint: WebhookEndpoint) -> WebhookEndpoint:
                if endpoint.secret == secret:
                    # An earlier try of this request has rotated it. All shards must know it.
                    return endpoint
                is_readable = keys.why_unreadable(endpoint.secret, self._tenant, identifier) is None
                return endpoint._replace(
                    secret=secret,
                    previous_secret=endpoint.secret if is_readable else None,
                    previous_secret_until=until if is_readable else None,
                )

            return webhook_view(await self._change(identifier, rotated))

        kept = Kept(self._tenant, idempotency_key, self._draw(identifier))
        asked = Asked("rotate_webhook", {"id": identifier, "overlap_seconds": overlap_seconds})
        webhook, drawn = await self._engine.kept_requests.once(kept, asked, act, Webhook)
        return NewSecret(webhook, self._revealed(drawn))

    async def test(self, identifier: str, *, idempotency_key: str | None = None) -> Attempt:
        """Send a test message once, now."""

        async def act(drawn: bytes) -> Attempt:
            return await self._test(identifier, drawn.decode())

        kept = Kept(self._tenant, idempotency_key, secrets.token_hex(_TEST_BYTES).encode())
        attempt, _ = await self._engine.kept_requests.once(
            kept, Asked("test_webhook", {"id": identifier}), act, Attempt
        )
        return attempt

    async def _test(self, identifier: str, name: str) -> Attempt:
        endpoint = await self._find(identifier)
        now = datetime.now(UTC)
        message = test_message(endpoint, f"test_{name}", now)
        try:
            valid = self._engine.secret_keys.secrets(endpoint, now)
        except SecretUnreadableError as error:
            return Attempt(None, f"not sent: {error}", 0.0)
        return await self._engine.webhook_sender.send(endpoint.url, message, valid)

    async def progress(self, identifier: str) -> Told:
        """The progress of an endpoint on each shard that can be reached."""
        endpoint = await self._find(identifier)
        deliveries: list[WebhookProgress] = []
        unreachable_shards: list[int] = []
        for shard in self._engine.router.shards:
            try:
                found = await WebhookStore(shard.database).progress([identifier])
            except UnavailableError:
                unreachable_shards.append(shard.number)
            else:
                deliveries += [self._progress(endpoint, shard.number, progress) for progress in found]
        return Told(deliveries, unreachable_shards)

    async def replay(
        self, identifier: str, shard_number: int, position: int, *, idempotency_key: str | None = None
    ) -> WebhookProgress:
        """Deliver a shard's log again from a position on, inclusive. A parked delivery goes on there.

        Raises:
            ParameterError: there is no such shard, or no such position yet.
            UnavailableError: the shard cannot be reached.
        """

        async def act(_: bytes) -> WebhookProgress:
            return await self._replay(identifier, shard_number, position)

        asked = Asked("replay_webhook", {"id": identifier, "shard": shard_number, "position": position})
        return await self._once(idempotency_key, asked, act, WebhookProgress)

    async def _replay(self, identifier: str, shard_number: int, position: int) -> WebhookProgress:
        endpoint = await self._find(identifier)
        shard = self._shard(shard_number)
        head = await shard.reader.head_position()
        parameters.between(position, "position", 1, head + 1)
        store = WebhookStore(shard.database)
        await store.begin([identifier])
        if not await store.replay(identifier, position - 1):
            raise WebhookNotFoundError(identifier)
        (progress,) = await store.progress([identifier])
        return self._progress(endpoint, shard_number, progress)

    def _progress(self, endpoint: WebhookEndpoint, shard: int, progress: Progress) -> WebhookProgress:
        trouble = self._engine.secret_keys.why_unreadable(endpoint.secret, endpoint.tenant, endpoint.id)
        return WebhookProgress(
            shard,
            progress.position,
            progress.head,
            _delivery_state(endpoint, progress, waits=bool(progress.attempts or trouble)),
            progress.attempts,
            progress.failing_since,
            progress.next_attempt_at,
            progress.parked_at,
            trouble or progress.last_error,
        )

    async def _once(
        self,
        idempotency_key: str | None,
        asked: Asked,
        act: Callable[[bytes], Awaitable[Answer]],
        kind: type[Answer],
    ) -> Answer:
        """Carry out a call for which nothing is drawn."""
        answer, _ = await self._engine.kept_requests.once(
            Kept(self._tenant, idempotency_key), asked, act, kind
        )
        return answer

    def _draw(self, endpoint: str) -> bytes:
        """A new secret for an endpoint, encrypted; raises WebhookKeyMissingError."""
        secret = Secret(secrets.token_bytes(limits.WEBHOOK_SECRET_BYTES))
        stored = self._engine.secret_keys.encrypt(secret, self._tenant, endpoint)
        return msgspec.msgpack.encode(_Drawn(endpoint, stored))

    def _revealed(self, drawn: bytes) -> str:
        """The secret that was drawn, as receivers get it; raises SecretUnreadableError."""
        endpoint, stored = _read_drawn(drawn)
        return self._engine.secret_keys.decrypt(stored, self._tenant, endpoint).text()

    def _shard(self, number: int) -> Shard:
        for shard in self._engine.router.shards:
            if shard.number == number:
                return shard
        known = ", ".join(str(shard.number) for shard in self._engine.router.shards)
        raise ParameterError("shard", f"expected one of {known}")

    async def _all(self) -> list[WebhookEndpoint]:
        return await self._engine.directory.webhook_endpoints(self._tenant)

    async def _find(self, identifier: str, *, removed_too: bool = False) -> WebhookEndpoint:
        endpoint = await self._engine.directory.newest_endpoint(self._tenant, identifier)
        if endpoint is None or (endpoint.state == "removed" and not removed_too):
            raise WebhookNotFoundError(identifier)
        return endpoint

    async def _change(
        self,
        identifier: str,
        change: Callable[[WebhookEndpoint], WebhookEndpoint],
        *,
        removed_too: bool = False,
        if_match: Collection[str] | None = None,
    ) -> WebhookEndpoint:
        """Change the current version of an endpoint, so that changes of others at the same time are kept."""
        for _ in range(limits.WEBHOOK_CHANGE_TRIES_MAX):
            endpoint = await self._find(identifier, removed_too=removed_too)
            if if_match is not None and webhook_view(endpoint).tag not in if_match:
                raise PreconditionFailedError(REFUSAL_DETAILS[RefusalCode.PRECONDITION_FAILED])
            # Only one can make the next version, so nothing has changed since the tag was compared.
            changed = change(endpoint)._replace(version=endpoint.version + 1, changed_at=datetime.now(UTC))
            if await self._engine.directory.put_webhook_endpoint(changed):
                return changed
        raise UnavailableError(f"others change endpoint {identifier} all the time: send the request again")


def _place(endpoint: WebhookEndpoint) -> str:
    """The place in the list: oldest first."""
    return f"{endpoint.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f} {endpoint.id}"


class _Changes(NamedTuple):
    """The fields of an endpoint to change; UNSET leaves one as it is."""

    url: str | Unset
    kinds: Sequence[str] | Unset
    owner: str | None | Unset
    state: str | Unset


class _Drawn(NamedTuple):
    """What is drawn at random for a request: the identifier of an endpoint, and its new secret."""

    endpoint: str
    secret: StoredSecret


def _read_drawn(drawn: bytes) -> _Drawn:
    return msgspec.msgpack.decode(drawn, type=_Drawn)


def _kinds(texts: Sequence[str]) -> tuple[Kind, ...]:
    return tuple(
        sorted({parameters.choice(text, KINDS, f"kinds[{index}]") for index, text in enumerate(texts)})
    )


def _owner(owner: str | None) -> str | None:
    return None if owner is None else parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)


def _delivery_state(endpoint: WebhookEndpoint, progress: Progress, *, waits: bool) -> DeliveryState:
    if progress.parked_at:
        return "parked"
    if endpoint.state == "paused":
        return "paused"
    return "retrying" if waits else "delivering"
