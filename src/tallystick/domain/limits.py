"""Every bound of the product, in one place: what a request may carry, and how long or how much a part may take.

Amounts are minor units, sizes are bytes unless the name says characters, times carry their unit in the name.
"""

from typing import Final

# Numbers that the ledger stores: PostgreSQL's bigint.
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
AMOUNT_MAX: Final = INT64_MAX

# Identifiers: 12 bits of shard above 51 bits of position or random number; together a positive int64.
SHARD_NUMBER_MIN: Final = 1
SHARD_NUMBER_MAX: Final = 2**12 - 1
LOCAL_NUMBER_MAX: Final = 2**51 - 1

# What one request may carry.
BODY_BYTES_MAX: Final = 1024 * 1024
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
OWNER_CHARACTERS_MAX: Final = 255
DESCRIPTION_CHARACTERS_MAX: Final = 1024
METADATA_KEYS_MAX: Final = 16
METADATA_KEY_CHARACTERS_MAX: Final = 64
METADATA_BYTES_MAX: Final = 4 * 1024
ENTRIES_PER_TRANSACTION_MAX: Final = 100
TRANSFERS_PER_BATCH_REQUEST_MAX: Final = 5_000
PAGE_ROWS_DEFAULT: Final = 50
PAGE_ROWS_MAX: Final = 500
ASSET_NAME_CHARACTERS_MAX: Final = 64
ASSET_SCALE_MAX: Final = 18
HOLD_SECONDS_DEFAULT: Final = 7 * 24 * 3600
HOLD_SECONDS_MAX: Final = 366 * 24 * 3600

# The batcher of one shard.
QUEUE_COMMANDS_MAX: Final = 16_384
QUEUE_SAGA_STEPS_MAX: Final = 16_384
BATCH_COMMANDS_MAX: Final = 1_000
AHEAD_COMMANDS_MIN: Final = 250
AHEAD_UNITS_AT_A_TIME: Final = 100
KNOWN_ACCOUNTS_MAX: Final = 200_000
KNOWN_SAGAS_MAX: Final = 50_000
WRITE_ATTEMPTS_MAX: Final = 3
COMMIT_RESOLUTION_SECONDS_MAX: Final = 60.0
RECONNECT_DELAY_SECONDS_MIN: Final = 0.05
RECONNECT_DELAY_SECONDS_MAX: Final = 2.0
REQUEST_TIMEOUT_SECONDS: Final = 15.0
DEADLINE_CHECK_SECONDS: Final = 1.0
OVERLOADED_RETRY_AFTER_SECONDS: Final = 1
UNAVAILABLE_RETRY_AFTER_SECONDS: Final = 2
SHUTDOWN_SECONDS_MAX: Final = 20.0

# PostgreSQL, as its clients see it.
CONNECT_TIMEOUT_SECONDS: Final = 5
STATEMENT_TIMEOUT_MS: Final = 30_000
CLOSE_TIMEOUT_SECONDS: Final = 2.0
PEEK_TIMEOUT_SECONDS: Final = 1.0
READ_CONNECTIONS_MAX: Final = 8
READ_WAIT_SECONDS_MAX: Final = 5.0

# Background work.
EXPIRY_INTERVAL_SECONDS: Final = 1.0
EXPIRY_LOOKBACK_SECONDS: Final = 120
EXPIRY_HOLDS_PER_ROUND_MAX: Final = 500
API_KEY_CACHE_SECONDS: Final = 5.0
API_KEY_CACHE_MAX: Final = 10_000
ASSET_CACHE_SECONDS: Final = 5.0
# For how long a shard that did not answer is asked after the others who calls, and which assets there are.
DIRECTORY_SILENCE_SECONDS: Final = 1.0

# Sagas: how long a caller waits, and how the recovery goes about what nobody drives.
SAGA_WAIT_SECONDS_DEFAULT: Final = 5.0
BUSY_HOLD_RETRY_SECONDS: Final = 0.02
SAGA_STOP_SECONDS_MAX: Final = 5.0
RECOVERY_INTERVAL_SECONDS: Final = 0.5
RECOVERY_AGE_SECONDS: Final = 2.0
RECOVERY_SAGAS_AT_A_TIME: Final = 2_000
RECOVERY_SAGAS_WATCHED_MAX: Final = 50_000
RECOVERY_DELAY_SECONDS_MAX: Final = 30.0
RECOVERY_DOUBLINGS_MAX: Final = 16
SAGA_ALARM_SECONDS: Final = 60.0

# Garbage collection of a serving process: collections of short-lived requests, not after every 700 objects.
COLLECTION_THRESHOLDS: Final = (50_000, 20, 100)

# Verification reads the log in slices, so its memory does not grow with the log.
VERIFY_POSITIONS_PER_SLICE: Final = 20_000

# Placing owners on shards, and following the configuration file.
PLACEMENT_ROUND_SECONDS_MAX: Final = 0.25
HOLDING_CONNECTIONS_MAX: Final = 2
OWNER_LOOKUPS_AT_A_TIME: Final = 500
CONFIGURATION_CHECK_SECONDS: Final = 1.0
NODE_NAME_CHARACTERS_MAX: Final = 64
SAGA_WAIT_SECONDS_MIN: Final = 0.1
SAGA_WAIT_SECONDS_MAX: Final = 60.0

# What `tallystick up` starts on one machine.
EMBEDDED_NODES_MAX: Final = 8
EMBEDDED_SHARDS_MAX: Final = 32
NODE_CONNECTIONS_MIN: Final = 30
NODE_CONNECTIONS_PER_SHARD: Final = 30
NODE_PREPARED_MIN: Final = 16
NODE_RESTART_DELAY_SECONDS: Final = 1.0
NODE_RESTART_DELAY_SECONDS_MAX: Final = 30.0

# Two-phase commit between two shards: how long a batch may keep both logs before it is prepared, and when a batch
# that nobody ends is ended by the resolver. (PostgreSQL's clock says how old it is.)
PAIR_QUEUE_COMMANDS_MAX: Final = 16_384
PAIR_LOCKS_SECONDS_MAX: Final = 5.0
PREPARED_AGE_SECONDS_MAX: Final = 2.0
PREPARED_LOOK_SECONDS: Final = 0.5
PREPARED_ALARM_SECONDS: Final = 30.0
HALF_RETRY_SECONDS: Final = 0.02

# The change feed: how far a page looks, what a stream may have before it, and how long it may be silent or stuck.
FEED_POSITIONS_PER_PAGE_MAX: Final = 20_000
FEED_POSITIONS_OF_ACCOUNTS_PER_PAGE_MAX: Final = 200_000
FEED_LOOK_FACTOR: Final = 4
FEED_POSITIONS_PER_READ_MAX: Final = 1_000
FEED_ACCOUNTS_MAX: Final = 1_000
FEED_ACCOUNTS_OF_OWNER_MAX: Final = 10_000
FEED_RECORDS_WAITING_MAX: Final = 512
FEED_PAUSE_SECONDS_MIN: Final = 0.005
FEED_PAUSE_SECONDS_MAX: Final = 0.04
FEED_RETRY_SECONDS: Final = 0.5
STREAMS_MAX: Final = 2_000
STREAM_HEARTBEAT_SECONDS: Final = 5.0
STREAM_WRITE_SECONDS_MAX: Final = 10.0
STREAM_CHUNK_EVENTS_MAX: Final = 100
STREAM_RETRY_MS: Final = 1_000

# The cache. What it answers is never older than CACHE_AGE_MS_MAX: a tailer that cannot keep up that well lets its
# mark run out, and balances are read from PostgreSQL until another one has begun.
CACHE_TIMEOUT_SECONDS: Final = 0.25
# Of several servers, one that hangs is given up in time to ask another: a node, and a Sentinel.
CACHE_NODE_TIMEOUT_SECONDS: Final = 0.15
CACHE_SENTINEL_TIMEOUT_SECONDS: Final = 0.06
CACHE_CIRCUIT_OPEN_SECONDS_MIN: Final = 0.25
CACHE_CIRCUIT_OPEN_SECONDS_MAX: Final = 2.0
CACHE_ALARM_INTERVAL_SECONDS: Final = 10.0
CACHE_WRITE_PAUSE_SECONDS: Final = 0.01
CACHE_CONNECTIONS_MAX: Final = 64
CACHE_BALANCES_PER_CALL_MAX: Final = 4_000
CACHE_PENDING_BALANCES_MAX: Final = 20_000
CACHE_AHEAD_BALANCES_MAX: Final = 20_000
CACHE_AGE_MS_MAX: Final = 10_000
CACHE_STOP_SECONDS_MAX: Final = 2.0
CACHE_LEASE_MS: Final = 2_000
CACHE_TAIL_INTERVAL_SECONDS: Final = 0.1
CACHE_LEASE_INTERVAL_SECONDS: Final = 0.5
CACHE_TAIL_ENTRIES_MAX: Final = 20_000
CACHE_TAIL_POSITIONS_MAX: Final = 2_000
CACHE_LAG_POSITIONS_MAX: Final = 200_000
BALANCES_PER_REQUEST_MAX: Final = 1_000

# Webhooks: what an endpoint may be, how messages are sent to it, and how long they are tried.
WEBHOOK_ENDPOINTS_PER_TENANT_MAX: Final = 100
WEBHOOK_KINDS_REMEMBERED_MAX: Final = 10_000
WEBHOOK_CHANGE_TRIES_MAX: Final = 20
WEBHOOK_URL_CHARACTERS_MAX: Final = 2_048
WEBHOOK_SECRET_BYTES: Final = 32
WEBHOOK_SECRET_OVERLAP_SECONDS_DEFAULT: Final = 24 * 3600
WEBHOOK_SECRET_OVERLAP_SECONDS_MAX: Final = 7 * 24 * 3600
WEBHOOK_LEASE_SECONDS: Final = 1.0
WEBHOOK_LOOK_SECONDS: Final = 0.2
WEBHOOK_POSITIONS_AT_A_TIME: Final = 1_000
WEBHOOK_EVENTS_AT_A_TIME: Final = 100
WEBHOOK_QUERIES_AT_A_TIME: Final = 2
WEBHOOK_RESOLVE_SECONDS_MAX: Final = 5.0
WEBHOOK_RESOLVE_TRIES: Final = 2
WEBHOOK_CONNECT_SECONDS_MAX: Final = 5.0
WEBHOOK_SEND_SECONDS_MAX: Final = 15.0
WEBHOOK_ANSWER_BYTES_MAX: Final = 16 * 1024
WEBHOOK_ANSWER_SECONDS_MAX: Final = 1.0
WEBHOOK_ERROR_CHARACTERS_MAX: Final = 300
WEBHOOK_RETRY_DELAY_SECONDS_MIN: Final = 1.0
WEBHOOK_RETRY_DELAY_SECONDS_MAX: Final = 3_600.0
WEBHOOK_TROUBLE_SECONDS_MAX: Final = 60.0
WEBHOOK_RETRY_SECONDS_MAX: Final = 3 * 24 * 3600.0
