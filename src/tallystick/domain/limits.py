"""All bounds of the product, in one place: the size of requests, and the time and the room that each part may take.

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

# The clocks of databases and servers may differ by this much. The configuration may allow more.
CLOCK_TOLERANCE_SECONDS_DEFAULT: Final = 10.0
CLOCK_TOLERANCE_SECONDS_MIN: Final = 1.0

# The content of one request.
BODY_BYTES_MAX: Final = 1024 * 1024
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
REQUEST_ID_CHARACTERS_MAX: Final = 128
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
LABEL_CHARACTERS_MAX: Final = METADATA_BYTES_MAX
"""Of a label in the cursor of a report: the longest value in metadata, and a sign."""
STATEMENT_FINAL_SECONDS: Final = 600
"""So long after its end nothing comes into a period any more, also if the log has not gone on: it is longer than any
batch takes, and than clocks may differ by default."""
ASSET_NAME_CHARACTERS_MAX: Final = 64
ASSET_SCALE_MAX: Final = 18
# Accounts of a tenant: the largest number, and how they are counted. A count is repeated after a multiple of the time
# that it took, and not before a number of seconds.
ACCOUNTS_PER_TENANT_DEFAULT: Final = 10_000_000
ACCOUNTS_COUNT_PATIENCE_SECONDS: Final = 0.25
ACCOUNTS_COUNT_SECONDS_MIN: Final = 10.0
ACCOUNTS_COUNT_PAUSE_FACTOR: Final = 100
ASSETS_PER_TENANT_MAX: Final = 10_000
# How far back an effective time may be: ten years. The log itself accepts times after 1900.
EFFECTIVE_AT_DAYS_BACK_DEFAULT: Final = 3_653
EFFECTIVE_AT_DAYS_BACK_MAX: Final = 36_525
HOLD_SECONDS_DEFAULT: Final = 7 * 24 * 3600
HOLD_SECONDS_MAX: Final = 366 * 24 * 3600

# The batcher of one shard.
QUEUE_COMMANDS_MAX: Final = 65_536
QUEUE_COMMANDS_PER_TENANT_MAX: Final = 16_384
QUEUE_SAGA_STEPS_MAX: Final = 16_384
BATCH_COMMANDS_MAX: Final = 1_000
# Commands of a large request that are written together, so that others need not wait for all of it. A tenant of
# weight 1 may write as many in one turn.
PIECE_COMMANDS_MAX: Final = 100
# Before and after they are written, they are handled in smaller pieces, with some rounds of the event loop between
# them, and with pauses if tenants share the server. This leaves time for smaller requests.
PIECE_ITEMS_MAX: Final = 25
PIECE_ROUNDS: Final = 2
PIECE_BUSY_SECONDS: Final = 0.001
PIECE_PAUSE_SECONDS: Final = 0.001
# Commands of one tenant in a batch, if other tenants have used the shard a short time ago. Their next request waits
# for the batch that is being written.
BATCH_COMMANDS_PER_TENANT_MAX: Final = 100
SHARED_SECONDS: Final = 10.0
AHEAD_COMMANDS_MIN: Final = 250
AHEAD_COMMANDS_AT_A_TIME: Final = 100
# Commands that are decided and encoded before the event loop serves others. An `atomic` group may have 5,000.
DECIDED_COMMANDS_AT_A_TIME: Final = 500
KNOWN_ACCOUNTS_MAX: Final = 200_000
KNOWN_SAGAS_MAX: Final = 50_000
SYSTEM_ACCOUNTS_KNOWN_MAX: Final = 50_000
WRITE_ATTEMPTS_MAX: Final = 3
COMMIT_RESOLUTION_SECONDS_MAX: Final = 60.0
RECONNECT_DELAY_SECONDS_MIN: Final = 0.05
# Short, so that a server that becomes the primary is found within a second.
RECONNECT_DELAY_SECONDS_MAX: Final = 0.5
REQUEST_TIMEOUT_SECONDS: Final = 15.0
# How long a COMMIT may wait for its answer, which may depend on a standby. Its requests wait no longer than this.
COMMIT_SECONDS_MAX: Final = REQUEST_TIMEOUT_SECONDS
DEADLINE_CHECK_SECONDS: Final = 1.0
OVERLOADED_RETRY_AFTER_SECONDS: Final = 1
UNAVAILABLE_RETRY_AFTER_SECONDS: Final = 2
SHUTDOWN_SECONDS_MAX: Final = 20.0
TRACES_CLOSE_SECONDS_MAX: Final = 3.0

# PostgreSQL, as its clients see it.
POSTGRESQL_VERSION_MIN: Final = 15
MIGRATION_WAIT_MS: Final = 60_000
MIGRATION_LOCK_TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_SECONDS: Final = 5
# Several servers in one connection string: how long the last primary is asked alone, how often a server that is not
# the primary is asked again while another one has not answered yet, and how long a command waits for each.
PRIMARY_HEAD_START_SECONDS: Final = 0.1
PRIMARY_LOOK_SECONDS: Final = 0.5
COMMAND_CONNECT_SECONDS_MAX: Final = 2
# Reads from standbys: the connections of a shard, how long to wait for a connection, for one answer and in all, and
# how long none is looked for after none was found.
STANDBY_CONNECTIONS_MAX: Final = 4
STANDBY_CONNECT_SECONDS_MAX: Final = 1
STANDBY_READ_SECONDS_MAX: Final = 1.0
STANDBY_SECONDS_MAX: Final = 3.0
STANDBY_PAUSE_SECONDS: Final = 0.5
# When a connection to a machine that no longer answers counts as lost: after some probes of an idle connection, or
# if data are not acknowledged.
KEEPALIVE_IDLE_SECONDS: Final = 2
KEEPALIVE_INTERVAL_SECONDS: Final = 1
KEEPALIVE_PROBES: Final = 3
TCP_USER_TIMEOUT_MS: Final = 5_000
# How long a starting server takes no requests while it tries to reach the shards.
FIRST_CONNECT_SECONDS_MAX: Final = 2.0
STATEMENT_TIMEOUT_MS: Final = 30_000
# A server that stands still, or whose machine is lost, in the middle of a batch: how long it keeps the shard's lock.
IDLE_IN_TRANSACTION_MS: Final = 10_000
CLOSE_TIMEOUT_SECONDS: Final = 2.0
# How often two connections are compared, to find out whether they share a PostgreSQL session.
SESSION_LOOKS: Final = 4
PEEK_TIMEOUT_SECONDS: Final = 1.0
READ_CONNECTIONS_MAX: Final = 8
READ_WAIT_SECONDS_MAX: Final = 5.0
# The read connections that reads of the past, histories and lists may use at once, and how many of a tenant may wait.
EXPENSIVE_READS_MAX: Final = 2
TURNS_WAITING_PER_TENANT_MAX: Final = 64

# The pulse of a shard: how often it is checked, when the shard counts as silent (a number of checks, each of a
# duration), and when a silent connection is given up. A shard counts as failing for a time after its last write.
PULSE_INTERVAL_SECONDS: Final = 0.5
PULSE_LOOK_SECONDS: Final = 0.25
PULSE_LOOKS: Final = 4
PULSE_SECONDS_MAX: Final = 4.0
WRITING_SECONDS_MAX: Final = 5.0
FAILING_SECONDS_MAX: Final = 10.0

# How long a request waits for the home of its key, if that is another shard than the one that answers the request: if
# the home does not answer, and if it is only busy.
KEY_CLAIM_SECONDS_MAX: Final = 0.5
KEY_CLAIM_BUSY_SECONDS_MAX: Final = 5.0

# Background work: the first and the longest pause of a worker after a failure that is a bug, how often a worker that
# does not stop is cancelled again, and how often it is checked whether a new shard needs workers.
WORKER_PAUSE_SECONDS_MIN: Final = 0.5
WORKER_PAUSE_SECONDS_MAX: Final = 30.0
WORKER_STOP_SECONDS: Final = 5.0
SHARD_WORKERS_INTERVAL_SECONDS: Final = 0.5
EXPIRY_INTERVAL_SECONDS: Final = 1.0
EXPIRY_LOOKBACK_SECONDS: Final = 120
EXPIRY_HOLDS_PER_ROUND_MAX: Final = 500
API_KEY_CACHE_SECONDS: Final = 5.0
API_KEY_CACHE_MAX: Final = 10_000
# Keys that a tenant may have in force, and the networks of one.
API_KEYS_PER_TENANT_MAX: Final = 1_000
API_KEY_NETWORKS_MAX: Final = 32
API_KEY_OVERLAP_SECONDS_DEFAULT: Final = 24 * 3600
API_KEY_OVERLAP_SECONDS_MAX: Final = 30 * 24 * 3600
API_KEY_CHANGE_TRIES_MAX: Final = 5
# How often a server writes that a key is used.
API_KEY_USE_SECONDS: Final = 60.0
ASSET_CACHE_SECONDS: Final = 5.0
# Every shard knows the API keys and the assets. When the next shard is asked as well, how long a shard that was late
# is asked after the others, and when the question is given up.
DIRECTORY_PATIENCE_SECONDS: Final = 0.05
DIRECTORY_SILENCE_SECONDS: Final = 1.0
DIRECTORY_SECONDS_MAX: Final = 5.0

# Test messages to webhook endpoints. A tenant names the receiver, so it may be any host.
ENDPOINT_TESTS_RATE_DEFAULT: Final = "60/minute"
# Refusals of a tenant that are recorded under their keys. Each takes some hundred bytes, and needs no money.
REFUSALS_RATE_DEFAULT: Final = "6000/minute"
TENANT_WEIGHT_MAX: Final = 100

# Sagas: how long a caller waits, and how the recovery treats sagas that no process drives.
SAGA_WAIT_SECONDS_DEFAULT: Final = 5.0
BUSY_HOLD_RETRY_SECONDS: Final = 0.02
BUSY_HOLD_RETRY_AFTER_SECONDS: Final = 1
SAGA_STOP_SECONDS_MAX: Final = 5.0
RECOVERY_INTERVAL_SECONDS: Final = 0.5
RECOVERY_AGE_SECONDS: Final = 2.0
RECOVERY_SAGAS_AT_A_TIME: Final = 2_000
RECOVERY_SAGAS_WATCHED_MAX: Final = 50_000
RECOVERY_DELAY_SECONDS_MAX: Final = 30.0
# The number of alarms of one sort in this time. A saga that has been open for long raises one in this time.
ALARM_SECONDS: Final = 60.0
ALARMS_AT_A_TIME: Final = 20

# Garbage collection of a serving process: not after every 700 objects. Requests leave no garbage, and all of them
# wait while the objects of large requests, which are in use, are examined. The second generation is collected
# while it is small.
COLLECTION_THRESHOLDS: Final = (1_000_000, 2, 1_000)

# Verification reads the log in slices, so its memory does not grow with the log. A log of a few tables' bytes is read
# at once.
VERIFY_POSITIONS_PER_SLICE: Final = 20_000
VERIFY_BYTES_AT_ONCE_MAX: Final = 4 * 1024 * 1024

# Placing owners on shards, and following the configuration file.
PLACEMENT_ROUND_SECONDS_MAX: Final = 0.25
HOLDING_CONNECTIONS_MAX: Final = 2
OWNER_LOOKUPS_AT_A_TIME: Final = 500
CONFIGURATION_CHECK_SECONDS: Final = 1.0
NODE_NAME_CHARACTERS_MAX: Final = 64
SAGA_WAIT_SECONDS_MIN: Final = 0.1
SAGA_WAIT_SECONDS_MAX: Final = 60.0
# How long to wait for the payer's shard, which knows what was asked for if an earlier version wrote the credit.
EARLIER_CREDITS_WAIT_SECONDS: Final = 1.0
EARLIER_CREDITS_REMEMBERED_MAX: Final = 65_536
# How often more rows are read for a page of a history, if payments on it moved nothing.
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

# Two-phase commit between two shards: how long a batch may hold both logs before it is prepared, and after which age
# the resolver ends a prepared batch. (Its age is by PostgreSQL's clock.)
PAIR_QUEUE_COMMANDS_MAX: Final = 16_384
PAIR_QUEUE_COMMANDS_PER_TENANT_MAX: Final = 8_192
PAIR_LOCKS_SECONDS_MAX: Final = 5.0
PREPARED_AGE_SECONDS_MAX: Final = 2.0
PREPARED_LOOK_SECONDS: Final = 0.5
PREPARED_ALARM_SECONDS: Final = 30.0
HALF_RETRY_SECONDS: Final = 0.02

# The change feed: how far a page reads, how much may wait for a stream, and how long a stream may be silent or stuck.
FEED_POSITIONS_PER_PAGE_MAX: Final = 20_000
FEED_POSITIONS_OF_ACCOUNTS_PER_PAGE_MAX: Final = 200_000
FEED_LOOK_FACTOR: Final = 4
FEED_POSITIONS_PER_READ_MAX: Final = 1_000
FEED_ACCOUNTS_MAX: Final = 1_000
FEED_ACCOUNTS_OF_OWNER_MAX: Final = 10_000
FEED_RECORDS_WAITING_MAX: Final = 512
# For streams of a whole tenant. They share the records that wait.
FEED_RECORDS_WAITING_OF_TENANT_MAX: Final = 4_096
# Events are encoded once for all listeners.
FEED_EVENTS_REMEMBERED_MAX: Final = 4_096
# Listeners take turns. The cost is what is sent before a pause, which leaves time for everything else: a message
# costs one, and so does a number of records in it. The pause is longer if tenants share the server. Only a few
# listeners that are behind read the log at once, and share what was just read.
FEED_COST_PER_ROUND: Final = 24
FEED_ROUND_PAUSE_SECONDS: Final = 0.001
FEED_ROUND_PAUSE_IF_SHARED_SECONDS: Final = 0.003
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

# Connections of clients to the HTTP server. Load balancers keep idle ones for 60 s, so the server must keep them
# longer.
IDLE_SECONDS_DEFAULT: Final = 75
IDLE_SECONDS_MAX: Final = 3_600
DRAIN_SECONDS_MAX: Final = 600
HEADER_BYTES_MAX: Final = 64 * 1024
UNREAD_ANSWER_MS_MAX: Final = 60_000
CONNECTIONS_PER_ADDRESS_DEFAULT: Final = 4_096
CONNECTIONS_LOOK_SECONDS: Final = 1.0
METRICS_READ_SECONDS_MAX: Final = 2.0
# With this many a worker accepts no more, not even a health check. Each stream holds a connection.
CONNECTIONS_PER_WORKER_MAX: Final = STREAMS_MAX + 8_192
# Descriptors reserved for databases, the cache, receivers of webhooks and files. Clients have the others.
DESCRIPTORS_RESERVED: Final = 512

# A shard that was restored to an earlier moment goes on at a position that it cannot have reached before: it leaves
# out more than it can write in the time since then. Clocks of two machines differ by less than the margin.
POSITIONS_PER_SECOND_MAX: Final = 100_000
RESTORATION_MARGIN_SECONDS: Final = 3_600
RESTORATION_REASON_CHARACTERS_MAX: Final = 200

# The cache. Its answers are never older than CACHE_AGE_MS_MAX: if a tailer is further behind, its mark expires, and
# balances are read from PostgreSQL until a new mark begins.
CACHE_TIMEOUT_SECONDS: Final = 0.25
# Timeouts of a cache node and a Sentinel. They are shorter, so that another server can be asked if one hangs.
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
# After this time a sealed balance is read from PostgreSQL again: an attacker may have put an old one back.
CACHE_SEAL_SECONDS_MAX: Final = 600
CACHE_STOP_SECONDS_MAX: Final = 2.0
CACHE_LEASE_MS: Final = 2_000
CACHE_TAIL_INTERVAL_SECONDS: Final = 0.1
CACHE_LEASE_INTERVAL_SECONDS: Final = 0.5
CACHE_TAIL_ENTRIES_MAX: Final = 20_000
CACHE_TAIL_POSITIONS_MAX: Final = 2_000
CACHE_LAG_POSITIONS_MAX: Final = 200_000
BALANCES_PER_REQUEST_MAX: Final = 1_000
# How long a read waits for a position that the log has not reached, and how often it checks.
POSITION_WAIT_SECONDS_MAX: Final = 0.5
POSITION_LOOK_SECONDS: Final = 0.1
POSITION_RETRY_AFTER_SECONDS: Final = 1

# Webhooks: the bounds of an endpoint, how messages are sent to it, and how long they are tried.
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

# Requests beside the log that have an idempotency key: how long their answers are kept, how long a server may carry
# one out before another one may try, and how often a request that waits for that looks.
KEPT_REQUEST_SECONDS: Final = 24 * 3600.0
KEPT_REQUEST_CLAIM_SECONDS: Final = 60.0
KEPT_REQUEST_LOOK_SECONDS: Final = 0.05

# What `tallystick doctor` expects.
CLOCK_DIFFERENCE_SECONDS_FINE: Final = 1.0
FREE_DISK_BYTES_MIN: Final = 1024**3
FREE_DISK_PART_MIN: Final = 0.05
FREE_DISK_PART_LOW: Final = 0.15
CERTIFICATE_DAYS_MIN: Final = 14
CACHE_VERSION_MIN: Final = 7
