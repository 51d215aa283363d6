"""Sagas: transfers that cross shards. Section 7 of the design.

The payer's shard reserves, the payee's shard credits, and the payer's shard finalizes or releases. The saga's record
is the payer's log: a row when it is reserved, a row when it ends. What happened on the payee's shard is recorded
there, under a request key that is derived from the saga.

A saga with payees on several shards is split: each of their shards promises before the payer's finalizes, and
confirms afterwards; or the payer's log says that it is given up, and then each promise is revoked.

(The pattern is that of H. Garcia-Molina and K. Salem, "Sagas", 1987, with a reservation in place of a compensation
that somebody could see.)
"""

import hashlib
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from tallystick.domain.commands import NO_NOTE, Kind, Leg, Note, RequestKey
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.outcomes import Asked, Refused
from tallystick.domain.system_owners import SystemAccount

_KEY_BYTES: Final = 16
# No tenant has the number 0, so no tenant's key is ever one of these.
_CREDIT_KEY: Final = bytes(4) + b"credit of saga "
_PROMISE_END_KEY: Final = bytes(4) + b"end of promise of saga "

SEVERAL_SHARDS: Final = 0
"""Stands for the other shard in the terms of a saga whose credits are on several."""


class SagaStatus(IntEnum):
    """What the payer's log says of a saga. The numbers are stored: they never change."""

    RESERVED = 1
    FINALIZED = 2
    RELEASED = 3
    GIVEN_UP = 4
    SETTLED = 5


class SagaEvent(IntEnum):
    """What the payer's shard may be asked to do with a saga."""

    FINALIZE = 1
    RELEASE = 2
    GIVE_UP = 3
    SETTLE = 4


_ENDED: Final = frozenset({SagaStatus.RELEASED, SagaStatus.SETTLED})

# What the payer's log allows. What is not here is a bug in whoever drove the saga, and changes nothing.
SAGA_TRANSITIONS: Final[dict[tuple[SagaStatus, SagaEvent], SagaStatus]] = {
    (SagaStatus.RESERVED, SagaEvent.FINALIZE): SagaStatus.FINALIZED,
    (SagaStatus.RESERVED, SagaEvent.RELEASE): SagaStatus.RELEASED,
}
# The same for a saga that is split. It is finalized or given up, never both, and nothing is released that was not
# given up before: so no driver revokes a promise of a saga that another one finalizes.
SPLIT_TRANSITIONS: Final[dict[tuple[SagaStatus, SagaEvent], SagaStatus]] = {
    (SagaStatus.RESERVED, SagaEvent.FINALIZE): SagaStatus.FINALIZED,
    (SagaStatus.FINALIZED, SagaEvent.SETTLE): SagaStatus.SETTLED,
    (SagaStatus.RESERVED, SagaEvent.GIVE_UP): SagaStatus.GIVEN_UP,
    (SagaStatus.GIVEN_UP, SagaEvent.RELEASE): SagaStatus.RELEASED,
}


class Stage(StrEnum):
    """How far a saga is, seen over all of its shards. Those from `promised` on are of a saga that is split."""

    RESERVED = "reserved"
    CREDITED = "credited"
    REFUSED = "refused"
    FINALIZED = "finalized"
    RELEASED = "released"
    PROMISED = "promised"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    GIVEN_UP = "given_up"
    REVOKING = "revoking"
    REVOKED = "revoked"


class Step(StrEnum):
    """What is done next. Each step is one idempotent command in a batch of one shard."""

    CREDIT = "credit"
    REFUSE_CREDIT = "refuse the credit"
    FINALIZE = "finalize"
    RELEASE = "release"
    PROMISE = "promise"
    CONFIRM = "confirm"
    SETTLE = "settle"
    GIVE_UP = "give up"
    REFUSE_PROMISE = "refuse what is not promised"
    REVOKE = "revoke"


class Found(StrEnum):
    """What a step came to. One that several shards take was posted when all posted it.

    (But refusing what is not promised was refused when all refuse: what was promised has to be revoked.)
    """

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

# The same for a saga that is split. From `reserved` one way leads through `promised` by all shards, the other through
# `given_up`; which of them is taken is decided by the payer's log.
SPLIT_STAGES: Final[dict[tuple[Stage, Step, Found], Stage]] = {
    (Stage.RESERVED, Step.PROMISE, Found.POSTED): Stage.PROMISED,
    (Stage.RESERVED, Step.PROMISE, Found.REFUSED): Stage.REFUSED,
    (Stage.RESERVED, Step.GIVE_UP, Found.POSTED): Stage.GIVEN_UP,
    (Stage.RESERVED, Step.GIVE_UP, Found.REFUSED): Stage.FINALIZED,
    (Stage.PROMISED, Step.FINALIZE, Found.POSTED): Stage.FINALIZED,
    (Stage.PROMISED, Step.FINALIZE, Found.REFUSED): Stage.GIVEN_UP,
    (Stage.FINALIZED, Step.CONFIRM, Found.POSTED): Stage.CONFIRMED,
    (Stage.CONFIRMED, Step.SETTLE, Found.POSTED): Stage.SETTLED,
    (Stage.REFUSED, Step.GIVE_UP, Found.POSTED): Stage.GIVEN_UP,
    (Stage.GIVEN_UP, Step.REFUSE_PROMISE, Found.POSTED): Stage.REVOKING,
    (Stage.GIVEN_UP, Step.REFUSE_PROMISE, Found.REFUSED): Stage.REVOKED,
    (Stage.REVOKING, Step.REVOKE, Found.POSTED): Stage.REVOKED,
    (Stage.REVOKED, Step.RELEASE, Found.POSTED): Stage.RELEASED,
}
# Where a driver takes up a split saga that the payer's log says this of.
SPLIT_BEGINNINGS: Final[dict[SagaStatus, Stage]] = {
    SagaStatus.RESERVED: Stage.RESERVED,
    SagaStatus.FINALIZED: Stage.FINALIZED,
    SagaStatus.GIVEN_UP: Stage.GIVEN_UP,
    SagaStatus.RELEASED: Stage.RELEASED,
    SagaStatus.SETTLED: Stage.SETTLED,
}
_SPLIT_STEPS: Final[dict[Stage, Step]] = {
    stage: step for stage, step, found in SPLIT_STAGES if (stage, step) != (Stage.RESERVED, Step.GIVE_UP)
}


def next_split_step(stage: Stage, *, give_up: bool = False) -> Step | None:
    """What to do with a split saga in this stage; None when it has ended. `give_up` asks for the money back."""
    return Step.GIVE_UP if give_up and stage is Stage.RESERVED else _SPLIT_STEPS.get(stage)


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
    `final` whether that is its last capture; or of the transaction that is reversed. `opens` are the system owners'
    accounts among the credits, which the credit opens if they are not yet. `reverses` is the payment that
    is reversed, by its identifier; terms that an earlier version wrote do not say it. `other_shard` is SEVERAL_SHARDS
    where the credits are on more than one.
    """

    operation: Kind
    other_shard: int
    debits: tuple[Leg, ...]
    credits: tuple[Leg, ...]
    refers_to: int | None = None
    final: bool = False
    opens: tuple[SystemAccount, ...] = ()
    reverses: int | None = None

    @property
    def is_split(self) -> bool:
        """Whether several shards are to be credited, so that each has to promise first."""
        return self.other_shard == SEVERAL_SHARDS

    @property
    def payee_shards(self) -> tuple[int, ...]:
        """The shards that are to be credited, in the order of their numbers."""
        if self.other_shard != SEVERAL_SHARDS:
            return (self.other_shard,)
        return tuple(sorted({shard_of(leg.account) for leg in self.credits}))

    def credits_on(self, shard: int) -> tuple[Leg, ...]:
        """What is to be credited on one shard."""
        return tuple(leg for leg in self.credits if shard_of(leg.account) == shard)


class SagaState(msgspec.Struct, frozen=True, gc=False):
    """A saga as its newest row tells it. `saga` is the position that reserved, `position` the newest change.

    `counterpart` is the position of the credit on the other shard, once it is finalized (None where it is split);
    `refusal` why it was given up or released. `reserved_at_us` is microseconds since 1970 in UTC.
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

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to be done, on any shard."""
        return self.status in _ENDED or (self.status is SagaStatus.FINALIZED and not self.terms.is_split)


def credit_request(saga: int) -> RequestKey:
    """The key under which a payees' shard records what became of its credit, or promise. `saga` is its identifier."""
    name = saga.to_bytes(8, "big")
    return RequestKey(hashlib.sha256(_CREDIT_KEY + name).digest()[:_KEY_BYTES], name)


def promise_end_request(saga: int, step: Step) -> RequestKey:
    """The key under which a payees' shard records the end of a promise: one for both ends, so there is only one."""
    name = saga.to_bytes(8, "big")
    key = hashlib.sha256(_PROMISE_END_KEY + name).digest()[:_KEY_BYTES]
    return RequestKey(key, name + step.value.encode())


def asked_of(shard: int, terms: SagaTerms) -> Asked | None:
    """What was asked for, by the terms of a payer's shard; None where they do not say which payment is reversed."""
    match terms.operation:
        case Kind.HOLD_CAPTURED:
            return Asked(terms.operation, make_identifier(shard, terms.refers_to or 0))
        case Kind.REVERSAL:
            return None if terms.reverses is None else Asked(terms.operation, terms.reverses)
        case _:
            return Asked(terms.operation, None)


_encode_terms = msgspec.json.Encoder().encode
_terms_decoder = msgspec.json.Decoder(SagaTerms)


def write_terms(terms: SagaTerms) -> str:
    """Terms as they stand in the log."""
    return _encode_terms(terms).decode()


def read_terms(text: str) -> SagaTerms:
    """Terms as they stood in the log."""
    return _terms_decoder.decode(text)
