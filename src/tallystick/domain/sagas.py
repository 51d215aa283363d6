"""Sagas: transfers that cross shards. Section 7 of the design.

The payer's shard reserves, the payee's shard credits, and the payer's shard finalizes or releases. The saga's record
is the payer's log: a row when it is reserved, a row when it ends. What happened on the payee's shard is recorded
there, under a request key that is derived from the saga.

(The pattern is that of H. Garcia-Molina and K. Salem, "Sagas", 1987, with a reservation in place of a compensation
that somebody could see.)
"""

import hashlib
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from tallystick.domain.commands import NO_NOTE, Kind, Leg, Note, RequestKey
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.domain.outcomes import Refused

_KEY_BYTES: Final = 16
# No tenant has the number 0, so no tenant's key is ever one of these.
_CREDIT_KEY: Final = bytes(4) + b"credit of saga "
_CLEARING: Final = b"tallystick clearing "


class SagaStatus(IntEnum):
    """What the payer's log says of a saga. The numbers are stored: they never change."""

    RESERVED = 1
    FINALIZED = 2
    RELEASED = 3


class SagaEvent(IntEnum):
    """What the payer's shard may be asked to do with a saga."""

    FINALIZE = 1
    RELEASE = 2


# What the payer's log allows. What is not here is a bug in whoever drove the saga, and changes nothing.
SAGA_TRANSITIONS: Final[dict[tuple[SagaStatus, SagaEvent], SagaStatus]] = {
    (SagaStatus.RESERVED, SagaEvent.FINALIZE): SagaStatus.FINALIZED,
    (SagaStatus.RESERVED, SagaEvent.RELEASE): SagaStatus.RELEASED,
}


class Stage(StrEnum):
    """How far a saga is, seen over both of its shards."""

    RESERVED = "reserved"
    CREDITED = "credited"
    REFUSED = "refused"
    FINALIZED = "finalized"
    RELEASED = "released"


class Step(StrEnum):
    """What is done next. Each step is one idempotent command in a batch of one shard."""

    CREDIT = "credit"
    REFUSE_CREDIT = "refuse the credit"
    FINALIZE = "finalize"
    RELEASE = "release"


class Found(StrEnum):
    """What a step came to."""

    POSTED = "posted"
    REFUSED = "refused"


# The whole saga: in this stage, after this step came to this, it is in that stage. Whoever drives one follows this
# table, and the diagram in the documentation is drawn from it. Nothing leads from `reserved` to `released` but by
# a refusal that is recorded under the credit's key: that is why a credit that comes late can do nothing.
SAGA_STAGES: Final[dict[tuple[Stage, Step, Found], Stage]] = {
    (Stage.RESERVED, Step.CREDIT, Found.POSTED): Stage.CREDITED,
    (Stage.RESERVED, Step.CREDIT, Found.REFUSED): Stage.REFUSED,
    (Stage.RESERVED, Step.REFUSE_CREDIT, Found.REFUSED): Stage.REFUSED,
    (Stage.RESERVED, Step.REFUSE_CREDIT, Found.POSTED): Stage.CREDITED,
    (Stage.CREDITED, Step.FINALIZE, Found.POSTED): Stage.FINALIZED,
    (Stage.REFUSED, Step.RELEASE, Found.POSTED): Stage.RELEASED,
}


def next_step(stage: Stage, *, give_up: bool = False) -> Step | None:
    """What to do with a saga in this stage; None when it has ended.

    `give_up` asks for the money back. It does not release: it records a refusal first, unless the credit is there.
    """
    match stage:
        case Stage.RESERVED:
            return Step.REFUSE_CREDIT if give_up else Step.CREDIT
        case Stage.CREDITED:
            return Step.FINALIZE
        case Stage.REFUSED:
            return Step.RELEASE
        case _:
            return None


class SagaTerms(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was agreed when it was reserved; it never changes.

    `operation` is the kind that the caller asked for. `refers_to` is the position of the hold that is captured, and
    `final` whether that is its last capture; or of the transaction that is reversed.
    """

    operation: Kind
    other_shard: int
    debits: tuple[Leg, ...]
    credits: tuple[Leg, ...]
    refers_to: int | None = None
    final: bool = False


class SagaState(msgspec.Struct, frozen=True, gc=False):
    """A saga as its newest row tells it. `saga` is the position that reserved, `position` the newest change.

    `counterpart` is the position of the credit on the other shard, once it is finalized; `refusal` why it was
    released. `reserved_at_us` is microseconds since 1970 in UTC.
    """

    saga: int
    position: int
    status: SagaStatus
    tenant: int
    terms: SagaTerms
    note: Note = NO_NOTE
    reserved_at_us: int = 0
    counterpart: int | None = None
    refusal: Refused | None = None


def credit_request(saga: int) -> RequestKey:
    """The key under which the payee's shard records what became of a saga's credit. `saga` is its identifier."""
    name = saga.to_bytes(8, "big")
    return RequestKey(hashlib.sha256(_CREDIT_KEY + name).digest()[:_KEY_BYTES], name)


@lru_cache(maxsize=4096)
def clearing_account(shard: int, other_shard: int, tenant: int, asset: str) -> int:
    """The account in `shard` that carries the other side of what a tenant moves to and from `other_shard`."""
    digest = hashlib.sha256(_CLEARING + b"%d %d %s" % (other_shard, tenant, asset.encode())).digest()
    return make_identifier(shard, 1 + int.from_bytes(digest[:8], "big") % LOCAL_NUMBER_MAX)


def clearing_owner(other_shard: int) -> str:
    """Who a clearing account belongs to, in words."""
    return f"clearing with shard {other_shard}"


_encode_terms = msgspec.json.Encoder().encode
_terms_decoder = msgspec.json.Decoder(SagaTerms)


def write_terms(terms: SagaTerms) -> str:
    """Terms as they stand in the log."""
    return _encode_terms(terms).decode()


def read_terms(text: str) -> SagaTerms:
    """Terms as they stood in the log."""
    return _terms_decoder.decode(text)
