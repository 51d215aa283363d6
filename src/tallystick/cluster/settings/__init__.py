"""The settings of each program, as the text of its file: pure functions of the plan."""
