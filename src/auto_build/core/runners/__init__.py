"""What test runners print, read into the names of the tests that failed.

An answer is given only where it is beyond doubt that the names account for the verdict: each
reader holds the names against the runner's own counts, and `answer` holds all of them against the
exit code. In doubt the answer is None. One module per runner; nothing here does I/O.
"""

from auto_build.core.runners.answer import Tests, read_tests

__all__ = ["Tests", "read_tests"]
