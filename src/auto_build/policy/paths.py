"""Which paths an agent's work may not change, whatever it claims."""

from collections.abc import Iterable
from typing import Final

SPECS: Final = "auto-build/specs/"
PLAN: Final = "implementation_plan.json"
_OWN_FOLDERS: Final = (".worktrees/",)


def forbidden(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that belong to the coordinator, in the order given."""
    return tuple(path for path in paths if _is_ours(path.casefold()))


def _is_ours(path: str) -> bool:
    if path.startswith(_OWN_FOLDERS):
        return True
    return path.startswith(SPECS) and path.endswith(f"/{PLAN}")
