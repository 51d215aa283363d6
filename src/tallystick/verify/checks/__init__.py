"""What must be true of a log, judged from its rows alone.

Nothing here uses the rules that decided the log: a mistake made there should be found here. Rows are taken in
order, slice by slice; only accounts, open holds and open sagas are kept in memory.
"""
