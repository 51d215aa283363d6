"""Metrics of the ledger, for Prometheus."""

from typing import Final

from tallystick.background.figures import Combined, counter, gauge, histogram

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

BATCH_COMMANDS: Final = histogram(
    "tallystick_batch_commands",
    "Commands in one batch.",
    ["shard"],
    (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
)
BATCH_SECONDS: Final = histogram(
    "tallystick_batch_seconds", "From taking a batch to its commit.", ["shard"], _SECONDS
)
QUEUED_COMMANDS: Final = gauge(
    "tallystick_queued_commands", "Commands waiting for the batcher.", ["shard"], Combined.SUM
)
HEAD_POSITION: Final = gauge(
    "tallystick_head_position", "Last position that this server wrote.", ["shard"], Combined.LARGEST_EVER
)
CLOCK_DIFFERENCE_SECONDS: Final = gauge(
    "tallystick_clock_difference_seconds",
    "Difference of clocks that stops writing to a shard; 0 while they agree.",
    ["shard"],
    Combined.NEWEST,
)
SHARD_UP: Final = gauge(
    "tallystick_shard_up",
    "1 while the shard is connected, answers and accepts writes; 0 if it does not for one of the workers.",
    ["shard"],
    Combined.SMALLEST,
)
OUTCOMES: Final = counter("tallystick_outcomes", "Commands answered, by outcome.", ["shard", "outcome"])
UNSERVED: Final = counter("tallystick_unserved", "Requests not taken, by reason.", ["shard", "reason"])
RATE_LIMITED: Final = counter(
    "tallystick_rate_limited",
    "Requests refused by a limit, by budget and by the limit's owner.",
    ["budget", "whose"],
)
COMMITS_UNKNOWN: Final = counter(
    "tallystick_commits_unknown", "Commits whose result had to be looked up in the log.", ["shard"]
)
FAULTY_COMMANDS: Final = counter(
    "tallystick_faulty_commands",
    "ALARM: commands that failed alone because a rule or the database refused them unexpectedly.",
    ["shard"],
)
FAULTY_ANSWERS: Final = counter(
    "tallystick_faulty_answers",
    "ALARM: requests to the API that were answered with 500 because of a bug, by HTTP method.",
    ["method"],
)
KEYS_UNCLAIMED: Final = counter(
    "tallystick_keys_unclaimed",
    "Idempotency keys of requests to other shards, not claimed because this shard, their home, was away.",
    ["shard"],
)
HOLDS_EXPIRED: Final = counter(
    "tallystick_holds_expired", "Holds released because they had expired.", ["shard"]
)
SAGAS: Final = counter(
    "tallystick_sagas", "Sagas that ended in this process, by their end.", ["shard", "end"]
)
SAGAS_OPEN: Final = gauge(
    "tallystick_sagas_open", "Sagas that had not ended when last looked at.", ["shard"], Combined.NEWEST
)
SAGAS_OLDEST_SECONDS: Final = gauge(
    "tallystick_sagas_oldest_seconds",
    "Age of the oldest saga that had not ended when last looked at.",
    ["shard"],
    Combined.NEWEST,
)
SAGAS_STUCK: Final = counter(
    "tallystick_sagas_stuck", "ALARM: attempts at sagas that failed because of a bug.", ["shard"]
)
PREPARED_RESOLVED: Final = counter(
    "tallystick_prepared_resolved",
    "Halves of two-phase batches that were left prepared, and how they were ended.",
    ["shard", "end"],
)
FEED_LAG_POSITIONS: Final = gauge(
    "tallystick_feed_lag_positions",
    "Positions in the log that were not sent to streams yet.",
    ["shard"],
    Combined.LARGEST,
)
FEED_LAG_SECONDS: Final = gauge(
    "tallystick_feed_lag_seconds",
    "Time since streams were level with the log, 0 while they are.",
    ["shard"],
    Combined.LARGEST,
)
STREAMS_OPEN: Final = gauge("tallystick_streams_open", "Streams that are open now.", ["stream"], Combined.SUM)
STREAM_EVENTS: Final = counter("tallystick_stream_events", "Events sent to streams.", ["stream"])
STREAMS_DROPPED: Final = counter(
    "tallystick_streams_dropped", "Streams that were dropped because their client did not read.", ["stream"]
)
CACHE_HITS: Final = counter("tallystick_cache_hits", "Balances answered from the cache.", ["shard"])
CACHE_MISSES: Final = counter(
    "tallystick_cache_misses",
    "Balances that the cache did not have, or not as new as requested.",
    ["shard"],
)
CACHE_ERRORS: Final = counter(
    "tallystick_cache_errors", "ALARM: calls that the cache refused or did not answer.", ["shard"]
)
CACHE_WRITES: Final = counter("tallystick_cache_writes", "Balances set in the cache.", ["shard"])
CACHE_DROPPED: Final = counter(
    "tallystick_cache_dropped",
    "Balances that were not written because the cache was slow or could not be reached.",
    ["shard"],
)
CACHE_DRIFT: Final = counter(
    "tallystick_cache_drift", "ALARM: cached balances that differed from the log.", ["shard"]
)
CACHE_LAG_POSITIONS: Final = gauge(
    "tallystick_cache_lag_positions",
    "Positions of the log that the tailer has not passed.",
    ["shard"],
    Combined.LARGEST,
)
CACHE_LAG_SECONDS: Final = gauge(
    "tallystick_cache_lag_seconds",
    "Since when the tailer has not been at the end of the log.",
    ["shard"],
    Combined.LARGEST,
)
