"""The rules of the ledger: pure functions over immutable values.

No I/O, no clock, no randomness, no async. A rule that needs a time or a random number takes it as an argument.
"""
