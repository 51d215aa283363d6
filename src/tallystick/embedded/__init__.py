"""Real servers from Python wheels, started and stopped by this product. No system package is needed.

It imports nothing, because errors.py is also used without servers.
"""
