"""A project for each test, and the promise that holds in all: the user's things are safe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import Project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave real runs to `make test`, but for the few that are marked to be quick."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("quick"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a repository with one commit on `main`, and no plan yet."""
    return Project.make(tmp_path / "my pröject")


@pytest.fixture(autouse=True)
def the_user_is_safe(project: Project) -> Iterator[None]:
    """See, after every test, that nothing of the user's changed and nothing was left behind."""
    yield
    project.check_untouched()
    project.check_nothing_left()
