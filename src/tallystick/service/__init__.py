"""The service: the calls of the ledger, as callers use them.

The HTTP API and the Python package are both built on it.
"""
