"""The command line: one file a group of commands; no logic, only reading options and showing answers."""
