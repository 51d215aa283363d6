"""The checks of a log, from its rows alone.

Rows are read in order, slice by slice. Only accounts and open holds, sagas and promises stay in memory.
"""
