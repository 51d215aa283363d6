"""Messages to a generator of HTTP requests in another process, and its answers: one line of JSON each."""

import msgspec

from tallystick_bench.payments import Recipe


class Order(msgspec.Struct, frozen=True):
    """What to send, and to which address. `batch_size` 0: one transfer per request, or with `reads` one balance."""

    url: str
    api_key: str
    recipe: Recipe
    batch_size: int
    reads: bool = False


class Turn(msgspec.Struct, frozen=True):
    """One turn: for a time, or for a number of transfers."""

    seconds: float
    transfers: int
    concurrency: int


class TurnReport(msgspec.Struct, frozen=True):
    """The result of a turn, counted in transfers or balances. A latency is that of a request."""

    done: int
    seconds: float
    latencies_seconds: list[float]
    refused: int
    failed: int
