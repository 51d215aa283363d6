"""The rules by example: the ledger before, a command, the ledger after. Begin with test_transfers.py."""

import pytest

pytest.register_assert_rewrite("tests.unit.rules.notation")
