"""Sagas: transfers between shards.

The payer's shard reserves, the payee's shard credits, and the payer's shard finalizes or releases. The payer's log is
the record of the saga: it has one row for the reservation and one for the end. The payee's shard records the credit
under a request key that is derived from the saga.

A saga with payees on several shards is split. Each payees' shard promises before the payer's shard finalizes, and
confirms afterwards. Or the payer's log records that the saga is given up, and each promise is revoked.

(The pattern is that of H. Garcia-Molina and K. Salem, "Sagas", 1987. A reservation takes the place of a compensation,
so that no intermediate state can be spent.)
"""

import hashlib
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from tallystick.domain.commands import NO_NOTE, Kind, Leg, Note, RequestKey
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.invariants import required
from tallystick.domain.outcomes import Asked, Refused
from tallystick.domain.system_owners import SystemAccount

_KEY_BYTES: Final = 16
# No tenant has the number 0, so these keys never equal the key of a tenant.
_CREDIT_KEY: Final = bytes(4) + b"credit of saga "
_PROMISE_END_KEY: Final = bytes(4) + b"end of promise of saga "

SEVERAL_SHARDS: Final = 0
"""The value of `other_shard` in the terms of a split saga."""


class SagaStatus(IntEnum):
    """The status of a saga in the payer's log. The numbers are stored and never change."""

    RESERVED = 1
    FINALIZED = 2
    RELEASED = 3
    GIVEN_UP = 4
    SETTLED = 5


class SagaEvent(IntEnum):
    """The changes of a saga on the payer's shard."""

    FINALIZE = 1
    RELEASE = 2
    GIVE_UP = 3
    SETTLE = 4


_ENDED: Final = frozenset({SagaStatus.RELEASED, SagaStatus.SETTLED})

# What the payer's log allows. Anything else is a bug of the driver, and changes nothing.
SAGA_TRANSITIONS: Final[dict[tuple[SagaStatus, SagaEvent], SagaStatus]] = {
    (SagaStatus.RESERVED, SagaEvent.FINALIZE): SagaStatus.FINALIZED,
    (SagaStatus.RESERVED, SagaEvent.RELEASE): SagaStatus.RELEASED,
}
# The same for a split saga. It is finalized or given up, never both, and it is given up before it is released. So no
# driver revokes a promise of a saga that another driver finalizes.
SPLIT_TRANSITIONS: Final[dict[tuple[SagaStatus, SagaEvent], SagaStatus]] = {
    (SagaStatus.RESERVED, SagaEvent.FINALIZE): SagaStatus.FINALIZED,
    (SagaStatus.FINALIZED, SagaEvent.SETTLE): SagaStatus.SETTLED,
    (SagaStatus.RESERVED, SagaEvent.GIVE_UP): SagaStatus.GIVEN_UP,
    (SagaStatus.GIVEN_UP, SagaEvent.RELEASE): SagaStatus.RELEASED,
}


class Stage(StrEnum):
    """The progress of a saga over all of its shards. Stages from `promised` on belong to split sagas."""

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
    """The next step of a saga. Each step is one idempotent command in a batch of one shard."""

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


class StepResult(StrEnum):
    """The result of a step. A step on several shards is posted when all of them have posted it.

    (`REFUSE_PROMISE` is refused when all shards have refused it. Otherwise there are promises to revoke.)
    """

    POSTED = "posted"
    REFUSED = "refused"


# The whole saga: from a stage, a step and its result lead to the next stage. Drivers follow this table, and the
# diagram in the documentation is drawn from it. The only way from `reserved` to `released` records a refusal under
# the credit's key. That is why a credit that comes late has no effect.
SAGA_STAGES: Final[dict[tuple[Stage, Step, StepResult], Stage]] = {
    (Stage.RESERVED, Step.CREDIT, StepResult.POSTED): Stage.CREDITED,
    (Stage.RESERVED, Step.CREDIT, StepResult.REFUSED): Stage.REFUSED,
    (Stage.RESERVED, Step.REFUSE_CREDIT, StepResult.REFUSED): Stage.REFUSED,
    (Stage.RESERVED, Step.REFUSE_CREDIT, StepResult.POSTED): Stage.CREDITED,
    (Stage.CREDITED, Step.FINALIZE, StepResult.POSTED): Stage.FINALIZED,
    (Stage.REFUSED, Step.RELEASE, StepResult.POSTED): Stage.RELEASED,
}

# The same for a split saga. From `reserved` one way leads through the promises of all shards, the other through
# `given_up`. The payer's log decides which way is taken.
SPLIT_STAGES: Final[dict[tuple[Stage, Step, StepResult], Stage]] = {
    (Stage.RESERVED, Step.PROMISE, StepResult.POSTED): Stage.PROMISED,
    (Stage.RESERVED, Step.PROMISE, StepResult.REFUSED): Stage.REFUSED,
    (Stage.RESERVED, Step.GIVE_UP, StepResult.POSTED): Stage.GIVEN_UP,
    (Stage.RESERVED, Step.GIVE_UP, StepResult.REFUSED): Stage.FINALIZED,
    (Stage.PROMISED, Step.FINALIZE, StepResult.POSTED): Stage.FINALIZED,
    (Stage.PROMISED, Step.FINALIZE, StepResult.REFUSED): Stage.GIVEN_UP,
    (Stage.FINALIZED, Step.CONFIRM, StepResult.POSTED): Stage.CONFIRMED,
    (Stage.CONFIRMED, Step.SETTLE, StepResult.POSTED): Stage.SETTLED,
    (Stage.REFUSED, Step.GIVE_UP, StepResult.POSTED): Stage.GIVEN_UP,
    (Stage.GIVEN_UP, Step.REFUSE_PROMISE, StepResult.POSTED): Stage.REVOKING,
    (Stage.GIVEN_UP, Step.REFUSE_PROMISE, StepResult.REFUSED): Stage.REVOKED,
    (Stage.REVOKING, Step.REVOKE, StepResult.POSTED): Stage.REVOKED,
    (Stage.REVOKED, Step.RELEASE, StepResult.POSTED): Stage.RELEASED,
}
# The stage at which a driver resumes a split saga, by its status in the payer's log.
SPLIT_BEGINNINGS: Final[dict[SagaStatus, Stage]] = {
    SagaStatus.RESERVED: Stage.RESERVED,
    SagaStatus.FINALIZED: Stage.FINALIZED,
    SagaStatus.GIVEN_UP: Stage.GIVEN_UP,
    SagaStatus.RELEASED: Stage.RELEASED,
    SagaStatus.SETTLED: Stage.SETTLED,
}
_SPLIT_STEPS: Final[dict[Stage, Step]] = {
    stage: step for stage, step, result in SPLIT_STAGES if (stage, step) != (Stage.RESERVED, Step.GIVE_UP)
}


def next_split_step(stage: Stage, *, give_up: bool = False) -> Step | None:
    """The next step of a split saga in this stage; None when it has ended. `give_up` asks for the money back."""
    return Step.GIVE_UP if give_up and stage is Stage.RESERVED else _SPLIT_STEPS.get(stage)


def next_step(stage: Stage, *, give_up: bool = False) -> Step | None:
    """The next step of a saga in this stage; None when it has ended.

    `give_up` asks for the money back. It first records a refusal under the credit's key, unless the credit was
    posted.
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
    """The terms of a saga. They are written when it is reserved, and never change.

    `operation` is the kind that the caller asked for. `refers_to` is the position of the captured hold (`final`: this
    is its last capture) or of the reversed transaction. `opens` are the accounts of system owners among the credits;
    the credit opens them if they do not exist. `reverses` is the identifier of the reversed payment; earlier versions
    did not write it. `other_shard` is SEVERAL_SHARDS if the credits are on several shards.
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
    def reference(self) -> int:
        """`refers_to`, for a capture or a reversal; raises BrokenInvariantError if it is missing."""
        return required(self.refers_to, f"what the terms of a saga ({self.operation.text}) refer to")

    @property
    def is_split(self) -> bool:
        """Whether the payees are on several shards, so that each shard has to promise first."""
        return self.other_shard == SEVERAL_SHARDS

    @property
    def payee_shards(self) -> tuple[int, ...]:
        """The shards of the payees, in the order of their numbers."""
        if self.other_shard != SEVERAL_SHARDS:
            return (self.other_shard,)
        return tuple(sorted({shard_of(leg.account) for leg in self.credits}))

    def credits_on(self, shard: int) -> tuple[Leg, ...]:
        """The credits on one shard."""
        return tuple(leg for leg in self.credits if shard_of(leg.account) == shard)


class SagaState(msgspec.Struct, frozen=True, gc=False):
    """A saga as of its newest row. `saga` is the position that reserved, `position` that of its newest change.

    `counterpart` is the position of the credit on the other shard once the saga is finalized (None for a split saga).
    `refusal` is the reason why it was given up or released. `reserved_at_us` is microseconds since 1970 in UTC.
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
        """Whether no step is left on any shard."""
        return self.status in _ENDED or (self.status is SagaStatus.FINALIZED and not self.terms.is_split)


def credit_request(saga: int) -> RequestKey:
    """The key under which a payees' shard records its credit or promise. `saga` is the identifier of the saga."""
    name = saga.to_bytes(8, "big")
    return RequestKey(hashlib.sha256(_CREDIT_KEY + name).digest()[:_KEY_BYTES], name)


def promise_end_request(saga: int, step: Step) -> RequestKey:
    """The key under which a payees' shard records the end of a promise.

    Both ends share it, so only one can happen.
    """
    name = saga.to_bytes(8, "big")
    key = hashlib.sha256(_PROMISE_END_KEY + name).digest()[:_KEY_BYTES]
    return RequestKey(key, name + step.value.encode())


def asked_of(shard: int, terms: SagaTerms) -> Asked | None:
    """What the caller asked for, from the terms of a saga; None if they do not name the reversed payment."""
    match terms.operation:
        case Kind.HOLD_CAPTURED:
            return Asked(terms.operation, make_identifier(shard, terms.reference))
        case Kind.REVERSAL:
            return None if terms.reverses is None else Asked(terms.operation, terms.reverses)
        case _:
            return Asked(terms.operation, None)


_encode_terms = msgspec.json.Encoder().encode
_terms_decoder = msgspec.json.Decoder(SagaTerms)


def write_terms(terms: SagaTerms) -> str:
    """Write terms as they are kept in the log."""
    return _encode_terms(terms).decode()


def read_terms(text: str) -> SagaTerms:
    """Read terms from the log."""
    return _terms_decoder.decode(text)
