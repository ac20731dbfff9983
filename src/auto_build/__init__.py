"""Auto-Build: several AI coding agents at once on one git repository.

The Python API is `SwarmCoordinator`; the command line is built on it.
"""

from auto_build.coordinator import SwarmCoordinator
from auto_build.core.view import Label, Row, View
from auto_build.errors import AutoBuildError
from auto_build.journal import Record
from auto_build.updates import Notice, Update

__all__ = [
    "AutoBuildError",
    "Label",
    "Notice",
    "Record",
    "Row",
    "SwarmCoordinator",
    "Update",
    "View",
]
