"""The command line: argv, the run.py flags, exit codes."""
