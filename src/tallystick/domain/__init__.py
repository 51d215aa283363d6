"""The rules of the ledger: pure functions over immutable values.

No I/O, no clock, no randomness, no async. Whatever time or random number a rule needs is an argument.
"""
