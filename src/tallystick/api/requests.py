"""What callers send: the types that validate bodies and queries, and that the OpenAPI document is made from."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.api.fields import Amount, Bound, Description, Party, PastTime, SignedAmount, number
from tallystick.domain import limits
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
                "An account or an owner: an owner who is new will live on the same shard.",
                limits.OWNER_CHARACTERS_MAX,
            ),
        ]
        | None
    ) = None


class ChangeAccountRequest(Struct, forbid_unknown_fields=True):
    """What shall be otherwise about an account; what is left out stays."""

    status: Literal["open", "frozen", "closed"] | UnsetType = UNSET
    min_balance: Bound | UnsetType = UNSET
    max_balance: Bound | UnsetType = UNSET
    metadata: Metadata | None | UnsetType = UNSET


class Noted(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a caller may write beside any movement of money."""

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
    asset: Annotated[AssetCode | None, Meta(description="For a system owner only: an account holds one.")] = (
        None
    )


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
        number("Seconds until what is left is released.", 1, limits.HOLD_SECONDS_MAX),
    ] = limits.HOLD_SECONDS_DEFAULT


class CaptureRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """How much of a hold to pay out: all that is left when no amount is named."""

    amount: Amount | None = None
    final: Annotated[bool, Meta(description="Release what remains after this capture.")] = False


class VoidRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """A note on why the hold is released."""


class ReverseRequest(Noted, forbid_unknown_fields=True, kw_only=True):
    """How much of a transaction to reverse: all that is left when no amount is named."""

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


class Page(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which part of a list."""

    cursor: Annotated[str, Meta(description="next_cursor of the page before.")] | None = None
    limit: Annotated[
        int,
        number("Items on a page.", 1, limits.PAGE_ROWS_MAX),
    ] = limits.PAGE_ROWS_DEFAULT


class AccountsQuery(Page, forbid_unknown_fields=True, kw_only=True):
    """Whose accounts, and which part of the list."""

    owner: Owner


class EntriesQuery(Page, forbid_unknown_fields=True, kw_only=True):
    """Which part of a history: a line for each payment, or for each stage of what crosses shards."""

    stages: Annotated[
        bool,
        Meta(description="Each stage of what crosses shards as it is, instead of one line for each payment."),
    ] = False


class TransactionQuery(Struct, forbid_unknown_fields=True):
    """Which view of what crosses shards: the whole payment, or one stage of it."""

    stages: Annotated[
        bool,
        Meta(
            description="A stage of what crosses shards as it is, instead of the payment that it is part of."
        ),
    ] = False


class EventsQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which part of a shard's log, and what of it."""

    shard: (
        Annotated[
            int,
            number(
                "Whose log; left out where there is one shard, or with accounts, which say it.",
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
                "The position after which to begin: a page at 0, a stream at the head, unless said.",
                0,
                limits.LOCAL_NUMBER_MAX,
            ),
        ]
        | None
    ) = None
    limit: Annotated[
        int,
        number("Events on a page; a stream has no pages.", 1, limits.PAGE_ROWS_MAX),
    ] = limits.PAGE_ROWS_DEFAULT
    account: Annotated[
        list[AccountId],
        Meta(
            description="What moved, opened or changed one of these: repeated, or with commas between.",
            extra_json_schema={"maxItems": limits.FEED_ACCOUNTS_MAX},
        ),
    ] = []
    owner: Owner | None = None
    kind: Annotated[
        list[Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]],
        Meta(
            description="Of one of these kinds: repeated, or with commas between. A kind of stages, such as "
            "`transfer_reserved`, asks for stages."
        ),
    ] = []
    stages: Annotated[
        bool,
        Meta(
            description="Each stage of what crosses shards as the log has it, instead of each account's part of the "
            "payment once."
        ),
    ] = False


class BalancesRequest(Struct, forbid_unknown_fields=True):
    """Whose balances."""

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
            description="By account: at least as new as this position, such as that of a transfer's answer.",
            extra_json_schema={"maxProperties": limits.BALANCES_PER_REQUEST_MAX},
        ),
    ] = {}
    consistency: Annotated[
        Literal["fast", "strong"], Meta(description="`strong` always reads the database.")
    ] = "fast"


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
            number(
                "At least as new as this position, such as that of a transfer's answer.",
                0,
                limits.LOCAL_NUMBER_MAX,
            ),
        ]
        | None
    ) = None
    consistency: Annotated[
        Literal["fast", "strong"], Meta(description="`strong` always reads the database.")
    ] = "fast"
