"""What came to a shard for a saga, beside what the saga's terms say."""

from collections.abc import Iterator, Mapping, Sequence

from tallystick.domain.commands import Leg
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import Prefix, format_identifier, shard_of
from tallystick.verify.checks.crossing_rows import Credit, SagaRecord
from tallystick.verify.checks.terms import totals


def wrong_credit(
    credit: Credit, record: SagaRecord, legs: Sequence[Leg], derivation: Derivation, *, sign: int = 1
) -> Iterator[str]:
    """What is wrong with what came, beside the legs that its saga says of this shard (sign -1: which went again)."""
    if credit.tenant != record.tenant:
        yield f"which is of tenant {record.tenant}, for tenant {credit.tenant}"
    moved = {account: (amount, asset) for account, amount, asset in credit.entries}
    expected = {leg.account: (sign * leg.amount, leg.asset or "") for leg in legs}
    for asset, total in totals(legs).items():
        clearing = derivation.clearing(shard_of(record.crossing), record.tenant, asset)
        # Which of the two it is, the shard's own verification tells.
        account = clearing.former if clearing.former in moved else clearing.account
        expected[account] = (-sign * total, asset)
    if moved != expected or len(moved) != len(credit.entries):
        yield f"whose terms say {_in_words(expected)}; its entries say {_in_words(moved)}"


def _in_words(moves: Mapping[int, tuple[int, str]]) -> str:
    return ", ".join(
        f"{amount} {asset} for account {format_identifier(Prefix.ACCOUNT, account)}"
        for account, (amount, asset) in sorted(moves.items())
    )
