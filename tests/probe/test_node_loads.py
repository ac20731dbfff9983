"""Which of the user's files node loads in a slot: it looks upwards, and it follows links."""

import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from auto_build.probe import loads
from auto_build.probe.leaks import Leak, find_leaks
from auto_build.probe.loads import Tracer
from auto_build.probe.look import find_packages, look
from tests.probe.project import Project, environment, project_with, write

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
FILES = {
    "package.json": '{"name": "app", "dependencies": {"dep": "1"}}',
    "package-lock.json": "{}",
    "packages/x/package.json": '{"name": "x", "main": "index.js"}',
    "packages/x/index.js": "module.exports = 1;\n",
    "load.cjs": "require('dep');\n",
    "load.mjs": "import 'dep';\n",
    "workspace.cjs": "require('x');\n",
    ".gitignore": "node_modules\n",
}
DEP = {
    "node_modules/dep/package.json": '{"name": "dep", "exports": '
    '{"import": "./index.mjs", "require": "./index.js"}}',
    "node_modules/dep/index.js": "module.exports = 1;\n",
    "node_modules/dep/index.mjs": "export default 1;\n",
}


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    project = await project_with(tmp_path, FILES)
    write(project.root, DEP)
    return project


def judged(project: Project, linked: Sequence[str] = ()) -> tuple[Leak, ...]:
    return find_leaks(
        project.tracer.loaded(),
        project=str(project.root),
        linked=linked,
        virtualenvs=(),
        editable={},
        packages=find_packages(project.root),
        top={path.name for path in project.slot.iterdir()},
    )


@needs_node
@pytest.mark.parametrize(
    ("script", "file"), [("load.cjs", "index.js"), ("load.mjs", "index.mjs")], ids=["cjs", "esm"]
)
async def test_packages_of_the_users_checkout_are_named(
    project: Project, script: str, file: str
) -> None:
    assert await project.load(f"node {script}") == (f"node_modules/dep/{file}",)
    [leak] = judged(project)
    assert tomllib.loads(leak.mend) == {"workspace": {"setup": ["npm ci"]}}


@needs_node
@pytest.mark.parametrize("script", ["load.cjs", "load.mjs"])
async def test_packages_of_the_slot_are_not_named(project: Project, script: str) -> None:
    write(project.slot, DEP)
    assert await project.load(f"node {script}") == ()


@needs_node
async def test_packages_that_are_shared_on_purpose_are_no_leak(project: Project) -> None:
    (project.slot / "node_modules").symlink_to(project.root / "node_modules")
    assert await project.load("node load.cjs") == ("node_modules/dep/index.js",)
    assert judged(project, linked=["node_modules"]) == ()
    assert judged(project) != ()


@needs_node
@pytest.mark.parametrize("shared", [True, False])
async def test_a_workspace_link_that_leads_to_the_users_package_is_a_leak(
    project: Project, *, shared: bool
) -> None:
    (project.root / "node_modules/x").symlink_to("../packages/x")
    if shared:
        (project.slot / "node_modules").symlink_to(project.root / "node_modules")
    assert await project.load("node workspace.cjs") == ("packages/x/index.js",)
    [leak] = judged(project, linked=["node_modules"] if shared else [])
    assert "package x in packages/x" in leak.what
    assert ("out of `link`" in leak.mend) is shared


@needs_node
async def test_a_workspace_link_of_the_slot_is_no_leak(project: Project) -> None:
    (project.slot / "node_modules").mkdir()
    (project.slot / "node_modules/x").symlink_to("../packages/x")
    assert await project.load("node workspace.cjs") == ()


@needs_node
async def test_workers_and_scripts_that_a_test_runner_evaluates_are_seen(project: Project) -> None:
    files = {"src/w.js": "1", "src/a b.js": "1"}
    write(project.root, files)
    program = (
        "const fs = require('fs'), vm = require('vm'), root = process.argv[2];\n"
        "new vm.Script('(() => 1)()', {filename: root + '/src/a b.js'}).runInThisContext();\n"
        "new (require('worker_threads').Worker)(root + '/src/w.js');\n"
    )
    write(project.slot, {"runner.cjs": program})
    assert await project.load(f"node runner.cjs {project.root}") == ("src/a b.js", "src/w.js")


# --- reports -------------------------------------------------------------------------------------


def report(project: Path, *names: str) -> str:
    scripts = [{"scriptId": "1", "url": f"file://{project}/{name}"} for name in names]
    odd = [{"url": "node:fs"}, {"url": ""}, {"url": "evalmachine.<anonymous>"}, {"url": "file://["}]
    named = {"functionName": f'"url":"file://{project}/said.js"'}
    return json.dumps({"result": [*odd, *scripts, named]}, separators=(",", ":"))


@pytest.fixture
def tracer(tmp_path: Path) -> Tracer:
    (tmp_path / "notes" / "node").mkdir(parents=True)
    return Tracer(tmp_path / "project", tmp_path / "notes")


def test_a_report_names_scripts_as_urls(tracer: Tracer) -> None:
    text = report(tracer.project, "a%20b.js", "c.mjs?x=1", ".worktrees/w/d.js", "%C3%A9.js")
    (tracer.folder / "node" / "1.json").write_text(text)
    names = [str(Path(path).relative_to(tracer.project)) for path in tracer.loaded()]
    assert names == ["a b.js", "c.mjs", "é.js"]


def test_a_report_that_was_cut_tells_what_is_left_of_it(tracer: Tracer) -> None:
    text = report(tracer.project, "a.js", "b.js")
    (tracer.folder / "node" / "1.json").write_text(text[: text.index("b.js") + 1])
    assert tracer.loaded() == (f"{tracer.project}/a.js",)


def test_a_report_that_is_too_large_is_not_read(tracer: Tracer) -> None:
    path = tracer.folder / "node" / "1.json"
    path.write_text(report(tracer.project, "a.js"))
    with path.open("r+b") as file:
        file.truncate(loads._REPORT_BYTES)
    assert len(tracer.loaded()) == 1
    with path.open("r+b") as file:
        file.truncate(loads._REPORT_BYTES + 1)
    assert tracer.loaded() == ()


def test_a_folder_for_reports_that_a_check_has_already_is_kept(tracer: Tracer) -> None:
    assert tracer.environment({"NODE_V8_COVERAGE": "/x"})["NODE_V8_COVERAGE"] == "/x"
    assert tracer.environment({})["NODE_V8_COVERAGE"] == str(tracer.folder / "node")


# --- without running anything --------------------------------------------------------------------


async def seen(project: Project, linked: Sequence[str] = ()) -> list[str]:
    found = await look(
        project.processes, project=project.root, slot=project.slot, env=environment(), linked=linked
    )
    return [leak.what.partition(",")[0] for leak in found if "node" in leak.what]


UPWARDS = "node looks for packages upwards"


async def test_a_slot_without_packages_of_its_own_shows(project: Project) -> None:
    assert await seen(project) == [UPWARDS]
    assert await seen(project, linked=["node_modules"]) == []


async def test_a_slot_with_packages_of_its_own_is_well(project: Project) -> None:
    (project.root / "node_modules/x").symlink_to("../packages/x")
    (project.slot / "node_modules").mkdir()
    assert await seen(project) == []


async def test_a_project_without_packages_is_well(project: Project) -> None:
    shutil.rmtree(project.root / "node_modules")
    assert await seen(project) == []


@pytest.mark.parametrize("manifest", ["{}", "no JSON", '{"dependencies": {}}'])
async def test_a_slot_that_needs_no_packages_is_well(project: Project, manifest: str) -> None:
    write(project.slot, {"package.json": manifest})
    assert await seen(project) == []


async def test_a_workspace_link_shows_although_node_modules_is_shared(project: Project) -> None:
    write(project.root, {"packages/y/index.js": ""})
    (project.root / "node_modules/@me").mkdir()
    (project.root / "node_modules/@me/y").symlink_to("../../packages/y")
    (project.root / "node_modules/outside").symlink_to(project.notes)
    (project.root / "node_modules/same").symlink_to("dep")
    (project.slot / "node_modules").symlink_to(project.root / "node_modules")
    expected = ["a link in node_modules leads to package @me/y in packages/y of your checkout"]
    assert await seen(project, linked=["node_modules"]) == expected
