"""Keys whose requests go to another shard. Their home shard records only that they are in use."""

from tallystick.domain.books import Books
from tallystick.domain.commands import ClaimKey
from tallystick.domain.outcomes import Outcome, RefusalCode, refuse


def claim_key(_: Books, command: ClaimKey) -> Outcome:
    """Record a refusal under the key, so that no other request can ever use it."""
    return refuse(RefusalCode.IDEMPOTENCY_KEY_CLAIMED, str(command.shard))
