"""Servers with a bug, each of which a check must find: positive controls of the rig.

Each module is a program that plants its bug and then is `tallystick`. The workers of a server have the bug, too: they
are forked, or run the module again.
"""
