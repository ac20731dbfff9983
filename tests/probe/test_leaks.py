"""Which loaded files are a leak, what leads to them, and what mends it."""

import tomllib
from collections.abc import Collection, Mapping, Sequence

import pytest

from auto_build.probe.leaks import Leak, find_leaks

PROJECT = "/home/u/project"


def leaks(
    *paths: str,
    linked: Sequence[str] = (),
    virtualenvs: Sequence[str] = (),
    editable: Mapping[str, str] | None = None,
    packages: Mapping[str, str] | None = None,
    top: Collection[str] = (),
) -> tuple[Leak, ...]:
    return find_leaks(
        [f"{PROJECT}/{path}" for path in paths],
        project=PROJECT,
        linked=linked,
        virtualenvs=virtualenvs,
        editable=editable or {},
        packages=packages or {},
        top=top,
    )


def test_nothing_loaded_is_no_leak() -> None:
    assert leaks() == ()


def test_files_of_others_are_no_leak() -> None:
    paths = ["/usr/lib/python3/os.py", f"{PROJECT}2/a.py"]
    found = find_leaks(paths, project=PROJECT, linked=(), virtualenvs=(), editable={})
    assert found == ()


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        "env/lib/python3.11/site-packages/a/__init__.py",
        "usr/lib/python3/dist-packages/a.py",
        "src/app.egg-info/entry_points.txt",
        "src/app-0.1.dist-info/METADATA",
    ],
)
def test_what_others_wrote_is_no_leak(path: str) -> None:
    assert leaks(path) == ()


def test_a_virtual_environment_of_the_users_is_no_leak() -> None:
    assert leaks("env/bin/pytest", virtualenvs=[f"{PROJECT}/env"]) == ()
    assert leaks("env2/bin/pytest", virtualenvs=[f"{PROJECT}/env"]) != ()


def test_what_is_linked_on_purpose_is_no_leak() -> None:
    assert leaks("node_modules/dep/index.js", linked=["node_modules"]) == ()
    assert leaks("data/x.bin", linked=["data/"]) == ()
    assert leaks("data2/x.bin", linked=["data"]) != ()


LOCKS = [
    ({"package-lock.json"}, "npm ci"),
    ({"pnpm-lock.yaml"}, "pnpm install --frozen-lockfile"),
    ({"yarn.lock"}, "yarn install --frozen-lockfile"),
    ({"yarn.lock", ".yarnrc.yml"}, "yarn install --immutable"),
    ({"bun.lock"}, "bun install --frozen-lockfile"),
    (set(), "npm install --no-package-lock"),
]


@pytest.mark.parametrize(("top", "command"), LOCKS)
def test_packages_found_upwards_are_mended_by_the_lock_file(top: set[str], command: str) -> None:
    [leak] = leaks("node_modules/b/index.js", "node_modules/a/index.js", top=top)
    assert leak.paths == ("node_modules/a/index.js", "node_modules/b/index.js")
    assert tomllib.loads(leak.mend) == {"workspace": {"setup": [command]}}
    assert 'link = ["node_modules"]' in leak.what


def test_a_package_of_the_workspace_is_a_leak_although_node_modules_is_linked() -> None:
    packages = {"@me/x": f"{PROJECT}/packages/x"}
    [leak] = leaks("packages/x/index.js", packages=packages, linked=["node_modules"])
    assert "package @me/x in packages/x" in leak.what
    assert leak.mend.startswith('# take "node_modules" out of `link` first')
    assert "setup" in tomllib.loads(leak.mend)["workspace"]


def test_what_a_package_of_the_workspace_brings_along_is_one_leak_with_it() -> None:
    packages = {"x": f"{PROJECT}/packages/x"}
    files = ("packages/x/index.js", "packages/x/node_modules/dep/index.js")
    assert [leak.paths for leak in leaks(*files, packages=packages)] == [files]


def test_an_editable_install_is_named_with_what_mends_it() -> None:
    [leak] = leaks("src/app/core.py", editable={"app": f"{PROJECT}/src"})
    assert "app is installed editable from src of your checkout" in leak.what
    assert tomllib.loads(leak.mend) == {
        "workspace": {
            "setup": ["python3 -m venv .venv && .venv/bin/pip install -e ."],
            "environment": {"PATH": "{worktree}/.venv/bin:{PATH}"},
        }
    }


def test_a_shared_environment_is_to_be_unlinked_before_a_new_one_is_made_in_its_place() -> None:
    [leak] = leaks("src/a.py", editable={"app": f"{PROJECT}/src"}, linked=[".venv"])
    assert leak.mend.startswith('# take ".venv" out of `link` first')
    assert tomllib.loads(leak.mend)


def test_the_innermost_editable_install_is_the_one() -> None:
    editable = {"all": PROJECT, "part": f"{PROJECT}/packages/part"}
    found = leaks("packages/part/a.py", "packages/other/b.py", editable=editable)
    assert [leak.paths for leak in found] == [("packages/other/b.py",), ("packages/part/a.py",)]
    assert "all is installed editable from your checkout," in found[0].what
    assert "part is installed editable from packages/part" in found[1].what


def test_data_beside_code_that_was_loaded_belongs_to_it() -> None:
    files = ("src/app/page.html", "src/app/web.py")
    editable = {"app": f"{PROJECT}/src"}
    assert [leak.paths for leak in leaks(*files, editable=editable)] == [files]
    [alone] = leaks("src/app/page.html", editable=editable)
    assert "absolute path" in alone.what


def test_any_other_file_is_blamed_on_an_absolute_path() -> None:
    [leak] = leaks("tools/b.py", "tools/a.js")
    assert leak.paths == ("tools/a.js", "tools/b.py")
    assert "tools/a.js" in leak.what
    assert "absolute path" in leak.what
    assert leak.mend == ""


def test_settings_that_the_slot_has_itself_are_no_leak_if_a_tool_looks_further_up() -> None:
    top = {"pyproject.toml", ".eslintrc.js", "babel.config.js"}
    assert leaks("pyproject.toml", ".eslintrc.js", "babel.config.js", top=top) == ()


def test_code_at_the_top_is_a_leak_although_the_slot_has_it_too() -> None:
    [leak] = leaks("app.py", editable={"app": PROJECT}, top={"app.py"})
    assert leak.paths == ("app.py",)


def test_settings_that_only_the_checkout_has_are_a_leak() -> None:
    [leak] = leaks("pytest.ini", top={"pyproject.toml"})
    assert "pytest.ini" in leak.what
    assert tomllib.loads(leak.mend) == {"workspace": {"link": ["pytest.ini"]}}


def test_only_some_files_are_named_and_each_cause_is_one_leak() -> None:
    many = [f"node_modules/d{number}/index.js" for number in range(9)]
    found = leaks(*many, *many, "src/a.py", "x/y.py", editable={"app": f"{PROJECT}/src"})
    assert [len(leak.paths) for leak in found] == [5, 1, 1]
