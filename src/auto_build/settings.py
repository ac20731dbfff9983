"""Settings: flags over environment over `auto-build.toml` (or [tool.auto-build] in pyproject.toml).

Read once, at the edge, into frozen values; an unknown key or a wrong type is named with its place.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from auto_build.errors import EnvironmentUnfit, UsageProblem
from auto_build.policy.environment import PLACEHOLDER
from auto_build.policy.permission import ClaimMode

FILE: Final = "auto-build.toml"
ROUNDS: Final = "max_qa_rounds"  # the flag for `rounds` of [qa]
LOCK_FILES: Final = (  # what set-up commands read: locks, and what they are made from
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements*.txt",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile.lock",
    "Cargo.toml",
    "Cargo.lock",
    "go.mod",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
    ".gitmodules",
)
_PYPROJECT: Final = "pyproject.toml"
_VARIABLES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "AUTO_BUILD_PARALLEL": ("run", "parallel"),
        "AUTO_BUILD_AGENT": ("run", "agent"),
        "AUTO_BUILD_MODEL": ("run", "model"),
    }
)


# what a program can be given: nothing in it may hold a NUL, nor a variable's name a `=`
_Word = Annotated[str, Field(pattern=r"\A[^\x00]*\z")]
_Line = Annotated[str, Field(pattern=r"\A[^\x00]+\z")]
_Name = Annotated[str, Field(pattern=r"\A[^\x00=]+\z")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RunSettings(_Table):
    """How a build is run.

    Times are in the unit at the end of the name; costs are US dollars, for the run and for a chunk.
    """

    parallel: int = Field(default=2, ge=1, le=64)
    agent: str = ""
    model: str = ""
    repair_rounds: int = Field(default=2, ge=0, le=20)
    retries: int = Field(default=2, ge=0, le=20)
    max_cost: float | None = Field(default=None, gt=0)
    max_chunk_cost: float | None = Field(default=None, gt=0)
    agent_timeout_min: float = Field(default=60.0, gt=0)
    idle_timeout_min: float = Field(default=15.0, gt=0)
    pause_s: float = Field(default=20.0, gt=0)
    max_wait_h: float = Field(default=24.0, ge=0)
    check_timeout_min: float = Field(default=15.0, gt=0)
    max_iterations: int | None = Field(default=None, ge=1)
    keep_worktrees: bool = False
    ordered_phases: bool = False


class ModelSettings(_Table):
    """Which model for which job, where it is not the one of [run]."""

    plan: str = ""
    work: str = ""
    repair: str = ""
    review: str = ""


_READY: Final = r"\A(tcp|/[^\s]*|http://(localhost|127\.0\.0\.1|\[::1\]):\{port\}(/[^\s]*)?)\z"
_REPLACED: Final = r"\Ahttps?://[^\s/?#]+(/[^\s?#]*)?\z"


class ServiceSettings(_Table):
    """A service that the finished build is tried out with, started in a worker slot.

    `{port}` in its `command` and `ready` is its own port: `port` places after the slot's first. It
    is ready when `ready` answers: a URL or a path by HTTP with less than 500, `tcp` where it can be
    connected to. URLs of a plan that begin with one of `replaces` are asked of it.
    """

    name: str = Field(pattern=r"\A[A-Za-z0-9][\w.-]{0,63}\z")
    command: _Line
    ready: str = Field(default="tcp", pattern=_READY)
    ready_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    port: int = Field(default=0, ge=0, le=99)
    replaces: tuple[Annotated[str, Field(pattern=_REPLACED)], ...] = ()


class QaSettings(_Table):
    """Whether a finished build is reviewed, in how many rounds, and where what is found is mended.

    `fix` is where fixers work: in the staging worktree, one at a time, or in worker slots, several
    at once where findings are in different files. A build is tried out with its `services` started,
    for up to `tryout_timeout_min`, its pages opened in a `browser` that is looked for unless set.
    """

    review: bool = True
    rounds: int = Field(default=10, ge=1, le=100)
    fix: Literal["staging", "parallel"] = "staging"
    services: tuple[ServiceSettings, ...] = ()
    browser: _Word = ""
    tryout_timeout_min: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _tells_services_apart(self) -> Self:
        for what in ("name", "port"):
            named = [getattr(service, what) for service in self.services]
            for one in named:
                if named.count(one) > 1:
                    raise ValueError(f"services: {what} {one!r} is given twice")
        return self


class GateSettings(_Table):
    """What every candidate must pass besides its own verification.

    `window` is how many candidates may be checked at the same time, where that pays; as many as the
    machine has processors, up to 4, unless it is set.
    """

    checks: tuple[_Line, ...] = ()
    window: int | None = Field(default=None, ge=1, le=64)


class MergeSettings(_Table):
    """How a build comes into the user's branch, and for how many days its pins stay afterwards.

    `auto` moves the branch on where that is possible, and makes a merge commit where it is not.
    """

    form: Literal["auto", "merge", "squash"] = "auto"
    keep_pins_days: int = Field(default=30, ge=0, le=3650)


class ClaimSettings(_Table):
    """What becomes of a write beyond a chunk's claims."""

    mode: ClaimMode = ClaimMode.WIDEN


class WorkspaceSettings(_Table):
    """What a worker slot needs before anything can run in it.

    `setup` are command lines, run once in each slot and again when a lock file changes, or one that
    `inputs` names; `copied` and `link` are paths in the user's checkout that git ignores. Each slot
    has `ports` ports of its own, from `first_port` on where that is set. What a check loads from
    the user's checkout is looked for by the `probe`.
    """

    setup: tuple[_Line, ...] = ()
    inputs: tuple[_Line, ...] = ()
    copied: tuple[_Line, ...] = Field(default=(), alias="copy")
    link: tuple[_Line, ...] = ()
    environment: dict[_Name, _Word] = Field(default_factory=dict)
    ports: int = Field(default=10, ge=0, le=100)
    first_port: int | None = Field(default=None, ge=1024, le=65000)
    setup_timeout_min: float = Field(default=15.0, gt=0)
    probe: Literal["stop", "warn", "off"] = "stop"

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Self:
        for path in (*self.copied, *self.link):
            if path.startswith(("/", "~")) or ".." in Path(path).parts or Path(path) == Path():
                raise ValueError(f"{path!r} is no path inside the repository")
        named = [path.strip("/") for path in (*self.copied, *self.link)]
        for path in named:
            if named.count(path) > 1:
                raise ValueError(f"{path!r} is named twice")
            if inside := [one for one in named if one.startswith(f"{path}/")]:
                raise ValueError(f"{inside[0]!r} lies in {path!r}, which is named too")
        own = {"worktree", "worker", "port"}
        for key, value in self.environment.items():
            for name in PLACEHOLDER.findall(value):
                if name not in own and not name.isupper():
                    raise ValueError(
                        f"environment.{key}: {{{name}}} is unknown; there are {{worktree}},"
                        " {worker}, {port} and names of variables such as {PATH}"
                    )
        return self


class ContainmentSettings(_Table):
    """What a work may not hold, and what becomes of what an agent does outside its slot.

    A file may have so many MB (10^6 bytes), and none may hold a secret. `strays` are taken back, or
    only told.

    Secrets are looked for where the program for it is installed, unless `secrets` says otherwise;
    what is found in paths that fit a glob of `secrets_allowed` is allowed.
    """

    max_file_mb: float = Field(default=50.0, gt=0, le=100_000)
    secrets: Literal["auto", "require", "off"] = "auto"
    secrets_allowed: tuple[_Line, ...] = ()
    strays: Literal["take-back", "report"] = "take-back"

    @property
    def most_file_bytes(self) -> int:
        """How large a file may be."""
        return round(self.max_file_mb * 1_000_000)


class EnvironmentSettings(_Table):
    """What agents and checks see besides the stated base: names (with `*`), and fixed values.

    `secrets` are names of variables that only set-up and checks get, and agents that list them.
    """

    passed: tuple[str, ...] = Field(default=(), alias="pass")
    set: dict[_Name, _Word] = Field(default_factory=dict)
    secrets: tuple[_Name, ...] = ()


class PriceSettings(_Table):
    """US dollars for a million tokens, for agents that report tokens and no money."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)


class _Agent(_Table):
    """What every kind of agent can be told.

    `key_files` are variables whose values are read from files; `memory_mb` is what one session
    needs, where the kind's own figure does not fit; `secrets` those of [environment] that it gets.
    """

    key_files: dict[_Name, str] = Field(default_factory=dict)
    secrets: tuple[_Name, ...] = ()
    price: PriceSettings | None = None
    memory_mb: int | None = Field(default=None, ge=1)


class CommandAgent(_Agent):
    """Any program: the prompt on stdin, or in a file that `{prompt_file}` in argv names.

    A `preset` knows the argv, and how to read what the program prints, of a known one.
    """

    kind: Literal["command"] = "command"
    preset: Literal["", "codex", "opencode", "gemini", "aider", "mini"] = ""
    argv: tuple[_Word, ...] = ()
    prompt: Literal["stdin", "file"] = "stdin"

    @model_validator(mode="after")
    def _has_a_program(self) -> Self:
        if not self.argv and not self.preset:
            raise ValueError("argv is missing: name the program, or a preset")
        return self


class ScriptedAgent(_Agent):
    """A deterministic agent that plays a script; `{spec_dir}` stands for the spec's folder."""

    kind: Literal["scripted"]
    script: str = "{spec_dir}/script.toml"


class ClaudeAgent(_Agent):
    """Claude Code through its SDK, which brings the program along.

    `program` is another `claude` to start; `allow` are the tools it may use without asking;
    `settings_from` are the Claude settings that it reads besides ours. With `sandbox` its shell
    commands run in Claude's own sandbox, or not at all where there is none; a table is passed on.
    """

    kind: Literal["claude"]
    program: str = ""
    allow: tuple[_Word, ...] = ("Bash",)
    max_turns: int | None = Field(default=None, ge=1)
    sandbox: bool | dict[str, Any] = False
    settings_from: tuple[Literal["user", "project", "local"], ...] = ()


class AcpAgent(_Agent):
    """Any agent that speaks the Agent Client Protocol: a known `profile`, or an argv."""

    kind: Literal["acp"]
    profile: str = ""
    argv: tuple[_Word, ...] = ()
    mode: str = ""
    env: dict[_Name, _Word] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_program(self) -> Self:
        if not self.argv and not self.profile:
            raise ValueError("name a profile, or the program as argv")
        return self


AnyAgent = CommandAgent | ScriptedAgent | ClaudeAgent | AcpAgent
AgentSettings = Annotated[AnyAgent, Field(discriminator="kind")]


class Settings(_Table):
    """Everything that can be set."""

    run: RunSettings = RunSettings()
    models: ModelSettings = ModelSettings()
    gate: GateSettings = GateSettings()
    merge: MergeSettings = MergeSettings()
    claims: ClaimSettings = ClaimSettings()
    workspace: WorkspaceSettings = WorkspaceSettings()
    qa: QaSettings = QaSettings()
    environment: EnvironmentSettings = EnvironmentSettings()
    containment: ContainmentSettings = ContainmentSettings()
    agents: dict[str, AgentSettings] = Field(default_factory=dict)

    @field_validator("qa")
    @classmethod
    def _has_ports_for_services(cls, qa: QaSettings, info: ValidationInfo) -> QaSettings:
        workspace = info.data.get("workspace")  # not there if it is wrong itself
        ports = workspace.ports if workspace else 0
        for service in qa.services:
            if workspace and service.port >= ports:
                raise ValueError(
                    f"services: {service.name!r} has port {service.port}, and a slot has {ports},"
                    " counted from 0 (ports under [workspace])"
                )
        return qa

    def model_for(self, job: Literal["plan", "work", "repair", "review"]) -> str:
        """Return the model for a job; empty where the agent's own default is meant."""
        models = self.models
        match job:
            case "plan":
                return models.plan or self.run.model
            case "work":
                return models.work or self.run.model
            case "repair":
                return models.repair or models.work or self.run.model
            case "review":
                return models.review or self.run.model

    @property
    def models_of_a_run(self) -> tuple[str, ...]:
        """Every model that a build may ask for, once each."""
        reviews = (self.model_for("review"),) if self.qa.review else ()
        named = (self.model_for("work"), self.model_for("repair"), *reviews)
        return tuple(dict.fromkeys(model for model in named if model))

    def require_agent(self) -> tuple[str, AnyAgent]:
        """Return the chosen agent's name and settings.

        Raises:
            UsageProblem: none is chosen, or the chosen one is not described.
        """
        name = self.run.agent or (next(iter(self.agents)) if len(self.agents) == 1 else "")
        known = ", ".join(sorted(self.agents)) or "none"
        if not name:
            raise UsageProblem(
                f"no agent is chosen (described in {FILE}: {known})",
                hint=f'name one: --agent NAME, or agent = "NAME" under [run] in {FILE};'
                " auto-build init writes a file with examples",
            )
        if name not in self.agents:
            raise UsageProblem(
                f"unknown agent {name!r} (described in {FILE}: {known})",
                hint=f"describe it in {FILE} as [agents.{name}], or choose one of those",
            )
        return name, self.agents[name]


def load_settings(
    project: Path, flags: Mapping[str, Any], environment: Mapping[str, str]
) -> Settings:
    """Read the settings of a project.

    Args:
        project: the top of the user's repository.
        flags: values for the [run] table that were typed, and `max_qa_rounds`; None is not typed.
        environment: where AUTO_BUILD_PARALLEL, _AGENT and _MODEL are looked up.

    Raises:
        UsageProblem: a file is no TOML, or a value is not allowed; all such values at once.
    """
    where, raw = _load_table(project)
    if not isinstance(raw.get("run", {}), dict):
        raise UsageProblem(f"{where}: [run] is no table", hint="write [run] and keys beneath it")
    for agent in raw["agents"].values() if isinstance(raw.get("agents"), dict) else ():
        if isinstance(agent, dict):
            agent.setdefault("kind", "command")
    run = dict(raw.get("run", {}))
    run.update(
        {_VARIABLES[name][1]: environment[name] for name in _VARIABLES if name in environment}
    )
    typed = {key: value for key, value in flags.items() if value is not None}
    qa = raw.get("qa", {})
    if isinstance(qa, dict) and ROUNDS in typed:
        qa = {**qa, "rounds": typed.pop(ROUNDS)}
    run.update(typed)
    try:
        return Settings.model_validate({**raw, "run": run, "qa": qa})
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']} (got {one['input']!r})"
            for one in error.errors(include_url=False)
        ]
        raise UsageProblem(
            f"the settings in {where} cannot be used:\n  " + "\n  ".join(lines),
            hint="the settings guide of auto-build lists every key",
        ) from error


def load_keys(project: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Read the values of variables that are kept in files; a relative path is the project's.

    Raises:
        EnvironmentUnfit: a file cannot be read, or holds no key; all such files at once.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    for name, where in files.items():
        path = project / Path(where).expanduser()
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            wrong.append(f"{name}: {path} cannot be read: {getattr(error, 'strerror', error)}")
            continue
        if not text or "\n" in text or "\x00" in text:
            wrong.append(f"{name}: {path} must hold the key and nothing else, on one line")
        found[name] = text
    if wrong:
        raise EnvironmentUnfit(
            "a key of the agent is not there:\n  " + "\n  ".join(wrong),
            hint=f"mend the file, or key_files of the agent in {FILE}",
        )
    return found


def _load_table(project: Path) -> tuple[str, dict[str, Any]]:
    own, shared = project / FILE, project / _PYPROJECT
    if own.is_file():
        return FILE, _load_toml(own)
    if shared.is_file():
        table = _load_toml(shared).get("tool", {}).get("auto-build", {})
        return f"{_PYPROJECT} [tool.auto-build]", table if isinstance(table, dict) else {}
    return FILE, {}


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path} is no TOML: {error}", hint="mend it there") from error
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}") from error
