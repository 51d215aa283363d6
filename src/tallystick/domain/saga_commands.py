"""The steps of a saga as commands. Whoever drives the saga sends them; no caller does."""

from tallystick.domain.commands import NO_NOTE, Command, Note
from tallystick.domain.outcomes import Refused
from tallystick.domain.sagas import SagaTerms


class Credit(Command, frozen=True, gc=False, kw_only=True):
    """Second step of a saga, on the payees' shard: pay them from the clearing account of the payer's shard."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class RefuseCredit(Command, frozen=True, gc=False, kw_only=True):
    """Record a refusal under the key of a saga's credit, so that it can never be posted; or find that it was."""

    saga: int


class Finalize(Command, frozen=True, gc=False, kw_only=True):
    """Let the money leave: the credit was posted at a position of the other shard, or all shards have promised."""

    saga: int
    terms: SagaTerms
    counterpart: int | None


class Release(Command, frozen=True, gc=False, kw_only=True):
    """Last step of a saga whose credit is recorded as refused, or that was given up and is revoked."""

    saga: int
    terms: SagaTerms
    refusal: Refused


class Promise(Command, frozen=True, gc=False, kw_only=True):
    """Second step of a split saga, on each payees' shard: the money comes, and cannot be spent yet."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class Confirm(Command, frozen=True, gc=False, kw_only=True):
    """Let what a shard promised be spent: the saga is finalized."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class Revoke(Command, frozen=True, gc=False, kw_only=True):
    """Take back what a shard promised: the saga is given up."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class GiveUp(Command, frozen=True, gc=False, kw_only=True):
    """Record that a split saga will never be finalized, unless it is already."""

    saga: int
    terms: SagaTerms
    refusal: Refused


class Settle(Command, frozen=True, gc=False, kw_only=True):
    """Last step of a split saga whose promises are all confirmed."""

    saga: int
    terms: SagaTerms
