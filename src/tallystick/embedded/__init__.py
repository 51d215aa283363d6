"""Real servers from Python wheels, started and stopped by this product. No system package is needed.

It imports nothing: errors.py is needed where no server is.
"""
