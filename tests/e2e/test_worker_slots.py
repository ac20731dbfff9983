"""Worker slots have what the user's checkout has, or the run says so before anybody is paid.

The projects are real ones: packages are installed by pip and npm, from files. Each builds in three
slots at the same time.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess  # noqa: TID251 - the user's own pip and npm
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from auto_build import AutoBuildError, Update
from auto_build.core import events as ev
from auto_build.errors import EnvironmentUnfit
from auto_build.journal import Record
from tests.e2e.project import Project, Report, Step, append, chunk, run_git, shell, sleep, write

NAMES = ("one", "two", "three")
needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")


# --- a Python package, installed editable -------------------------------------------------------

BACKEND = """\
import pathlib
import zipfile

INFO = "shop-1.dist-info/"


def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "shop-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("shop.pth", str(pathlib.Path("src").resolve()))
        wheel.writestr(INFO + "METADATA", "Metadata-Version: 2.1\\nName: shop\\nVersion: 1\\n")
        wheel.writestr(
            INFO + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        )
        wheel.writestr(INFO + "RECORD", "")
    return name
"""
PYPROJECT = """\
[project]
name = "shop"
version = "1"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
UNITTEST_COMMAND = "python -m unittest discover -q -s tests"
UNITTEST = f"[gate]\nchecks = ['{UNITTEST_COMMAND}']\n"
VENVS = {"in the checkout": ".venv", "elsewhere": "../venv"}


def make_package(project: Project) -> None:
    project.write(".gitignore", "__pycache__/\n.venv/\n")
    project.write("backend.py", BACKEND)
    project.write("pyproject.toml", PYPROJECT)
    project.write("src/shop/__init__.py", "PRICE = 1\n")
    project.write("tests/test_shop.py", unit_test_of("shop"))
    project.settings(UNITTEST)
    project.commit_all("A shop")
    plan_three(project, *(f"src/shop/{name}.py tests/test_{name}.py" for name in NAMES))
    for name in NAMES:
        work = write(f"src/shop/{name}.py", "PRICE = 1\n")
        project.agent(
            name, work, sleep(1), write(f"tests/test_{name}.py", unit_test_of(f"shop.{name}"))
        )


def unit_test_of(module: str) -> str:
    lines = ("import unittest", f"import {module}", "class T(unittest.TestCase):")
    return "\n".join((*lines, f"    def test(self): self.assertEqual({module}.PRICE, 1)", ""))


def install_editable(project: Project, venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the project into a virtual environment, put that first in PATH, and use it."""
    user_runs(project, sys.executable, "-m", "venv", str(venv))
    user_runs(project, str(venv / "bin/python"), "-m", "pip", "install", "-q", "-e", ".")
    monkeypatch.setenv("PATH", os.pathsep.join((str(venv / "bin"), os.environ["PATH"])))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    user_runs(project, "bash", "-c", UNITTEST_COMMAND)


@pytest.mark.parametrize("where", VENVS.values(), ids=VENVS)
async def test_a_package_installed_editable_from_the_checkout_is_seen_and_mended_by_the_lines(
    project: Project, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    make_package(project)
    install_editable(project, project.path / where, monkeypatch)

    unfit = await refused(project)

    assert "would judge your checkout in place of an agent's work" in str(unfit)
    assert "shop is installed editable from src of your checkout" in str(unfit)
    assert "src/shop/__init__.py" in str(unfit)

    project.settings(UNITTEST + lines_in(unfit))
    await builds_in_three_slots(project)


async def test_without_looking_a_check_judges_the_users_files_and_agents_fail_for_no_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(project)
    install_editable(project, project.path / ".venv", monkeypatch)
    project.settings(UNITTEST + '[workspace]\nprobe = "off"')

    report = await project.run(workers=3, repair_rounds=0)

    assert set(report.labels().values()) == {"failed"}
    assert "No module named 'shop.one'" in report.row("one").note


# --- packages of node ---------------------------------------------------------------------------

NODE = "[gate]\nchecks = ['node test.js']\n"
ALL_PARTS = (
    "require('tiny'); for (const f of require('fs').readdirSync('parts')) require('./parts/'+f)"
)


def make_node_project(project: Project, home: Path) -> None:
    (home / ".npmrc").write_text("audit=false\nfund=false\noffline=true\nupdate-notifier=false\n")
    tiny = project.path.parent / "tiny"
    tiny.mkdir()
    (tiny / "package.json").write_text('{"name": "tiny", "version": "1.0.0", "main": "index.js"}')
    (tiny / "index.js").write_text("module.exports = 1\n")
    project.write(".gitignore", "node_modules/\n")
    project.write("parts/start.js", "require('tiny')\n")
    project.write("test.js", f"{ALL_PARTS}\n")
    project.write("vendor/README.md", "What we use\n")
    user_runs(project, "npm", "pack", "--silent", str(tiny), "--pack-destination", "vendor")
    project.write(
        "package.json",
        '{"name": "app", "dependencies": {"tiny": "file:vendor/tiny-1.0.0.tgz"}}',
    )
    user_runs(project, "npm", "install", "--silent")
    project.settings(NODE)
    project.commit_all("An application")
    plan_three(project, *(f"parts/{name}.js" for name in NAMES))
    for name in NAMES:
        project.agent(name, sleep(1), write(f"parts/{name}.js", "require('tiny')\n"))


@needs_npm
async def test_node_that_finds_the_users_packages_above_the_slot_is_seen_and_npm_ci_mends_it(
    project: Project, clean_environment: Path
) -> None:
    make_node_project(project, clean_environment)

    unfit = await refused(project)

    assert "node looks for packages upwards" in str(unfit)
    assert "node_modules/tiny/index.js" in str(unfit)
    assert 'setup = ["npm ci"]' in unfit.hint

    project.settings(NODE + lines_in(unfit))
    await builds_in_three_slots(project)


@needs_npm
async def test_a_link_to_the_users_packages_lasts_is_never_committed_and_leaves_them_alone(
    project: Project, clean_environment: Path
) -> None:
    make_node_project(project, clean_environment)
    project.settings(NODE + '[workspace]\nlink = ["node_modules"]')
    project.agent_forgets()
    for name in NAMES:
        project.agent(
            name,
            write(f"parts/{name}.js", "require('tiny')\n"),
            shell("git clean -ffd -e parts && node test.js || echo broken > parts/broken.js"),
            sleep(1),
            shell("git add -A; git commit -qm own; rm node_modules; mkdir node_modules"),
            write("node_modules/own.js"),
        )

    await builds_in_three_slots(project)

    assert not any("node_modules" in path or "broken" in path for path in project.tree())
    assert not any("node_modules" in path for path in every_path(project))
    left = {path.name for path in (project.path / "node_modules").iterdir()}
    assert left == {".package-lock.json", "tiny"}


@needs_npm
async def test_a_package_of_a_workspace_is_seen_through_its_link_and_mended_by_the_lines(
    project: Project, clean_environment: Path
) -> None:
    make_node_project(project, clean_environment)
    project.write("packages/core/package.json", '{"name": "core", "version": "1.0.0"}')
    project.write("packages/core/index.js", "module.exports = 1\n")
    project.write(
        "package.json",
        '{"name": "app", "workspaces": ["packages/*"],'
        ' "dependencies": {"tiny": "file:vendor/tiny-1.0.0.tgz"}}',
    )
    project.write("parts/start.js", "require('core')\n")
    user_runs(project, "npm", "install", "--silent")
    project.commit_all("A workspace")
    project.settings(NODE + '[workspace]\nlink = ["node_modules"]')

    unfit = await refused(project)

    assert "a link in node_modules leads to package core in packages/core" in str(unfit)
    assert "out of `link` first" in unfit.hint
    project.settings(NODE + lines_in(unfit))
    await builds_in_three_slots(project)


@needs_npm
@pytest.mark.parametrize("probe", ["warn", "off"])
async def test_who_does_not_want_the_run_to_stop_for_it_is_warned_or_not_even_that(
    project: Project, clean_environment: Path, probe: str
) -> None:
    make_node_project(project, clean_environment)
    project.settings(f'{NODE}[workspace]\nprobe = "{probe}"')

    report = await builds_in_three_slots(project)

    assert ("node looks for packages upwards" in report.warnings) == (probe == "warn")


# --- a file that only the user has --------------------------------------------------------------

READING = {
    "by the shell": '. ./.env && test "$GREETING" = hello',
    "by Python": 'python3 -c \'assert "GREETING=hello" in open(".env").read()\'',
    "silently": "grep -qs GREETING=hello .env",
}


def make_project_with_env(project: Project, check: str) -> str:
    project.write(".env", "GREETING=hello\n")
    gate = f"[gate]\nchecks = ['''{check}''']\n"
    project.settings(gate)
    project.commit_all("With a .env")
    plan_three(project, *(f"{name}.py" for name in NAMES))
    for name in NAMES:
        project.agent(name, append(".env", "GREETING=bye\n"), sleep(1), write(f"{name}.py"))
    return gate


@pytest.mark.parametrize("check", READING.values(), ids=READING)
async def test_a_check_that_wants_the_users_env_file_is_seen_and_a_copy_mends_it(
    project: Project, check: str
) -> None:
    gate = make_project_with_env(project, check)

    unfit = await refused(project)

    assert f"$ {check}" in str(unfit)
    assert ".env" in unfit.hint
    project.settings(gate + lines_in(unfit))
    await builds_in_three_slots(project)
    assert not any(path.endswith(".env") for path in every_path(project))


async def test_a_copy_is_made_anew_where_an_agent_changed_or_deleted_it_and_yours_stays(
    project: Project,
) -> None:
    check = 'test "$(cat .env config/local/a)" = "$(printf \'GREETING=hello\\na\')"'
    gate = make_project_with_env(project, check)
    project.write(".gitignore", ".env\n/config/local/\n")
    project.write("config/local/a", "a\n")
    project.commit_all("And a folder")
    project.settings(gate + '[workspace]\ncopy = [".env", "config/local"]')
    project.agent_forgets()
    for name in NAMES:
        project.agent(name, write(f"{name}.py"), shell("rm .env; rm -r config"))

    report = await project.run(workers=1)

    assert report.view.finished
    assert (project.path / ".env").read_text() == "GREETING=hello\n"
    assert not any("local" in path for path in every_path(project))


async def test_a_copy_is_not_committed_where_a_chunk_rewrites_gitignore(project: Project) -> None:
    gate = make_project_with_env(project, READING["silently"])
    project.settings(gate + '[workspace]\ncopy = [".env"]')
    project.plan_of(chunk("one", files=[".gitignore", "one.py"]), chunk("two", files=["two.py"]))
    project.agent_forgets()
    project.agent("one", write("one.py"), write(".gitignore", "*.log\n"))
    project.agent("two", write("two.py"))

    await project.run(workers=1, repair_rounds=0)

    assert not any(path.endswith(".env") for path in every_path(project))


# --- a port of which there is one ---------------------------------------------------------------

SERVER = """\
import os
import socket
import time

port = int(os.environ.get("PORT") or open("port.txt").read())
with socket.create_server(("127.0.0.1", port)):
    time.sleep(2.5)
"""
SERVES = "[gate]\nchecks = ['python3 server.py']\n"


async def test_a_server_on_a_fixed_port_is_seen_to_collide_and_a_port_of_its_own_mends_it(
    project: Project,
) -> None:
    project.write("server.py", SERVER)
    project.write("port.txt", str(free_port()))
    project.settings(SERVES)
    project.commit_all("A server")
    plan_three(project, *(f"{name}.py" for name in NAMES))
    for name in NAMES:
        project.agent(name, sleep(1), write(f"{name}.py"))

    unfit = await refused(project)

    assert "$ python3 server.py is green alone and red when it runs in two worker slots" in str(
        unfit
    )
    assert "Address already in use" in str(unfit)
    project.settings(SERVES + lines_in(unfit))
    await builds_in_three_slots(project)


async def test_each_slot_has_ports_names_and_folders_of_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("SUFFIX", "test")
    project.settings(
        f"""[environment]
pass = ["SUFFIX"]
[workspace]
ports = 7
setup = ['test "$HERE" = "$PWD" && echo "$PORT $AUTO_BUILD_PORT_COUNT $DATABASE" >> "{told}"']
[workspace.environment]
PORT = "{{port}}"
DATABASE = "app_{{worker}}_{{SUFFIX}}"
HERE = "{{worktree}}"
"""
    )
    plan_three(project, *(f"{name}.py" for name in NAMES))
    for name in NAMES:
        said = shlex.quote(str(tmp_path / f"agent-{name}"))
        project.agent(
            name, shell(f'echo "$PORT $DATABASE" > {said}'), sleep(1), write(f"{name}.py")
        )

    await builds_in_three_slots(project)

    slots = sorted(line.split() for line in told.read_text().splitlines())
    ports = [int(port) for port, *_ in slots]
    assert ports == [ports[0], ports[0] + 7, ports[0] + 14]
    assert [rest for _, *rest in slots] == [["7", f"app_{n}_test"] for n in (1, 2, 3)]
    agents = {(tmp_path / f"agent-{name}").read_text().strip() for name in NAMES}
    assert agents == {f"{port} {database}" for port, _, database in slots}


# --- set-up commands ----------------------------------------------------------------------------


async def test_every_slot_is_set_up_once_before_any_agent_is_started(
    project: Project, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    project.settings(f"[workspace]\nsetup = ['echo $AUTO_BUILD_WORKER >> \"{told}\"; pwd']")
    plan_and_play(project, sleep(1))

    report = await builds_in_three_slots(project)

    assert sorted(told.read_text().split()) == ["1", "2", "3"]
    steps = [one.what for one in report.updates]
    first = next(
        at
        for at, step in enumerate(steps)
        if isinstance(step, Record) and isinstance(step.event, ev.AttemptStarted)
    )
    set_up = [at for at, step in enumerate(steps) if "set-up: $" in getattr(step, "text", "")]
    assert len(set_up) == 3
    assert max(set_up) < first


async def test_no_more_slots_are_set_up_than_there_are_chunks(
    project: Project, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    project.settings(f"[workspace]\nsetup = ['echo $AUTO_BUILD_WORKER >> \"{told}\"']")
    project.plan_of(chunk("one", files=["one.py"]), chunk("two", files=["two.py"], after=["one"]))
    project.agent("one", write("one.py"))
    project.agent("two", write("two.py"))

    report = await project.run(workers=5)

    assert report.view.finished
    assert sorted(told.read_text().split()) == ["1", "2"]


BAD_SET_UPS = {
    "fails": ("setup = ['echo out of milk >&2; exit 3']", "failed (3)", "out of milk"),
    "is no program": ("setup = ['no-such-installer']", "failed (127)", "no-such-installer"),
    "takes too long": (
        "setup = ['echo begun; sleep 60']\nsetup_timeout_min = 0.03",
        "took longer than its limit",
        "begun",
    ),
    "leaves files": ("setup = ['touch left.txt']", "set-up leaves left.txt", "not ignore"),
    "changes files": ("setup = ['echo d >> a.txt']", "set-up leaves a.txt", "not ignore"),
}


@pytest.mark.parametrize("name", BAD_SET_UPS)
async def test_a_bad_set_up_stops_the_run_before_any_agent_is_started(
    project: Project, name: str
) -> None:
    line, how, said = BAD_SET_UPS[name]
    project.settings(f"[workspace]\n{line}")
    plan_and_play(project)

    unfit = await refused(project)

    assert how in str(unfit)
    assert said in str(unfit)
    assert unfit.hint
    project.settings("")
    assert (await project.run(workers=3)).view.finished


async def test_set_up_runs_again_where_a_chunk_changes_what_it_reads_and_not_otherwise(
    project: Project, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    project.write("requirements.txt", "tiny==1\n")
    project.write("tools/versions", "node 20\n")
    project.settings(
        f"""[gate]
checks = ['cat requirements.txt tools/versions | cmp - installed.log']
[workspace]
setup = ['cat requirements.txt tools/versions > installed.log; echo x >> "{told}"']
inputs = ["tools/versions"]
"""
    )
    project.commit_all("What is needed")
    project.plan_of(
        chunk("code", files=["code.py"]),
        chunk("lock", files=["requirements.txt"], after=["code"]),
        chunk("more", files=["more.py"], after=["lock"]),
        chunk("tool", files=["tools/versions"], after=["more"]),
        chunk("last", files=["last.py"], after=["tool"]),
    )
    seen: dict[str, int] = {}

    def count(update: Update) -> None:
        if isinstance(update.what, Record) and isinstance(update.what.event, ev.CandidateLanded):
            seen[update.what.event.chunk] = len(told.read_text().split())

    project.agent("code", write("code.py"))
    project.agent("lock", append("requirements.txt", "small==1\n"))
    project.agent("more", write("more.py"))
    project.agent("tool", write("tools/versions", "node 22\n"))
    project.agent("last", write("last.py"))

    report = await project.run(workers=1, on_update=count)

    assert report.view.finished
    assert not report.of(ev.CandidateRejected)
    assert seen == {"code": 1, "lock": 2, "more": 2, "tool": 3, "last": 3}


async def test_a_chunk_with_which_set_up_fails_does_not_land_and_the_others_do(
    project: Project,
) -> None:
    project.write("requirements.txt", "tiny==1\n")
    project.settings(
        "[gate]\nchecks = ['ls']\n[workspace]\nsetup = ['! grep no-such requirements.txt']"
    )
    project.commit_all("What is needed")
    project.plan_of(
        chunk("bad", files=["requirements.txt"]),
        chunk("good", files=["good.py"]),
        chunk("next", files=["next.py"], after=["good"]),
    )
    project.agent("bad", append("requirements.txt", "no-such==1\n"))
    for name in ("good", "next"):
        project.agent(name, write(f"{name}.py"))

    report = await project.run(repair_rounds=0)

    assert report.labels() == {"bad": "failed", "good": "landed", "next": "landed"}
    assert "no-such" in report.row("bad").note


# --- what cannot be given to slots --------------------------------------------------------------


@pytest.mark.parametrize("key", ["copy", "link"])
@pytest.mark.parametrize("path", [".env", "config/local"])
async def test_what_is_to_be_given_to_slots_and_is_not_there_is_refused(
    project: Project, key: str, path: str
) -> None:
    project.settings(f'[workspace]\n{key} = ["{path}"]')
    plan_and_play(project)

    unfit = await refused(project)

    assert f"[workspace] names {path}, which is not in {project.path}" in str(unfit)


@pytest.mark.parametrize("key", ["copy", "link"])
@pytest.mark.parametrize("path", ["a.txt", "secrets"])
async def test_what_is_to_be_given_to_slots_and_would_be_committed_is_refused(
    project: Project, key: str, path: str
) -> None:
    project.write("secrets/key", "s3cret\n")
    project.settings(f'[workspace]\n{key} = ["{path}"]')
    plan_and_play(project)

    unfit = await refused(project)

    assert f"names {path}, which git does not ignore" in str(unfit)
    assert ".gitignore" in unfit.hint


@pytest.mark.parametrize("path", ["/etc/passwd", "../other", "~/key", "."])
async def test_what_lies_elsewhere_is_refused(project: Project, path: str) -> None:
    project.settings(f'[workspace]\nlink = ["{path}"]')
    plan_and_play(project)

    with pytest.raises(AutoBuildError, match="is no path inside the repository"):
        await project.run()


async def test_a_submodule_is_refused_until_a_set_up_line_fetches_it(
    project: Project, clean_environment: Path
) -> None:
    (clean_environment / ".gitconfig").write_text('[protocol "file"]\nallow = always\n')
    library = Project.make(project.path.parent / "library", {"lib.txt": "lib\n"})
    project.git("submodule", "--quiet", "add", str(library.path), "lib")
    gate = "[gate]\nchecks = ['grep -q lib lib/lib.txt']\n"
    project.settings(gate)
    project.commit_all("A library")
    plan_and_play(project, sleep(1), shell("git add -A && git commit -qm own"))

    unfit = await refused(project)

    assert "there are submodules (lib)" in str(unfit)
    project.settings(gate + lines_in(unfit))
    await builds_in_three_slots(project)
    assert run_git(project.path, "ls-tree", project.branch(), "lib").startswith("160000 commit")


@pytest.mark.skipif(bool(shutil.which("git-lfs")), reason="git-lfs is installed here")
@pytest.mark.parametrize("path", [".gitattributes", "assets/.gitattributes"])
async def test_files_in_git_lfs_are_refused_where_it_is_not_installed(
    project: Project, path: str
) -> None:
    project.write(path, "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    project.commit_all("Large files")
    plan_and_play(project)

    unfit = await refused(project)

    assert f"{path} keeps files in Git LFS" in str(unfit)
    assert "install git-lfs" in unfit.hint


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [True, False], ids=["listed by the agent", "not listed"])
async def test_a_secret_reaches_set_up_and_checks_and_an_agent_only_where_it_lists_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    for name in ("STRIPE_TEST_KEY", "OPENAI_TEST_KEY"):
        monkeypatch.setenv(name, "s3cret")
    wants = 'test "$STRIPE_TEST_KEY$OPENAI_TEST_KEY" = s3crets3cret'
    own = '["STRIPE_TEST_KEY", "OPENAI_TEST_KEY"]'
    project.settings(
        f"""secrets = {own if listed else "[]"}
[environment]
secrets = {own}
pass = ["STRIPE_*"]
[gate]
checks = ['''{wants}''']
[workspace]
setup = ['''{wants}''']
"""
    )
    seen = tmp_path / "environment"
    project.plan_of(chunk("one", files=["one.py"]))
    project.agent("one", shell(f"env > {shlex.quote(str(seen))}"), write("one.py"))

    report = await project.run()

    assert report.view.finished
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    known = {"STRIPE_TEST_KEY", "OPENAI_TEST_KEY"} & names
    assert known == ({"STRIPE_TEST_KEY", "OPENAI_TEST_KEY"} if listed else set())
    assert "OPENAI_API_KEY" in names, "what is no secret is passed on as ever"


# --- what a story needs -------------------------------------------------------------------------


def plan_three(project: Project, *files: str) -> None:
    """Plan three chunks, each with files of its own, separated by spaces."""
    chunks = [chunk(name, files=own.split()) for name, own in zip(NAMES, files, strict=True)]
    project.plan_of(*chunks)


def plan_and_play(project: Project, *steps: Step) -> None:
    """Plan three chunks that write a file each, and begin with these steps."""
    plan_three(project, *(f"{name}.py" for name in NAMES))
    for name in NAMES:
        project.agent(name, *steps, write(f"{name}.py"))


async def refused(project: Project) -> EnvironmentUnfit:
    """Build in three slots; return why that was refused before any agent was started."""
    updates: list[Update] = []
    with pytest.raises(EnvironmentUnfit) as unfit:
        await project.run(workers=3, on_update=updates.append)
    events = [one.what.event for one in updates if isinstance(one.what, Record)]
    assert not any(isinstance(event, ev.AttemptStarted) for event in events)
    return unfit.value


def lines_in(unfit: EnvironmentUnfit) -> str:
    """Return the lines for auto-build.toml that a refusal names, whole or by one key."""
    if block := re.search(r"in auto-build\.toml:\n(.+?)\n, or", unfit.hint, re.DOTALL):
        return block[1]
    line = re.search(r"(?:setup|copy|environment) = (?:\[.+?\]|\{ .+? \})", unfit.hint)
    assert line, f"no lines to mend it: {unfit.hint}"
    return f"[workspace]\n{line[0]}"


async def builds_in_three_slots(project: Project) -> Report:
    """See that three chunks land whose agents worked at the same time."""
    report = await project.run(workers=3, repair_rounds=0)
    assert report.labels() == dict.fromkeys(NAMES, "landed")
    begun = [
        event for event in report.events if isinstance(event, ev.AttemptStarted | ev.WorkCaptured)
    ]
    assert [type(event) for event in begun[:3]] == [ev.AttemptStarted] * 3
    assert {event.slot for event in report.of(ev.AttemptStarted)} == {1, 2, 3}
    return report


def every_path(project: Project) -> Sequence[str]:
    """Return every path that any commit of the repository holds."""
    listed = run_git(project.path, "rev-list", "--objects", "--all")
    return [line.partition(" ")[2] for line in listed.splitlines()]


def user_runs(project: Project, *argv: str) -> None:
    done = subprocess.run(argv, cwd=project.path, capture_output=True, timeout=240, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
