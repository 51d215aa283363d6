"""A server that starts takes no requests before it knows which shards it can reach."""

from tests.api.server import Installation, Server

STARTS = 3


def test_the_first_answer_is_not_a_refusal(installation: Installation) -> None:
    for start in range(STARTS):
        with Server(installation, f"start {start}") as server:
            assert server.not_ready == []
