"""The steps of a saga as commands. Only the drivers of sagas send them; callers do not."""

from tallystick.domain.commands import NO_NOTE, Command, Note
from tallystick.domain.outcomes import Refused
from tallystick.domain.sagas import SagaTerms


class Credit(Command, frozen=True, gc=False, kw_only=True):
    """Second step of a saga, on the payees' shard: pay them from the clearing account of the payer's shard."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class RefuseCredit(Command, frozen=True, gc=False, kw_only=True):
    """Record a refusal under the key of a saga's credit, so that it can never be posted.

    If it was posted, the answer is the posted credit.
    """

    saga: int


class Finalize(Command, frozen=True, gc=False, kw_only=True):
    """Debit the payers: the credit was posted at a position of the other shard, or all shards have promised."""

    saga: int
    terms: SagaTerms
    counterpart: int | None


class Release(Command, frozen=True, gc=False, kw_only=True):
    """Last step of a saga whose credit was refused, or that was given up and whose promises are revoked."""

    saga: int
    terms: SagaTerms
    refusal: Refused


class Promise(Command, frozen=True, gc=False, kw_only=True):
    """Second step of a split saga, on each payees' shard: credit the payees, and hold the amount."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class Confirm(Command, frozen=True, gc=False, kw_only=True):
    """Release the hold on a promised amount, because the saga is finalized."""

    saga: int
    terms: SagaTerms
    note: Note = NO_NOTE


class Revoke(Command, frozen=True, gc=False, kw_only=True):
    """Take back a promised amount, because the saga is given up."""

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
