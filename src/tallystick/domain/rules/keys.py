"""Keys whose requests are answered by another shard: their home records only that they are taken."""

from tallystick.domain.books import Books
from tallystick.domain.commands import ClaimKey
from tallystick.domain.outcomes import Outcome, RefusalCode, refuse


def claim_key(_: Books, command: ClaimKey) -> Outcome:
    """Refuse the key to every other request, for ever: that is what is recorded under it."""
    return refuse(RefusalCode.IDEMPOTENCY_KEY_CLAIMED, str(command.shard))
