"""What comes after a merge, or in its place: taking it back, pull requests, signatures, pins."""

import asyncio
import json
import shutil
import subprocess  # noqa: TID251 - the user's own programs
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auto_build.cleaning import clean
from auto_build.core import events as ev
from auto_build.core.events import MergeForm
from auto_build.errors import NotReady
from auto_build.merging import merge
from auto_build.proposing import choose_program, propose
from auto_build.readiness import Form, Wish
from auto_build.unmerging import unmerge
from auto_build.verifying import verify
from tests.e2e.commands import auto_build
from tests.e2e.finished import BUILT, Finished, finish
from tests.e2e.project import SPEC, Project, run_git

pytestmark = pytest.mark.quick

FORMS: tuple[Form, ...] = ("auto", "merge", "squash")
REVIEWS = "[qa]\nreview = true\n"


# --- whose word it takes --------------------------------------------------------------------------


async def test_what_nobody_has_approved_is_merged_for_a_reason_only(project: Project) -> None:
    found = await finish(project, settings=REVIEWS)
    refused = auto_build(project, "merge", SPEC)
    pushed = auto_build(project, "merge", SPEC, "--pr")
    empty = auto_build(project, "merge", SPEC, "--force", " ")
    assert (refused.code, pushed.code, empty.code) == (1, 1, 2)
    assert "is not approved: nobody has reviewed it" in refused.err
    assert found.head == found.base

    done = auto_build(project, "merge", SPEC, "--force", "tried it by hand")

    assert done.code == 0, done.err
    assert "merged without an approval: tried it by hand" in done.out
    meant = next(event for event in found.events if isinstance(event, ev.MergeMeant))
    assert meant.forced == "tried it by hand"


async def test_what_a_person_has_approved_is_merged_until_something_lands(project: Project) -> None:
    found = await finish(project, settings=REVIEWS)
    approved = auto_build(project, "approve", SPEC)
    assert approved.code == 0, approved.err
    one_more = found.git("commit-tree", f"{found.staging}^{{tree}}", "-p", found.staging, "-m", "x")
    found.git("update-ref", f"refs/heads/auto-build/{SPEC}", one_more)
    void = auto_build(project, "merge", SPEC)
    found.git("update-ref", f"refs/heads/auto-build/{SPEC}", found.staging)

    done = auto_build(project, "merge", SPEC)

    assert void.code == 1
    assert f"what was approved is {found.staging[:10]}" in void.err
    assert done.code == 0, done.err
    assert "approved by" in done.out
    assert found.head == found.staging


# --- taken back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
async def test_a_merge_is_taken_back_and_can_be_made_again(project: Project, form: Form) -> None:
    found = await finish(project)
    project.write("README.md", "mine\n")
    await merge(found.build, Wish(form=form))

    done = await unmerge(found.build, revert=False)

    assert (found.head, done.commit, done.reverted) == (found.base, found.base, False)
    assert found.git("rev-parse", f"auto-build/{SPEC}") == found.staging
    assert (project.staging / "one.py").read_text() == "one\n"
    assert (found.path / "README.md").read_text() == "mine\n"
    assert found.kinds() == ["MergeMeant", "RunMerged", "MergeUndone"]
    assert (await merge(found.build, Wish(form=form))).branch == "main"
    assert found.merges() == 1


@pytest.mark.parametrize("form", FORMS)
async def test_a_merge_that_was_built_upon_is_taken_back_by_a_commit(
    project: Project, form: Form
) -> None:
    found = await finish(project)
    await merge(found.build, Wish(form=form))
    head = found.later("a.txt", "a\nbuilt\nc\nlater\n")
    with pytest.raises(NotReady, match="main has gone on since the merge: 1 commit"):
        await unmerge(found.build, revert=False)
    assert found.head == head

    done = await unmerge(found.build, revert=True)

    assert done.reverted
    assert found.git("rev-parse", "HEAD^") == head
    assert (found.path / "a.txt").read_text() == "a\nb\nc\nlater\n"
    assert not (found.path / "one.py").exists()
    with pytest.raises(NotReady, match="is not merged, so there is nothing to take back"):
        await unmerge(found.build, revert=False)


def published(found: Finished) -> None:
    found.git("update-ref", "refs/remotes/origin/main", found.head)


def on_another_branch(found: Finished) -> None:
    found.git("switch", "-q", "-c", "other")


def unsaved(found: Finished) -> None:
    found.project.write("a.txt", "mine\n")


@pytest.mark.parametrize(
    ("arrange", "said"),
    [
        (published, r"the merge is published already, in origin/main"),
        (on_another_branch, "it was merged into main, and you are on other"),
        (unsaved, r"would write over your unsaved changes in a\.txt"),
    ],
)
async def test_a_merge_stays_where_taking_it_back_would_cost_somebody(
    project: Project, arrange: Callable[[Finished], None], said: str
) -> None:
    found = await finish(project)
    await merge(found.build, Wish())
    arrange(found)

    with pytest.raises(NotReady, match=said) as refused:
        await unmerge(found.build, revert=False)

    assert refused.value.hint
    assert found.head == found.staging
    assert found.git("branch", "--list", f"auto-build/{SPEC}") == ""


async def test_what_was_merged_by_hand_is_taken_back_by_hand(project: Project) -> None:
    found = await finish(project)
    found.git("merge", "-q", f"auto-build/{SPEC}")
    await merge(found.build, Wish())
    with pytest.raises(NotReady, match="was merged by hand, into main"):
        await unmerge(found.build, revert=False)


async def test_the_commands_say_what_they_did(project: Project) -> None:
    found = await finish(project)
    found.later()
    merged = auto_build(project, "merge", SPEC)
    back = auto_build(project, "undo-merge", SPEC)
    assert (merged.code, back.code) == (0, 0), merged.err + back.err
    assert "(merge commit)" in merged.out
    assert "2 checks passed on the merged tree" in merged.out
    assert "in staging again" in back.out


# --- one commit -----------------------------------------------------------------------------------


async def test_a_squash_names_its_chunks_and_a_later_run_and_verify_know_them(
    project: Project,
) -> None:
    found = await finish(project)
    await merge(found.build, Wish(form="squash"))
    said = found.git("log", "-1", "--format=%B")
    assert "- one" in said
    assert said.endswith(f"Auto-Build-Spec: {SPEC}\nAuto-Build-Squashed: {found.staging}")
    assert found.git("rev-list", "--count", f"{found.base}..HEAD") == "1"
    assert (await verify(found.build)).head == found.staging

    report = await project.run()

    assert report.of(ev.AttemptStarted) == []
    assert report.of(ev.ChunkReset) == []
    assert found.git("rev-parse", f"auto-build/{SPEC}") == found.head


# --- as his git would -----------------------------------------------------------------------------


def _key(path: Path) -> Path:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    subprocess.run(make, check=True)
    return path


async def test_a_merge_is_signed_where_the_user_signs(project: Project, tmp_path: Path) -> None:
    key = _key(tmp_path / "key")
    signers = tmp_path / "signers"
    signers.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    for name, value in {
        "gpg.format": "ssh",
        "user.signingKey": str(key),
        "commit.gpgSign": "true",
        "gpg.ssh.allowedSignersFile": str(signers),
    }.items():
        project.git("config", name, value)
    found = await finish(project)
    found.later()

    done = await merge(found.build, Wish())

    assert done.form is MergeForm.MERGE
    assert found.git("log", "-1", "--format=%G? %GS %ae") == "G ada@example.org ada@example.org"
    await unmerge(found.build, revert=False)
    project.git("config", "user.signingKey", str(tmp_path / "gone"))
    with pytest.raises(NotReady, match="your signature refuses the merge"):
        await merge(found.build, Wish())


# --- a pull request -------------------------------------------------------------------------------


def _remote(found: Finished, tmp_path: Path) -> Path:
    bare = tmp_path / "remote.git"
    run_git(tmp_path, "init", "-q", "--bare", str(bare))
    found.git("remote", "add", "origin", str(bare))
    found.git("push", "-q", "origin", "main")
    return bare


def _program(folder: Path, name: str, code: int = 0) -> dict[str, str]:
    """Put a program in a folder that notes its words; return PATH with it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    log = folder / "called.json"
    path.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        "words = sys.argv[1:]\n"
        "if '--body-file' in words:\n"
        "    words.append(pathlib.Path(words[words.index('--body-file') + 1]).read_text())\n"
        f"pathlib.Path({str(log)!r}).write_text(json.dumps(words))\n"
        f"print('https://example.org/pull/1')\nsys.exit({code})\n"
    )
    path.chmod(0o755)
    tools = {str(Path(tool).parent) for tool in (shutil.which("git"), shutil.which("sh")) if tool}
    return {"PATH": ":".join([str(folder), *sorted(tools)])}


async def test_a_pull_request_is_pushed_and_opened_and_nothing_is_merged(
    project: Project, tmp_path: Path
) -> None:
    found = await finish(project)
    bare = _remote(found, tmp_path)

    done = auto_build(project, "merge", SPEC, "--pr", env=_program(tmp_path / "bin", "gh"))

    assert done.code == 0, done.err
    assert "https://example.org/pull/1" in done.out
    assert run_git(bare, "rev-parse", f"auto-build/{SPEC}").strip() == found.staging
    assert found.head == found.base
    words = json.loads((tmp_path / "bin" / "called.json").read_text())
    assert words[:4] == ["pr", "create", "--head", f"auto-build/{SPEC}"]
    assert words[words.index("--base") + 1] == "main"
    assert "- one" in words[-1]
    assert "not reviewed" in words[-1]
    assert found.kinds() == []


async def test_what_a_pull_request_lacks_is_said(project: Project, tmp_path: Path) -> None:
    found = await finish(project)
    nowhere = auto_build(project, "merge", SPEC, "--pr")
    _remote(found, tmp_path)
    refused = auto_build(project, "merge", SPEC, "--pr", env=_program(tmp_path / "a", "glab", 1))
    project.hook("pre-push", "echo not today >&2; exit 1")
    held = auto_build(project, "merge", SPEC, "--pr")
    assert (nowhere.code, refused.code, held.code) == (1, 1, 1)
    assert "there is no remote called 'origin'" in nowhere.err
    assert "is pushed, and glab opened no pull request" in refused.err
    assert "not today" in held.err


@pytest.mark.parametrize(
    ("url", "installed", "chosen"),
    [
        ("git@github.com:a/b.git", {"gh", "glab"}, "gh"),
        ("https://gitlab.example.org/a/b", {"gh", "glab"}, "glab"),
        ("https://gitlab.example.org/a/b", {"gh"}, "gh"),
        ("/srv/git/b.git", set(), None),
    ],
)
def test_the_program_is_the_one_that_the_host_suggests(
    url: str, installed: set[str], chosen: str | None
) -> None:
    assert choose_program(url, frozenset(installed)) == chosen


async def test_without_a_program_the_branch_is_pushed_all_the_same(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await finish(project)
    bare = _remote(found, tmp_path)
    monkeypatch.setenv("PATH", _program(tmp_path / "bin", "neither")["PATH"])
    done = await propose(found.build, Wish(), "origin")
    assert (done.program, done.url, done.base) == ("", "", "main")
    assert run_git(bare, "rev-parse", f"auto-build/{SPEC}").strip() == found.staging


# --- tidying up -----------------------------------------------------------------------------------


async def test_pins_go_when_a_build_has_been_over_for_long_and_not_before(
    project: Project,
) -> None:
    found = await finish(project, settings="[merge]\nkeep_pins_days = 0\n")
    pins = (f"refs/auto-build/attempts/{SPEC}/one/1", f"refs/auto-build/user/{SPEC}/checkout")
    for pin in pins:
        found.git("update-ref", pin, found.staging)
    alive = await clean(found.path, pins=True)
    assert alive.pins == ()
    await merge(found.build, Wish(form="squash"))

    tried = await clean(found.path, pins=True, dry_run=True)
    kept = found.git("for-each-ref", "refs/auto-build").splitlines()
    done = await clean(found.path, pins=True)

    assert len(kept) == 3
    assert {pins[0], f"refs/auto-build/merged/{SPEC}/1"} <= set(tried.pins)
    assert done.pins
    assert found.git("for-each-ref", "refs/auto-build") == ""
    found.git("reflog", "expire", "--expire=now", "--all")
    found.git("gc", "--quiet", "--prune=now")
    report = await project.run()
    assert report.of(ev.AttemptStarted) == [], "the squash is known to hold what has landed"


def test_pins_of_a_build_that_is_over_since_lately_stay(project: Project) -> None:
    async def story() -> None:
        found = await finish(project)
        await merge(found.build, Wish())
        done = await clean(found.path, pins=True)
        assert (done.pins, done.young, done.days) == ((), 1, 30)
        assert {path: (found.path / path).read_text() for path in BUILT} == BUILT

    asyncio.run(story())
