"""Identifiers that are well formed and name nothing."""

from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.limits import LOCAL_NUMBER_MAX

ACCOUNT = format_identifier(Prefix.ACCOUNT, make_identifier(1, 1))
HOLD = format_identifier(Prefix.HOLD, make_identifier(1, LOCAL_NUMBER_MAX))
TRANSACTION = format_identifier(Prefix.TRANSACTION, make_identifier(1, LOCAL_NUMBER_MAX))
ACCOUNT_ELSEWHERE = format_identifier(Prefix.ACCOUNT, make_identifier(4095, 1))
HOLD_ELSEWHERE = format_identifier(Prefix.HOLD, make_identifier(4095, 1))
TRANSACTION_ELSEWHERE = format_identifier(Prefix.TRANSACTION, make_identifier(4095, 1))
"""On a shard that is not configured: whether they name something is not known here."""
