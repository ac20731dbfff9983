"""The spellings of plan files that real planners write, and how ours are called.

Counted over 370 plan files of 45 public repositories. Reading accepts every spelling; a file keeps
its own when it is written back.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

PLAN_TITLE: Final = (
    "feature",
    "title",
    "name",
    "spec_name",
    "specName",
    "taskTitle",
    "task_name",
)
PHASE_IDS: Final = ("id", "phase_id", "phaseId", "phase")
PHASE_NAME: Final = ("name", "title", "phase_name", "phaseName", "phaseTitle")
DEPENDS: Final = ("depends_on", "dependencies", "dependsOn")
PARALLEL_SAFE: Final = ("parallel_safe", "parallelSafe")
CHUNKS: Final = ("chunks", "subtasks")
CHUNK_IDS: Final = ("id", "chunk_id", "chunkId", "subtask_id", "subtaskId")
CHUNK_TITLE: Final = ("title", "name")
CHUNK_TEXT: Final = (
    "description",
    "details",
    "acceptance_criteria",
    "acceptanceCriteria",
    "implementation_notes",
    "notes",
)
FILES: Final = (
    "files_to_modify",
    "files_to_create",
    "files_to_delete",
    "files",
    "file",
    "file_path",
    "files_involved",
    "filesToModify",
    "filesToCreate",
)
TIMEOUT: Final = ("timeout", "timeout_s")


class FileStatus(StrEnum):
    """What a plan file may say of a chunk, after normalising."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"
    SKIPPED = "skipped"


# what somebody may write there to be heeded; the rest only says how things stand
WISHES: Final = frozenset({FileStatus.PENDING, FileStatus.COMPLETED, FileStatus.SKIPPED})

STATUS: Final[Mapping[str, FileStatus]] = {
    "pending": FileStatus.PENDING,
    "not_started": FileStatus.PENDING,
    "notstarted": FileStatus.PENDING,
    "todo": FileStatus.PENDING,
    "backlog": FileStatus.PENDING,
    "queued": FileStatus.PENDING,
    "in_progress": FileStatus.IN_PROGRESS,
    "inprogress": FileStatus.IN_PROGRESS,
    "running": FileStatus.IN_PROGRESS,
    "completed": FileStatus.COMPLETED,
    "complete": FileStatus.COMPLETED,
    "done": FileStatus.COMPLETED,
    "landed": FileStatus.COMPLETED,
    "failed": FileStatus.FAILED,
    "error": FileStatus.FAILED,
    "blocked": FileStatus.BLOCKED,
    "skipped": FileStatus.SKIPPED,
}
