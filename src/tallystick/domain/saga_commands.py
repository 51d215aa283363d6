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
    """Last step of a saga whose credit was posted at a position of the other shard."""

    saga: int
    terms: SagaTerms
    counterpart: int


class Release(Command, frozen=True, gc=False, kw_only=True):
    """Last step of a saga whose credit is recorded as refused."""

    saga: int
    terms: SagaTerms
    refusal: Refused
