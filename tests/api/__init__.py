"""The HTTP API, over real HTTP, against a real server process on a real PostgreSQL."""

import pytest

pytest.register_assert_rewrite("tests.api.books", "tests.api.client")
