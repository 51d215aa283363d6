"""The independent oracle: a naive model of the ledger, and what is needed to compare the real one with it."""

import pytest

pytest.register_assert_rewrite("tests.oracle.harness")
