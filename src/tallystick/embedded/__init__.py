"""Real servers from wheels, started and stopped by us: nothing to install with a system package manager.

It imports nothing: errors.py is needed where no server is.
"""
