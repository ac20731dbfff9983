"""Which of the files that were loaded are a leak, what leads to them, and what mends it. Pure.

Invariant: what is reported is code or configuration of the user's checkout that a worktree should
have had itself. What the user shares on purpose, and what others wrote, is none.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from types import MappingProxyType
from typing import Final

_SHOWN: Final = 5  # paths of one leak that are named
_MODULES: Final = "node_modules"
_THIRD_PARTY: Final = frozenset({".git", "site-packages", "dist-packages", "__pypackages__"})
_METADATA: Final = (".egg-info", ".dist-info")  # read of every distribution, used or not
_PYTHON: Final = (".py", ".pyi", ".pyx", ".so", ".pyd")
_SETTINGS: Final = (".toml", ".cfg", ".ini", ".json", ".yaml", ".yml", ".conf", ".xml")
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_INSTALLERS: Final = MappingProxyType(
    {
        "package-lock.json": "npm ci",
        "npm-shrinkwrap.json": "npm ci",
        "pnpm-lock.yaml": "pnpm install --frozen-lockfile",
        "yarn.lock": "yarn install --frozen-lockfile",
        "bun.lock": "bun install --frozen-lockfile",
        "bun.lockb": "bun install --frozen-lockfile",
    }
)
_OWN_VIRTUALENV: Final = """\
[workspace]
setup = ["python3 -m venv .venv && .venv/bin/pip install -e ."]

[workspace.environment]
PATH = "{worktree}/.venv/bin:{PATH}"
"""


@dataclass(frozen=True, slots=True)
class Leak:
    """Code of the user's checkout that a check in a worker slot saw.

    `paths` are some of the files, relative to the project; `what` says in one sentence what leads
    back; `mend` are lines for auto-build.toml, or "" where no setting mends it.
    """

    paths: tuple[str, ...]
    what: str
    mend: str


def find_leaks(
    loaded: Iterable[str],
    *,
    project: str,
    linked: Sequence[str],
    virtualenvs: Sequence[str],
    editable: Mapping[str, str],
    packages: Mapping[str, str] = _NONE,
    top: Collection[str] = (),
) -> tuple[Leak, ...]:
    """Return what is wrong with a check that loaded these files, one leak for each cause.

    Args:
        loaded: real paths of files; those outside the project do not count.
        project: the user's checkout, a real path.
        linked: paths, relative to the project, that the settings link into slots on purpose.
        virtualenvs: folders of third-party code, real paths.
        editable: the folder of each distribution that is installed editable, a real path.
        packages: the folder of each package of a JavaScript workspace, a real path.
        top: the names in the top folder of the slot.
    """
    root = project.rstrip("/") + "/"
    judge = _Judge(root, linked, tuple(virtualenvs), editable, packages, top)
    ours = sorted({path.removeprefix(root) for path in loaded if path.startswith(root)})
    code = {judge.cause(path) for path in ours if path.endswith(_PYTHON)}
    judge = replace(judge, imported={cause.name for cause in code if cause} & editable.keys())
    found = [(cause, path) for path in ours if (cause := judge.cause(path))]
    found.sort(key=lambda pair: (pair[0].rank, pair[0].name))
    return tuple(
        cause.leak([path for _, path in group][:_SHOWN])
        for cause, group in groupby(found, key=lambda pair: pair[0])
    )


def modules_leak(paths: Sequence[str], *, linked: Sequence[str], top: Collection[str]) -> Leak:
    """Return the leak of a slot without packages of its own: node finds the user's above it."""
    what = (
        f"node looks for packages upwards, and finds {_MODULES} of your checkout: "
        f"install them in the worktree, or share them with link = [{_quoted(_MODULES)}]"
    )
    return Leak(tuple(paths), what, _install(linked, top))


def package_leak(
    name: str, folder: str, paths: Sequence[str], *, linked: Sequence[str], top: Collection[str]
) -> Leak:
    """Return the leak of a package of a workspace that a link in node_modules leads to."""
    what = f"a link in {_MODULES} leads to package {name} in {folder} of your checkout"
    return Leak(tuple(paths), what, _install(linked, top))


def editable_leak(name: str, folder: str, paths: Sequence[str], *, linked: Sequence[str]) -> Leak:
    """Return the leak of a distribution that is installed from the user's checkout."""
    where = f"{folder} of your checkout" if folder else "your checkout"
    what = f"{name} is installed editable from {where}, so that Python imports it from there"
    return Leak(tuple(paths), what, _unlink(linked, ".venv") + _OWN_VIRTUALENV)


@dataclass(frozen=True, slots=True)
class _Cause:
    """What leads to a file; causes that are equal make one leak."""

    rank: int
    name: str
    leak: Callable[[Sequence[str]], Leak] = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Judge:
    root: str
    linked: Sequence[str]
    virtualenvs: Sequence[str]
    editable: Mapping[str, str]
    packages: Mapping[str, str]
    top: Collection[str]
    imported: Collection[str] = ()  # distributions of which code was loaded: data is theirs, too

    def cause(self, path: str) -> _Cause | None:
        """Return what leads to a file, a path relative to the project; None if it is no leak."""
        parts = path.split("/")
        if self._is_shared(path) or _is_third_party(parts):
            return None
        if parts[0] == _MODULES:
            return self._of_modules()
        if package := _nearest(self.root + path, self.packages):
            return self._of_package(package)
        if _MODULES in parts:
            return self._of_modules()
        if len(parts) == 1 and _is_settings(path):
            return None if path in self.top else _of_search(path)
        name = _nearest(self.root + path, self.editable)
        if name and (path.endswith(_PYTHON) or name in self.imported):
            return self._of_editable(name)
        return _OTHER

    def _is_shared(self, path: str) -> bool:
        return any(_is_in(path, folder.strip("/")) for folder in self.linked) or any(
            _is_in(self.root + path, folder) for folder in self.virtualenvs
        )

    def _of_modules(self) -> _Cause:
        return _Cause(0, "", lambda paths: modules_leak(paths, linked=self.linked, top=self.top))

    def _of_package(self, name: str) -> _Cause:
        folder = self._relative(self.packages[name])
        return _Cause(
            1,
            name,
            lambda paths: package_leak(name, folder, paths, linked=self.linked, top=self.top),
        )

    def _of_editable(self, name: str) -> _Cause:
        folder = self._relative(self.editable[name])
        return _Cause(2, name, lambda paths: editable_leak(name, folder, paths, linked=self.linked))

    def _relative(self, folder: str) -> str:
        return (folder.rstrip("/") + "/").removeprefix(self.root).rstrip("/")


def _of_search(path: str) -> _Cause:
    what = (
        f"a tool looks for its settings upwards, and finds {path} of your checkout, "
        "which the commit does not have: add it to the commit, or share it"
    )
    mend = f"[workspace]\nlink = [{_quoted(path)}]\n"
    return _Cause(3, path, lambda paths: Leak(tuple(paths), what, mend))


def _other_leak(paths: Sequence[str]) -> Leak:
    what = (
        f"{paths[0]} of your checkout was loaded: some configuration names your checkout by its "
        "absolute path; name it relative to the configuration's own folder"
    )
    return Leak(tuple(paths), what, "")


_OTHER: Final = _Cause(4, "", _other_leak)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _is_third_party(parts: Sequence[str]) -> bool:
    return any(part in _THIRD_PARTY or part.endswith(_METADATA) for part in parts)


def _is_settings(name: str) -> bool:
    """Say whether a file is one that tools look for in every folder upwards."""
    return name.startswith(".") or ".config." in name or name.endswith(_SETTINGS)


def _nearest(path: str, folders: Mapping[str, str]) -> str:
    """Return whose folder a file lies in, the innermost; "" if in none."""
    around = [(len(folder), name) for name, folder in folders.items() if _is_in(path, folder)]
    return max(around)[1] if around else ""


def _install(linked: Sequence[str], top: Collection[str]) -> str:
    commands: Iterator[str] = (how for lock, how in _INSTALLERS.items() if lock in top)
    command = next(commands, "npm install --no-package-lock")  # a new one is not ignored
    if command.startswith("yarn") and ".yarnrc.yml" in top:
        command = "yarn install --immutable"
    return f"{_unlink(linked, _MODULES)}[workspace]\nsetup = [{_quoted(command)}]\n"


def _unlink(linked: Sequence[str], name: str) -> str:
    """Return a warning where a command would otherwise work on what is shared with the user."""
    if name not in {path.strip("/") for path in linked}:
        return ""
    return f"# take {_quoted(name)} out of `link` first: these commands would change yours\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
