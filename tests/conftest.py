"""What every test begins with: an environment that holds nothing of whoever runs it."""

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.project")

_DUMMY_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


@pytest.fixture(autouse=True)
def clean_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give each test a home of its own, no inherited git settings, and keys that open nothing."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "AUTO_BUILD_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in _DUMMY_KEYS:
        monkeypatch.setenv(name, "dummy")
    return home
