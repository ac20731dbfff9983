"""What belongs to the coordinator is not an agent's to change, whatever it claims."""

import pytest

from auto_build.policy.paths import forbidden


@pytest.mark.parametrize(
    "path",
    [
        "auto-build/specs/001-search/implementation_plan.json",
        "Auto-Build/Specs/001-Search/Implementation_Plan.json",
        ".worktrees/auto-build/app.py",
        ".WORKTREES/x",
    ],
)
def test_the_coordinators_own_files_are_forbidden(path: str) -> None:
    assert forbidden([path]) == (path,)


@pytest.mark.parametrize(
    "path",
    [
        "auto-build/specs/001-search/spec.md",
        "auto-build/run.py",
        "docs/implementation_plan.json",
        "src/.worktrees/x",
        ".worktrees-notes.md",
    ],
)
def test_everything_else_is_the_agents_to_change(path: str) -> None:
    assert forbidden([path]) == ()


def test_forbidden_paths_are_told_in_the_order_given() -> None:
    plan = "auto-build/specs/1/implementation_plan.json"
    assert forbidden([".worktrees/b", "app.py", plan, ".worktrees/a"]) == (
        ".worktrees/b",
        plan,
        ".worktrees/a",
    )
