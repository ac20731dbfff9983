"""The real agents that some tests drive: where they are, and what each needs to be run offline.

`make agents` installs them from `package.json` into `.agents/` at the top of the checkout; the
variable AUTO_BUILD_TEST_AGENTS names another folder, with the same `node_modules` in it. Vibe,
which is no npm package, may lie beside that in an environment of its own: `vibe/bin/vibe-acp`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

_TOP: Final = Path(__file__).parents[2]
_FOLDER: Final = "AUTO_BUILD_TEST_AGENTS"
_BINS: Final = (Path("node_modules", ".bin"), Path("vibe", "bin"))


def bin_folders() -> tuple[Path, ...]:
    """Return the folders of the programs that were installed for tests."""
    base = Path(os.environ.get(_FOLDER) or _TOP / ".agents")
    return tuple(base / name for name in _BINS)


def find_program(name: str) -> Path | None:
    """Return an agent's program, if it was installed."""
    paths = (folder / name for folder in bin_folders())
    return next((path for path in paths if path.exists()), None)


def missing(name: str) -> str:
    """Return the words for an agent that was not installed."""
    return f"{name} is not installed: make agents"


def require_program(name: str) -> Path:
    """Return an agent's program; a test that needs it is skipped where it was not installed."""
    path = find_program(name)
    if path is None:
        pytest.skip(missing(name))
    return path


def with_programs(path: str) -> str:
    """Return a PATH in which the installed agents are found first."""
    return os.pathsep.join((*(str(folder) for folder in bin_folders()), path))


# --- their settings ------------------------------------------------------------------------------

_QUIET: Final = {
    "general": {"enableAutoUpdate": False, "maxAttempts": 1},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    # a stub repeats itself, and is taken for a model that turns in circles
    "model": {"disableLoopDetection": True, "skipLoopDetection": True},
}


def gemini_home(home: Path, url: str) -> Mapping[str, str]:
    """Settle Gemini's settings in a home folder; return its environment."""
    security = {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}}
    _write(home / ".gemini" / "settings.json", json.dumps({**_QUIET, "security": security}))
    return {
        "HOME": str(home),
        "GEMINI_API_KEY": "dummy",
        "GEMINI_MODEL": "gemini-2.5-flash",
        "GOOGLE_GEMINI_BASE_URL": url,
    }


def qwen_home(home: Path, url: str) -> Mapping[str, str]:
    """Settle Qwen's settings in a home folder; return its environment."""
    _write(
        home / ".qwen" / "settings.json",
        json.dumps({**_QUIET, "security": {"auth": {"selectedType": "openai"}}}),
    )
    return {
        "HOME": str(home),
        "OPENAI_API_KEY": "dummy",
        "OPENAI_MODEL": "stub-model",
        "OPENAI_BASE_URL": f"{url}/v1",
    }


def codex_home(home: Path, url: str) -> Mapping[str, str]:
    """Settle Codex's settings in a home folder; return its environment.

    Its sandbox program is not made where CODEX_HOME lies beneath the temporary folder.
    """
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    _write(
        home / ".codex" / "config.toml",
        f"""\
model = "gpt-5"
model_provider = "stub"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.stub]
name = "stub"
base_url = "{url}/v1"
env_key = "STUB_API_KEY"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 1
stream_max_retries = 1
""",
    )
    return {
        "HOME": str(home),
        "CODEX_HOME": str(home / ".codex"),
        "STUB_API_KEY": "dummy",
        "TMPDIR": str(temporary),
    }


def opencode_home(home: Path, url: str) -> Mapping[str, str]:
    """Settle opencode's settings in a home folder; return its environment."""
    model = {"limit": {"context": 200_000, "output": 8_192}, "cost": {"input": 3, "output": 15}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": "dummy"},
        "models": {"stub-model": model},
    }
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "model": "stub/stub-model",
        "small_model": "stub/stub-model",
        "enabled_providers": ["stub"],
        "agent": {"title": {"disable": True}},
        "provider": {"stub": provider},
    }
    _write(home / ".config" / "opencode" / "opencode.json", json.dumps(settings))
    return {
        "HOME": str(home),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


def vibe_home(home: Path, url: str) -> Mapping[str, str]:
    """Settle Vibe's settings in a home folder; return its environment."""
    _write(
        home / ".vibe" / "config.toml",
        f"""\
active_model = "stub"
enable_telemetry = false
enable_update_checks = false
[session_logging]
generate_titles = false
[[providers]]
name = "stub"
api_base = "{url}/v1"
api_key_env_var = "STUB_API_KEY"
backend = "generic"
[[models]]
name = "stub-model"
provider = "stub"
alias = "stub"
input_price = 3.0
output_price = 15.0
""",
    )
    return {"HOME": str(home), "VIBE_HOME": str(home / ".vibe"), "STUB_API_KEY": "dummy"}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
