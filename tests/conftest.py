"""What every test begins with: an environment that holds nothing of whoever runs it."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from auto_build.policy.environment import AGENT

pytest.register_assert_rewrite("tests.e2e.project")

_DUMMY_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
_NOBODY = "http://127.0.0.1:9"  # where nobody answers: no test speaks to a real service


@pytest.fixture(autouse=True)
def clean_environment(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> Path:
    """Give each test a home of its own, no inherited git settings, and keys that open nothing."""
    for name in list(os.environ):
        ours = name.startswith(("GIT_", "AUTO_BUILD_", "XDG_")) and name != "AUTO_BUILD_TEST_AGENTS"
        if ours or any(fnmatchcase(name, pattern) for pattern in AGENT):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    rules = Path(str(pytestconfig.rootpath)) / ".pytest_cache" / "d" / "kingfisher"
    monkeypatch.setenv("KF_RULE_CACHE_DIR", str(rules))  # compiling them takes seconds
    for name in _DUMMY_KEYS:
        monkeypatch.setenv(name, "dummy")
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, _NOBODY)
    return home
