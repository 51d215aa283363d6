"""JSON as it goes over the wire: the types that validate requests, write answers and make the OpenAPI document.

Amounts are strings of integer minor units, because many JSON readers lose digits of numbers above 2^53.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix
from tallystick.domain.outcomes import Refused
from tallystick.service import views


def _identifier(prefix: Prefix, what: str) -> Any:
    return Meta(
        description=what,
        extra_json_schema={"pattern": f"^{prefix}_[0-9a-hjkmnp-tv-z]{{14}}$"},
    )


def _text(what: str, characters_max: int) -> Any:
    return Meta(description=what, extra_json_schema={"minLength": 1, "maxLength": characters_max})


# The schemas tell what is right; the service checks it, because its messages say more.
AccountId = Annotated[str, _identifier(Prefix.ACCOUNT, "An account.")]
TransactionId = Annotated[str, _identifier(Prefix.TRANSACTION, "A transaction.")]
HoldId = Annotated[str, _identifier(Prefix.HOLD, "A hold.")]
Amount = (
    Annotated[
        str,
        Meta(
            description="Minor units: 1250 is $12.50.",
            examples=["1250"],
            extra_json_schema={"pattern": "^[1-9][0-9]{0,18}$"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": limits.AMOUNT_MAX})]
)
SignedAmount = (
    Annotated[
        str,
        Meta(
            description="Minor units: negative for a debit, positive for a credit.",
            examples=["-1250"],
            extra_json_schema={"pattern": "^-?[1-9][0-9]{0,18}$"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": -limits.AMOUNT_MAX, "maximum": limits.AMOUNT_MAX})]
)
Bound = (
    Annotated[
        str,
        Meta(
            description="A balance in minor units, or null for no bound.",
            examples=["0"],
            extra_json_schema={"pattern": "^(0|-?[1-9][0-9]{0,18})$"},
        ),
    ]
    | Annotated[int, Meta(extra_json_schema={"minimum": limits.INT64_MIN, "maximum": limits.INT64_MAX})]
    | None
)
AmountOut = Annotated[str, Meta(description="Minor units.", examples=["1250"])]
AssetCode = Annotated[str, Meta(description="An asset's code.", examples=["USD"])]
Owner = Annotated[str, _text("Whose account it is, in your own words.", limits.OWNER_CHARACTERS_MAX)]
Description = Annotated[str, _text("For people.", limits.DESCRIPTION_CHARACTERS_MAX)] | None
Metadata = Annotated[
    dict[str, str],
    Meta(
        description=f"Up to {limits.METADATA_KEYS_MAX} keys, {limits.METADATA_BYTES_MAX} bytes as JSON.",
        extra_json_schema={"maxProperties": limits.METADATA_KEYS_MAX},
    ),
]
PastTime = Annotated[datetime, Meta(description="A time that is not in the future, with its zone.")]
Position = Annotated[int, Meta(description="Where in the shard's log: 1, 2, 3, … without a gap.")]


class OpenAccountRequest(Struct, forbid_unknown_fields=True):
    """A new account."""

    owner: Owner
    asset: AssetCode
    kind: Literal["wallet", "system"] = "wallet"
    min_balance: Bound | UnsetType = UNSET
    max_balance: Bound = None
    metadata: Metadata | None = None


class ChangeAccountRequest(Struct, forbid_unknown_fields=True):
    """What shall be otherwise about an account; what is left out stays."""

    status: Literal["open", "frozen", "closed"] | UnsetType = UNSET
    min_balance: Bound | UnsetType = UNSET
    max_balance: Bound | UnsetType = UNSET
    metadata: Metadata | None | UnsetType = UNSET


class TransferRequest(Struct, forbid_unknown_fields=True):
    """Money from source to destination."""

    source: AccountId
    destination: AccountId
    amount: Amount
    asset: AssetCode
    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class BatchTransferRequest(Struct, forbid_unknown_fields=True):
    """One transfer of a batch, with a key of its own."""

    idempotency_key: Annotated[
        str, _text("Your name for this transfer.", limits.IDEMPOTENCY_KEY_CHARACTERS_MAX)
    ]
    source: AccountId
    destination: AccountId
    amount: Amount
    asset: AssetCode
    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class TransferBatchRequest(Struct, forbid_unknown_fields=True):
    """Many transfers in one call: each on its own, or (`atomic`) all or none."""

    transfers: Annotated[
        list[BatchTransferRequest],
        Meta(extra_json_schema={"minItems": 1, "maxItems": limits.TRANSFERS_PER_BATCH_REQUEST_MAX}),
    ]
    atomic: bool = False


class EntryRequest(Struct, forbid_unknown_fields=True):
    """One account's part in a transaction."""

    account: AccountId
    amount: SignedAmount


class TransactionRequest(Struct, forbid_unknown_fields=True):
    """Several entries that sum to zero in each asset."""

    entries: Annotated[
        list[EntryRequest],
        Meta(extra_json_schema={"minItems": 2, "maxItems": limits.ENTRIES_PER_TRANSACTION_MAX}),
    ]
    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class HoldRequest(Struct, forbid_unknown_fields=True):
    """Money of the source, set aside for the destination."""

    source: AccountId
    destination: AccountId
    amount: Amount
    asset: AssetCode
    expires_in: Annotated[
        int,
        Meta(
            description="Seconds until what is left is released.",
            extra_json_schema={"minimum": 1, "maximum": limits.HOLD_SECONDS_MAX},
        ),
    ] = limits.HOLD_SECONDS_DEFAULT
    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class CaptureRequest(Struct, forbid_unknown_fields=True):
    """How much of a hold to pay out: all that is left when no amount is named."""

    amount: Amount | None = None
    final: Annotated[bool, Meta(description="Release what remains after this capture.")] = False
    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class VoidRequest(Struct, forbid_unknown_fields=True):
    """A note on why the hold is released."""

    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class ReverseRequest(Struct, forbid_unknown_fields=True):
    """How much of a transaction to reverse: all that is left when no amount is named."""

    amount: Amount | None = None
    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class AssetRequest(Struct, forbid_unknown_fields=True):
    """An asset of your own: points, credits, game money."""

    code: Annotated[
        str,
        Meta(examples=["POINTS"], extra_json_schema={"pattern": "^[A-Z][A-Z0-9_]{2,11}$"}),
    ]
    scale: Annotated[
        int,
        Meta(
            description="Digits after the point.",
            extra_json_schema={"minimum": 0, "maximum": limits.ASSET_SCALE_MAX},
        ),
    ]
    name: Annotated[str, _text("For people.", limits.ASSET_NAME_CHARACTERS_MAX)]


class Page(Struct, forbid_unknown_fields=True):
    """Which part of a list."""

    cursor: Annotated[str, Meta(description="next_cursor of the page before.")] | None = None
    limit: Annotated[
        int,
        Meta(
            description="Items on a page.",
            extra_json_schema={"minimum": 1, "maximum": limits.PAGE_ROWS_MAX},
        ),
    ] = limits.PAGE_ROWS_DEFAULT


class AccountsQuery(Struct, forbid_unknown_fields=True):
    """Whose accounts, and which part of the list."""

    owner: Owner
    cursor: Annotated[str, Meta(description="next_cursor of the page before.")] | None = None
    limit: Annotated[
        int,
        Meta(
            description="Items on a page.",
            extra_json_schema={"minimum": 1, "maximum": limits.PAGE_ROWS_MAX},
        ),
    ] = limits.PAGE_ROWS_DEFAULT


class BalanceQuery(Struct, forbid_unknown_fields=True):
    """Which balance: the newest one unless a time is named."""

    at: Annotated[datetime, Meta(description="As it was recorded at this time.")] | None = None
    effective_at: (
        Annotated[
            datetime,
            Meta(description="Of what was effective by this time. Costs as much as the history is long."),
        ]
        | None
    ) = None
    min_position: (
        Annotated[
            int,
            Meta(
                description="At least as new as this position, such as that of a transfer's answer.",
                extra_json_schema={"minimum": 0, "maximum": limits.LOCAL_NUMBER_MAX},
            ),
        ]
        | None
    ) = None
    consistency: Annotated[
        Literal["fast", "strong"], Meta(description="`strong` always reads the database.")
    ] = "fast"


class Account(Struct):
    """A place where one asset is held. `available` is the balance less what is held."""

    id: AccountId
    owner: Owner
    asset: AssetCode
    kind: Literal["wallet", "system"]
    status: Literal["open", "frozen", "closed"]
    min_balance: AmountOut | None
    max_balance: AmountOut | None
    metadata: Metadata
    balance: AmountOut
    held: AmountOut
    available: AmountOut
    position: Position


class Entry(Struct):
    """One account's change: debits are negative. `balance` and `held_after` are as of right after it."""

    account: AccountId
    asset: AssetCode
    amount: AmountOut
    balance: AmountOut
    held: AmountOut
    held_after: AmountOut


class Transaction(Struct):
    """One event in the log. `refers_to` is the hold it is about, or the transaction it reverses."""

    id: TransactionId
    kind: str
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    entries: list[Entry]


class Hold(Struct):
    """Money set aside. `transaction` is the newest change of the hold."""

    id: HoldId
    status: Literal["open", "captured", "voided", "expired"]
    source: AccountId
    destination: AccountId
    amount: AmountOut
    captured: AmountOut
    remaining: AmountOut
    expires_at: datetime
    transaction: TransactionId
    position: Position


class Balance(Struct):
    """A balance as of a position. `held` is null where it is not known for the time asked about."""

    account: AccountId
    asset: AssetCode
    balance: AmountOut
    held: AmountOut | None
    available: AmountOut | None
    position: Position


class HistoryEntry(Struct):
    """One line of an account's history, with the running balance after it."""

    transaction: TransactionId
    kind: str
    position: Position
    recorded_at: datetime
    effective_at: datetime
    refers_to: str | None
    description: str | None
    metadata: Metadata
    amount: AmountOut
    balance: AmountOut
    held: AmountOut
    held_after: AmountOut


class Asset(Struct):
    """What is counted. `scale` is the number of digits after the point."""

    code: AssetCode
    scale: int
    name: str
    custom: bool


class AccountList(Struct):
    """One page of accounts."""

    items: list[Account]
    next_cursor: str | None


class HistoryList(Struct):
    """One page of an account's history, newest first."""

    items: list[HistoryEntry]
    next_cursor: str | None


class AssetList(Struct):
    """All assets."""

    items: list[Asset]


class Refusal(Struct):
    """Why one transfer of a batch was refused."""

    code: str
    param: str | None
    detail: str


class TransferOutcome(Struct):
    """What one transfer of a batch came to: one of the two."""

    transaction: Transaction | None
    refusal: Refusal | None


class TransferBatch(Struct):
    """One outcome for each transfer, in their order."""

    outcomes: list[TransferOutcome]


class ShardHealth(Struct):
    """Whether one shard can be written to."""

    shard: int
    available: bool


class Health(Struct):
    """Whether this server can serve."""

    status: Literal["ok", "unavailable"]
    shards: list[ShardHealth]


class Problem(Struct, omit_defaults=True):
    """A problem document (RFC 9457). `code` is stable; `param` names what of the request it is about."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    param: str | None = None


def account(view: views.Account) -> Account:
    """An account's JSON."""
    return Account(
        id=view.id,
        owner=view.owner,
        asset=view.asset,
        kind=view.kind,  # type: ignore[arg-type]
        status=view.status,  # type: ignore[arg-type]
        min_balance=_amount(view.min_balance),
        max_balance=_amount(view.max_balance),
        metadata=_metadata(view.metadata),
        balance=str(view.balance),
        held=str(view.held),
        available=str(view.available),
        position=view.position,
    )


def transaction(view: views.Transaction) -> Transaction:
    """A transaction's JSON."""
    return Transaction(
        view.id,
        view.kind,
        view.position,
        view.recorded_at,
        view.effective_at,
        view.refers_to,
        view.description,
        _metadata(view.metadata),
        [
            Entry(
                entry.account,
                entry.asset,
                str(entry.amount),
                str(entry.balance),
                str(entry.held),
                str(entry.held_after),
            )
            for entry in view.entries
        ],
    )


def hold(view: views.Hold) -> Hold:
    """A hold's JSON."""
    return Hold(
        id=view.id,
        status=view.status,  # type: ignore[arg-type]
        source=view.source,
        destination=view.destination,
        amount=str(view.amount),
        captured=str(view.captured),
        remaining=str(view.remaining),
        expires_at=view.expires_at,
        transaction=view.transaction,
        position=view.position,
    )


def balance(view: views.Balance) -> Balance:
    """A balance's JSON."""
    return Balance(
        account=view.account,
        asset=view.asset,
        balance=str(view.balance),
        held=_amount(view.held),
        available=_amount(view.available),
        position=view.position,
    )


def history_entry(view: views.HistoryEntry) -> HistoryEntry:
    """The JSON of one line of an account's history."""
    return HistoryEntry(
        transaction=view.transaction,
        kind=view.kind,
        position=view.position,
        recorded_at=view.recorded_at,
        effective_at=view.effective_at,
        refers_to=view.refers_to,
        description=view.description,
        metadata=_metadata(view.metadata),
        amount=str(view.amount),
        balance=str(view.balance),
        held=str(view.held),
        held_after=str(view.held_after),
    )


def asset(view: views.Asset) -> Asset:
    """An asset's JSON."""
    return Asset(view.code, view.scale, view.name, view.custom)


def outcome(view: views.Transaction | Refused) -> TransferOutcome:
    """The JSON of what one transfer of a batch came to."""
    if isinstance(view, Refused):
        return TransferOutcome(None, Refusal(view.code.text, view.param, view.detail))
    return TransferOutcome(transaction(view), None)


def _amount(value: int | None) -> str | None:
    return None if value is None else str(value)


def _metadata(value: Mapping[str, str]) -> dict[str, str]:
    return value if isinstance(value, dict) else dict(value)
