"""The requests of callers: types that validate bodies and queries. The OpenAPI document is made from them."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.api.fields import (
    Amount,
    Bound,
    Description,
    Party,
    PastTime,
    SignedAmount,
    number,
    page_limit,
)
from tallystick.domain import limits
from tallystick.domain.access import Action
from tallystick.domain.commands import KINDS
from tallystick.views.fields import AccountId, AssetCode, Metadata, Owner, text


class OpenAccountRequest(Struct, forbid_unknown_fields=True):
    """A new account."""

    owner: Owner
    asset: AssetCode
    kind: Literal["wallet", "system"] = "wallet"
    min_balance: Bound | UnsetType = UNSET
    max_balance: Bound = None
    metadata: Metadata | None = None
    near: (
        Annotated[
            str,
            text(
                "An account or an owner: a new owner is placed on the same shard.",
                limits.OWNER_CHARACTERS_MAX,
            ),
        ]
        | None
    ) = None


def more_of_opening(body: OpenAccountRequest) -> Action | None:
    """What opening this account takes beside opening an ordinary one."""
    least = body.min_balance
    if body.kind == "system" or least is None:
        return Action.OPEN_WITHOUT_BOUNDS
    # Whatever does not read as zero or more. A text that is no number is refused later.
    if isinstance(least, str):
        return None if least.isdecimal() else Action.OPEN_WITHOUT_BOUNDS
    return Action.OPEN_WITHOUT_BOUNDS if isinstance(least, int) and least < 0 else None


class ChangeAccountRequest(Struct, forbid_unknown_fields=True):
    """Changes of an account. Fields that are left out stay."""

    status: Literal["open", "frozen", "closed"] | UnsetType = UNSET
    min_balance: Bound | UnsetType = UNSET
    max_balance: Bound | UnsetType = UNSET
    metadata: Metadata | None | UnsetType = UNSET


class MergeAccountRequest(Struct, forbid_unknown_fields=True):
    """Changes of an account as a merge patch: null removes a bound, all metadata, or one key of it."""

    status: Literal["open", "frozen", "closed"] | UnsetType = UNSET
    min_balance: Bound | UnsetType = UNSET
    max_balance: Bound | UnsetType = UNSET
    metadata: (
        Annotated[
            dict[str, str | None], Meta(description="Keys that are left out stay, and null removes a key.")
        ]
        | None
        | UnsetType
    ) = UNSET


def more_of_changing(body: ChangeAccountRequest | MergeAccountRequest) -> Action | None:
    """What changing an account takes if its bounds are changed."""
    keeps_bounds = body.min_balance is UNSET and body.max_balance is UNSET
    return None if keeps_bounds else Action.CHANGE_BOUNDS


class Noted(Struct, forbid_unknown_fields=True, kw_only=True):
    """The note that a caller may add to any movement of money."""

    description: Description = None
    metadata: Metadata | None = None
    effective_at: PastTime | None = None


class TransferRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """Money from source to destination."""

    source: Party
    destination: Party
    amount: Amount
    asset: AssetCode


class BatchTransferRequest(TransferRequest, forbid_unknown_fields=True, kw_only=True):
    """One transfer of a batch, with a key of its own."""

    idempotency_key: Annotated[
        str, text("Your name for this transfer.", limits.IDEMPOTENCY_KEY_CHARACTERS_MAX)
    ]


class TransferBatchRequest(Struct, forbid_unknown_fields=True):
    """Many transfers in one call: each on its own, or (`atomic`) all or none."""

    transfers: Annotated[
        list[BatchTransferRequest],
        Meta(extra_json_schema={"minItems": 1, "maxItems": limits.TRANSFERS_PER_BATCH_REQUEST_MAX}),
    ]
    atomic: bool = False


class EntryRequest(Struct, forbid_unknown_fields=True):
    """One account's part in a transaction."""

    account: Party
    amount: SignedAmount
    asset: Annotated[
        AssetCode | None, Meta(description="For a system owner only, because an account holds one asset.")
    ] = None


class TransactionRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """Several entries that sum to zero in each asset."""

    entries: Annotated[
        list[EntryRequest],
        Meta(extra_json_schema={"minItems": 2, "maxItems": limits.ENTRIES_PER_TRANSACTION_MAX}),
    ]


class HoldRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """Money of the source, set aside for the destination."""

    source: AccountId
    destination: Party
    amount: Amount
    asset: AssetCode
    expires_in: Annotated[
        int,
        number("Seconds until the rest is released.", 1, limits.HOLD_SECONDS_MAX),
    ] = limits.HOLD_SECONDS_DEFAULT


class CaptureRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """The amount of a hold to pay out; without an amount, all that is left."""

    amount: Amount | None = None
    final: Annotated[bool, Meta(description="Release what remains after this capture.")] = False


class VoidRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """A note on why the hold is released."""


class ReverseRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """The amount of a transaction to reverse; without an amount, all that is left."""

    amount: Amount | None = None


class AssetRequest(Struct, forbid_unknown_fields=True):
    """An asset of your own: points, credits, game money."""

    code: Annotated[
        str,
        Meta(examples=["POINTS"], extra_json_schema={"pattern": "^[A-Z][A-Z0-9_]{2,11}$"}),
    ]
    scale: Annotated[
        int,
        number("Digits after the point.", 0, limits.ASSET_SCALE_MAX),
    ]
    name: Annotated[str, text("For people.", limits.ASSET_NAME_CHARACTERS_MAX)]


class PageQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of a list."""

    cursor: Annotated[str, Meta(description="`next_cursor` of the last page.")] | None = None
    limit: Annotated[
        int,
        page_limit("Items on a page."),
    ] = limits.PAGE_ROWS_DEFAULT


class AccountsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """The owner, and the page of the list."""

    owner: Owner


class EntriesQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """The page of a history, with a line for each payment or for each stage of a transfer between shards."""

    stages: Annotated[
        bool,
        Meta(description="Each stage of a transfer between shards, instead of one line for each payment."),
    ] = False


class TransactionQuery(Struct, forbid_unknown_fields=True):
    """The view of a transfer between shards: the whole payment, or one stage of it."""

    stages: Annotated[
        bool,
        Meta(
            description="The stage of a transfer between shards, instead of the payment that it belongs to."
        ),
    ] = False


class EventsQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """The part of a shard's log, and the wanted events."""

    shard: (
        Annotated[
            int,
            number(
                "The shard. Not needed if there is only one, or with accounts, which name it.",
                1,
                limits.SHARD_NUMBER_MAX,
            ),
        ]
        | None
    ) = None
    after: (
        Annotated[
            int,
            number(
                "The position after which to begin. Default: 0 for a page, the head for a stream.",
                0,
                limits.LOCAL_NUMBER_MAX,
            ),
        ]
        | None
    ) = None
    limit: Annotated[
        int,
        page_limit("Events on a page; a stream has no pages."),
    ] = limits.PAGE_ROWS_DEFAULT
    account: Annotated[
        list[AccountId],
        Meta(
            description="Only events of these accounts: repeated, or with commas between.",
            extra_json_schema={"maxItems": limits.FEED_ACCOUNTS_MAX},
        ),
    ] = []
    owner: Owner | None = None
    kind: Annotated[
        list[Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]],
        Meta(
            description="Only these kinds: repeated, or with commas between. A kind of stages, such as "
            "`transfer_reserved`, asks for stages."
        ),
    ] = []
    stages: Annotated[
        bool,
        Meta(
            description="Each stage of a transfer between shards, as in the log, instead of one event for each "
            "account's part of the payment."
        ),
    ] = False


Consistency = Annotated[
    Literal["fast", "strong", "standby"],
    Meta(
        description="`strong` always reads the database. `standby` always reads a standby of the shard, which may be "
        "behind: the answer has `source` `standby`, or is refused. Give a position to bound its age. Example: "
        "`GET /v1/accounts/{id}/balance?consistency=standby&min_position=1234`."
    ),
]


class BalancesRequest(Struct, forbid_unknown_fields=True):
    """The accounts of the balances."""

    accounts: Annotated[
        list[AccountId],
        Meta(extra_json_schema={"minItems": 1, "maxItems": limits.BALANCES_PER_REQUEST_MAX}),
    ]
    min_positions: Annotated[
        dict[
            AccountId,
            Annotated[int, number("A position of the account's shard.", 0, limits.LOCAL_NUMBER_MAX)],
        ],
        Meta(
            description="By account: the balance is at least as new as this position, such as that of a transfer's "
            "answer.",
            extra_json_schema={"maxProperties": limits.BALANCES_PER_REQUEST_MAX},
        ),
    ] = {}
    consistency: Consistency = "fast"


class BalanceQuery(Struct, forbid_unknown_fields=True):
    """The time of the balance: the newest one by default."""

    at: Annotated[datetime, Meta(description="The balance as it was recorded at this time.")] | None = None
    effective_at: (
        Annotated[
            datetime,
            Meta(description="The balance by effective time. The cost grows with the length of the history."),
        ]
        | None
    ) = None
    min_position: (
        Annotated[
            int,
            number(
                "The balance is at least as new as this position, such as that of a transfer's answer.",
                0,
                limits.LOCAL_NUMBER_MAX,
            ),
        ]
        | None
    ) = None
    consistency: Consistency = "fast"
