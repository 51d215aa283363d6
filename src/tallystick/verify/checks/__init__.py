"""What must be true of a log, judged from its rows alone.

Rows are taken in order, slice by slice. Only accounts, and holds, sagas and promises that are open, stay in memory.
"""
