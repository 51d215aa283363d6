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

# Clocks of databases and servers, which may differ a little; in the configuration it may be more.
CLOCK_TOLERANCE_SECONDS_DEFAULT: Final = 10.0
CLOCK_TOLERANCE_SECONDS_MIN: Final = 1.0

# What one request may carry.
BODY_BYTES_MAX: Final = 1024 * 1024
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
OWNER_CHARACTERS_MAX: Final = 255
SYSTEM_OWNER_CHARACTERS_MAX: Final = 32
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
# Accounts of a tenant: how many there may be, and how they are counted. A count is repeated after so many times
# the time that it took, and not before some seconds.
ACCOUNTS_PER_TENANT_DEFAULT: Final = 10_000_000
ACCOUNTS_COUNT_PATIENCE_SECONDS: Final = 0.25
ACCOUNTS_COUNT_SECONDS_MIN: Final = 10.0
ACCOUNTS_COUNT_PAUSE_FACTOR: Final = 100
ASSETS_PER_TENANT_MAX: Final = 10_000
# How far back a caller may say that something was effective: ten years. The log itself takes what is after 1900.
EFFECTIVE_AT_DAYS_BACK_DEFAULT: Final = 3_653
EFFECTIVE_AT_DAYS_BACK_MAX: Final = 36_525
HOLD_SECONDS_DEFAULT: Final = 7 * 24 * 3600
HOLD_SECONDS_MAX: Final = 366 * 24 * 3600

# The batcher of one shard.
QUEUE_COMMANDS_MAX: Final = 65_536
QUEUE_COMMANDS_PER_TENANT_MAX: Final = 16_384
QUEUE_SAGA_STEPS_MAX: Final = 16_384
BATCH_COMMANDS_MAX: Final = 1_000
# Of a large request, which others need not wait for as a whole; and what a tenant of weight 1 may write in a turn.
PIECE_COMMANDS_MAX: Final = 100
# How often the loop goes round between two pieces of large requests, for all that is smaller.
PIECE_ROUNDS: Final = 3
# Of one tenant in a batch, as long as others have asked for something of the shard a short time ago: who comes next
# waits for what is being written, and for what was decided ahead.
BATCH_COMMANDS_PER_TENANT_MAX: Final = 200
SHARED_SECONDS: Final = 10.0
AHEAD_COMMANDS_MIN: Final = 250
AHEAD_UNITS_AT_A_TIME: Final = 100
KNOWN_ACCOUNTS_MAX: Final = 200_000
KNOWN_SAGAS_MAX: Final = 50_000
SYSTEM_ACCOUNTS_KNOWN_MAX: Final = 50_000
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
POSTGRESQL_VERSION_MIN: Final = 15
MIGRATION_WAIT_MS: Final = 60_000
MIGRATION_LOCK_TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_SECONDS: Final = 5
# How long a server that starts takes no requests until it knows which shards it can reach.
FIRST_CONNECT_SECONDS_MAX: Final = 2.0
STATEMENT_TIMEOUT_MS: Final = 30_000
CLOSE_TIMEOUT_SECONDS: Final = 2.0
# How often two connections are compared to find out whether they share what serves them.
SESSION_LOOKS: Final = 4
PEEK_TIMEOUT_SECONDS: Final = 1.0
READ_CONNECTIONS_MAX: Final = 8
READ_WAIT_SECONDS_MAX: Final = 5.0
# Of the read connections, those that reads of the past, histories and lists may have at once; and who waits for one.
EXPENSIVE_READS_MAX: Final = 2
TURNS_WAITING_PER_TENANT_MAX: Final = 64

# The pulse of a shard: how often it is felt, when the shard counts as silent (so many looks, each so long), and when
# a connection that says nothing is given up. And how long a shard counts as failing after what was written last.
PULSE_INTERVAL_SECONDS: Final = 0.5
PULSE_LOOK_SECONDS: Final = 0.25
PULSE_LOOKS: Final = 4
PULSE_SECONDS_MAX: Final = 4.0
WRITING_SECONDS_MAX: Final = 5.0
FAILING_SECONDS_MAX: Final = 10.0

# How long a request waits for the home of its key, when that is another shard than the one that answers it: when that
# home does not answer, and when it is only busy.
KEY_CLAIM_SECONDS_MAX: Final = 0.5
KEY_CLAIM_BUSY_SECONDS_MAX: Final = 5.0

# Background work: how long a worker pauses after a failure that is a bug, at first and at most; and how often it is
# looked whether a shard was added that needs a worker. And when one that does not stop is told once more.
WORKER_PAUSE_SECONDS_MIN: Final = 0.5
WORKER_PAUSE_SECONDS_MAX: Final = 30.0
WORKER_STOP_SECONDS: Final = 5.0
SHARD_WORKERS_INTERVAL_SECONDS: Final = 0.5
EXPIRY_INTERVAL_SECONDS: Final = 1.0
EXPIRY_LOOKBACK_SECONDS: Final = 120
EXPIRY_HOLDS_PER_ROUND_MAX: Final = 500
API_KEY_CACHE_SECONDS: Final = 5.0
API_KEY_CACHE_MAX: Final = 10_000
ASSET_CACHE_SECONDS: Final = 5.0
# Who calls, and which assets there are, is known to every shard: when the next one is asked as well, for how long one
# that was late is asked after the others, and when all of them are given up.
DIRECTORY_PATIENCE_SECONDS: Final = 0.05
DIRECTORY_SILENCE_SECONDS: Final = 1.0
DIRECTORY_SECONDS_MAX: Final = 5.0

# Test messages to webhook endpoints, which a tenant has sent to whatever receiver it names.
ENDPOINT_TESTS_RATE_DEFAULT: Final = "60/minute"
# Refusals of a tenant that are kept under their keys: each takes some hundred bytes, and money costs none of them.
REFUSALS_RATE_DEFAULT: Final = "6000/minute"
TENANT_WEIGHT_MAX: Final = 100

# Sagas: how long a caller waits, and how the recovery goes about what nobody drives.
SAGA_WAIT_SECONDS_DEFAULT: Final = 5.0
BUSY_HOLD_RETRY_SECONDS: Final = 0.02
BUSY_HOLD_RETRY_AFTER_SECONDS: Final = 1
SAGA_STOP_SECONDS_MAX: Final = 5.0
RECOVERY_INTERVAL_SECONDS: Final = 0.5
RECOVERY_AGE_SECONDS: Final = 2.0
RECOVERY_SAGAS_AT_A_TIME: Final = 2_000
RECOVERY_SAGAS_WATCHED_MAX: Final = 50_000
RECOVERY_DELAY_SECONDS_MAX: Final = 30.0
# An alarm of one sort comes so often in this time at most; a saga that has been open for long is one once in it.
ALARM_SECONDS: Final = 60.0
ALARMS_AT_A_TIME: Final = 20

# Garbage collection of a serving process: not after every 700 objects. The second generation is collected while it is
# small, or all wait while what large requests have in memory is looked through.
COLLECTION_THRESHOLDS: Final = (50_000, 2, 1_000)

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
# How long to wait for the payer's shard, to learn what was asked for of which an earlier version wrote the credit.
EARLIER_CREDITS_WAIT_SECONDS: Final = 1.0
EARLIER_CREDITS_REMEMBERED_MAX: Final = 65_536
# How often a page of a history is read on, past payments that came to nothing.
HISTORY_READS_PER_PAGE_MAX: Final = 8

# What `tallystick up` starts on one machine.
EMBEDDED_NODES_MAX: Final = 8
EMBEDDED_SHARDS_MAX: Final = 32
NODE_CONNECTIONS_MIN: Final = 30
NODE_CONNECTIONS_PER_SHARD: Final = 30
NODE_PREPARED_MIN: Final = 16
NODE_RESTART_DELAY_SECONDS: Final = 1.0
NODE_RESTART_DELAY_SECONDS_MAX: Final = 30.0
API_STARTS_IN_VAIN_MAX: Final = 3

# Two-phase commit between two shards: how long a batch may keep both logs before it is prepared, and when a batch
# that nobody ends is ended by the resolver. (PostgreSQL's clock says how old it is.)
PAIR_QUEUE_COMMANDS_MAX: Final = 16_384
PAIR_QUEUE_COMMANDS_PER_TENANT_MAX: Final = 8_192
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
# Of those who want all of a tenant, who have the same records waiting.
FEED_RECORDS_WAITING_OF_TENANT_MAX: Final = 4_096
# What all listeners of an event are sent is made once.
FEED_EVENTS_REMEMBERED_MAX: Final = 4_096
# Listeners are told in turns: what is sent between two rounds of the loop. So many records in one message cost as
# much again as the message itself. Those who are behind read the log few at a time, and share what was just read.
FEED_COST_PER_ROUND: Final = 12
FEED_RECORDS_FOR_COST_OF_ONE: Final = 10
CATCH_UP_READS_MAX: Final = 2
FEED_PARTS_REMEMBERED_MAX: Final = 16
FEED_PART_REMEMBERED_SECONDS: Final = 1.0
FEED_PAUSE_SECONDS_MIN: Final = 0.005
FEED_PAUSE_SECONDS_MAX: Final = 0.04
FEED_RETRY_SECONDS: Final = 0.5
STREAMS_MAX: Final = 2_000
STREAMS_PER_TENANT_DEFAULT: Final = 1_000
STREAM_HEARTBEAT_SECONDS: Final = 5.0
STREAM_WRITE_SECONDS_MAX: Final = 10.0
STREAM_CHUNK_EVENTS_MAX: Final = 100
STREAM_RETRY_MS: Final = 1_000

# Connections of clients to the HTTP server. Load balancers keep theirs for 60 s, so ours must last longer.
IDLE_SECONDS_DEFAULT: Final = 75
IDLE_SECONDS_MAX: Final = 3_600
HEADER_BYTES_MAX: Final = 64 * 1024
UNREAD_ANSWER_MS_MAX: Final = 60_000
CONNECTIONS_PER_ADDRESS_DEFAULT: Final = 4_096
CONNECTIONS_LOOK_SECONDS: Final = 1.0
METRICS_READ_SECONDS_MAX: Final = 2.0
# Beyond this a worker accepts nothing, not even the question whether it lives. Streams hold a connection each.
CONNECTIONS_PER_WORKER_MAX: Final = STREAMS_MAX + 8_192
# Descriptors that connections of clients leave to databases, the cache, receivers of webhooks and files.
DESCRIPTORS_RESERVED: Final = 512

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
CACHE_KEY_CHARACTERS_MIN: Final = 32
CACHE_STOP_SECONDS_MAX: Final = 2.0
CACHE_LEASE_MS: Final = 2_000
CACHE_TAIL_INTERVAL_SECONDS: Final = 0.1
CACHE_LEASE_INTERVAL_SECONDS: Final = 0.5
CACHE_TAIL_ENTRIES_MAX: Final = 20_000
CACHE_TAIL_POSITIONS_MAX: Final = 2_000
CACHE_LAG_POSITIONS_MAX: Final = 200_000
BALANCES_PER_REQUEST_MAX: Final = 1_000
# How long a read waits for a position that the log has not reached, and how often it looks.
POSITION_WAIT_SECONDS_MAX: Final = 0.5
POSITION_LOOK_SECONDS: Final = 0.1
POSITION_RETRY_AFTER_SECONDS: Final = 1

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
WEBHOOK_INTERIM_ANSWERS_MAX: Final = 10
WEBHOOK_ANSWER_BYTES_MAX: Final = 16 * 1024
WEBHOOK_ANSWER_SECONDS_MAX: Final = 1.0
WEBHOOK_ERROR_CHARACTERS_MAX: Final = 300
WEBHOOK_RETRY_DELAY_SECONDS_MIN: Final = 1.0
WEBHOOK_RETRY_DELAY_SECONDS_MAX: Final = 3_600.0
WEBHOOK_TROUBLE_SECONDS_MAX: Final = 60.0
WEBHOOK_RETRY_SECONDS_MAX: Final = 3 * 24 * 3600.0
