"""What strays on the user's side is seen, taken back byte for byte, and kept."""

import asyncio
import shutil
from pathlib import Path

import pytest

from auto_build.containment.looks import Looking
from auto_build.containment.shadow import Shadow
from auto_build.containment.strays import Hand, Mode, compare
from auto_build.containment.watch import Round
from tests.containment.side import A, Side
from tests.e2e.project import SPEC, Project, chunk, run_git

pytestmark = pytest.mark.slow


def make_project(folder: Path) -> Project:
    """Make a checkout in which somebody is at work."""
    made = Project.make(
        folder / "my pröject",
        {
            "a.txt": "a\nb\nc\n",
            "run.sh": "#!/bin/sh\n",
            "src/one.py": "1\n",
            "src/deep/two.py": "2\n",
            "ünï cödé.txt": "x\n",
        },
    )
    (made.path / "link").symlink_to("a.txt")
    (made.path / "run.sh").chmod(0o755)
    made.commit_all("More")
    made.write("a.txt", "stashed\n")
    made.git("stash", "push", "-q", "-m", "first")
    made.write("a.txt", "stashed again\n")
    made.git("stash", "push", "-q", "-m", "second")
    made.write("a.txt", "a\nunsaved\nc\n")
    made.write("src/one.py", "staged\n")
    made.git("add", "src/one.py")
    made.write("src/one.py", "staged, and more\n")
    made.write("new.txt", "untracked\n")
    (made.path / "new.txt").chmod(0o600)
    made.write("notes/todo.txt", "untracked too\n")
    made.write(".env", "TOKEN=1\n")
    made.plan_of(chunk("one"))
    made.write("node_modules/x/index.js", "x\n")
    made.write(".gitignore", "*.log\n.env\n__pycache__/\nnode_modules/\n")
    made.commit_paths(".gitignore")
    made.git("branch", "other", "HEAD~")
    made.git("tag", "v1")
    made.hook("pre-commit", "exit 0")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Side:
    """Return one side for all that is put back: each finds it as the one before did."""
    project = make_project(tmp_path_factory.mktemp("held"))

    async def begin() -> Side:
        side = await Side.make(project, watched=False)
        await side.begin()
        return side

    return asyncio.run(begin())


HARM = {
    "a tracked file is changed": ("echo harm > run.sh", "run.sh was changed"),
    "unsaved changes are overwritten": ("git show HEAD:a.txt > a.txt", "a.txt was changed"),
    "size and time stay": (
        "touch -r run.sh ../t; echo '#!/bin/no' > run.sh; touch -r ../t run.sh",
        "run.sh was changed",
    ),
    "an untracked file is changed": ("echo harm > new.txt", "new.txt was changed"),
    "a file is deleted": ("rm src/one.py", "src/one.py was deleted"),
    "an untracked file is deleted": ("rm new.txt", "new.txt was deleted"),
    "a mode is changed": ("chmod 600 run.sh", "run.sh was changed"),
    "a file is added": ("echo harm > stray.txt", "stray.txt was added"),
    "a file is added in a new folder": ("mkdir -p d/e; echo x > d/e/f", "d/e/f was added"),
    "an ignored file is deleted": ("rm .env", ".env, which git ignores, was deleted"),
    "a folder is deleted": ("rm -r src notes", "src/deep/two.py was deleted"),
    "a folder becomes a link": ("mv src moved; ln -s moved src", "src was added"),
    "a folder becomes a file": ("rm -r src; echo harm > src", "src was added"),
    "a file becomes a folder": ("rm a.txt; mkdir a.txt; echo x > a.txt/b", "a.txt was deleted"),
    "a file becomes an empty folder": ("rm a.txt; mkdir a.txt", "a.txt was deleted"),
    "a file becomes a folder of what is ignored": (
        "rm a.txt; mkdir a.txt; echo x > a.txt/x.log",
        "a.txt was deleted",
    ),
    "a file becomes a link": ("rm a.txt; ln -s /etc/passwd a.txt", "a.txt was changed"),
    "a link leads elsewhere": ("ln -sfn run.sh link", "link was changed"),
    "a repository is made": ("git init -q inner; echo x > inner/x", "inner/ was added"),
    "the list of what to ignore is changed": (
        "echo 'a*' > .gitignore; echo x > 'a stray.txt'",
        "a stray.txt was added",
    ),
    "the specs are deleted": (
        "rm -r auto-build",
        "auto-build/specs/001-demo/implementation_plan.json was deleted",
    ),
    "a hook is planted": (
        "echo harm > .git/hooks/post-commit; chmod +x .git/hooks/post-commit",
        "git's hooks/post-commit was added",
    ),
    "a hook is changed": (
        "echo harm > .git/hooks/pre-commit",
        "git's hooks/pre-commit was changed",
    ),
    "a hook is deleted": ("rm .git/hooks/pre-commit", "git's hooks/pre-commit was deleted"),
    "the settings are changed": ("git config user.name Eve", "git's config was changed"),
    "the settings are broken": ("echo '[core' > .git/config", "git's config was changed"),
    "HEAD is broken": ("echo harm > .git/HEAD", "HEAD was moved from main to what git cannot"),
    "HEAD is gone": ("rm .git/HEAD", "HEAD was moved from main to what git cannot"),
    "attributes are set": (
        "echo '* filter=harm' > .git/info/attributes",
        "git's info/attributes was added",
    ),
    "the stash is popped elsewhere": ("git stash drop -q", "the stash entry"),
    "an older entry is dropped": ("git stash drop -q 'stash@{1}'", "the stash entry"),
    "the stash is cleared": ("git stash clear", "the stash entry"),
    "staging is deleted": ("rm -r .worktrees/auto-build", "the staging worktree was removed"),
    "staging is removed by git": (
        "git worktree remove --force .worktrees/auto-build",
        "the staging worktree was removed",
    ),
}


@pytest.mark.parametrize("name", HARM)
async def test_what_was_harmed_is_put_back_and_named(held: Side, name: str) -> None:
    harm, words = HARM[name]
    held.events.clear()
    times = held.times()

    held.shell(harm)
    await held.check()

    assert held.same(), held.events
    assert held.times() == times
    assert any(one.startswith(words) for one in held.back), held.events
    assert held.told == ()
    assert held.worktrees.find(held.worktrees.staging_path)
    told = len(held.events)
    await held.check()
    assert len(held.events) == told, "it is told once"


async def test_what_strays_left_is_kept_and_can_be_had(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    (side.path / "a.txt").write_text("harm\n")
    (side.path / "stray.bin").write_bytes(b"\0\xff" * 99)
    (side.path / "src/one.py").unlink()
    (side.path / ".git/hooks/pre-commit").write_text("evil\n")

    await side.check()

    assert side.same()
    (event,) = side.events
    assert event.chunks == (A,)
    patch = side.kept_patch()
    assert f"git apply {patch}" in event.kept
    assert (side.logs / "strays-1.files/git/hooks/pre-commit").read_text() == "evil\n"
    side.git("apply", str(patch))
    assert (side.path / "a.txt").read_text() == "harm\n"
    assert (side.path / "stray.bin").read_bytes() == b"\0\xff" * 99
    assert not (side.path / "src/one.py").exists()


async def test_a_secret_that_git_ignores_never_enters_git(project: Project) -> None:
    project.write(".env", "TOKEN=very secret\n")
    side = await Side.make(project)
    await side.begin()
    (side.path / ".env").write_text("TOKEN=another\n")

    await side.check()

    assert side.told == (".env, which git ignores, was changed",)
    assert (side.path / ".env").read_text() == "TOKEN=another\n", "a program may have written it"
    assert (side.logs / "strays-1.files/before/.env").read_text() == "TOKEN=very secret\n"
    objects = side.git("cat-file", "--batch-all-objects", "--batch")
    assert "very secret" not in objects
    assert "another" not in objects


async def test_what_a_user_does_with_git_is_the_users(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    (side.path / "mine.txt").write_text("mine\n")
    side.git("add", "mine.txt")
    side.git("-c", "user.name=x", "commit", "-q", "-m", "Mine")
    (side.path / "a.txt").write_text("mine too\n")
    (side.path / ".env").unlink()

    await side.check()

    assert side.events == []
    assert (side.path / "a.txt").read_text() == "mine too\n"
    assert not (side.path / ".env").exists()
    assert len(side.said) == 1
    (side.path / "a.txt").write_text("harm\n")
    await side.check()
    assert (side.path / "a.txt").read_text() == "mine too\n", "it is watched as it is now"


@pytest.mark.parametrize("move", [("checkout", "-q", "-f", "other"), ("add", "-A")])
async def test_what_an_agents_git_does_in_the_checkout_is_taken_back(
    project: Project, move: tuple[str, ...]
) -> None:
    side = await Side.make(project)
    await side.begin()
    side.agent_git(*move)

    await side.check()

    assert side.same()
    assert "the index was changed" in side.back


async def test_a_commit_beside_an_agents_git_is_not_undone(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    side.agent_git("add", "-A")
    side.git("commit", "-q", "-m", "Mine")
    after = side.git("rev-parse", "HEAD")

    await side.check()

    assert side.git("rev-parse", "HEAD") == after
    assert side.git("status", "--porcelain") == ""


async def test_refs_are_told_with_the_way_back_and_kept(project: Project) -> None:
    side = await Side.make(project, watched=False)
    await side.begin()
    other, tag = (side.git("rev-parse", one).strip() for one in ("other", "v1"))
    side.git("branch", "-q", "-f", "other", "main")
    side.git("tag", "-d", "v1")

    await side.check()

    now = side.git("rev-parse", "other").strip()
    assert side.told == (
        (
            f"refs/heads/other was moved from {other[:10]} to {now[:10]}"
            f" (back: git update-ref refs/heads/other {other})"
        ),
        f"refs/tags/v1 was deleted at {tag[:10]} (back: git update-ref refs/tags/v1 {tag})",
    )
    await side.watch.close(Round(chunks=(A,), folder=side.logs))
    pinned = side.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/auto-build/user")
    assert pinned.splitlines() == [
        f"refs/auto-build/user/001-demo/lost/refs%2Fheads%2Fother-{other[:10]} {other}",
        f"refs/auto-build/user/001-demo/lost/refs%2Ftags%2Fv1-{tag[:10]} {tag}",
    ]


async def test_with_report_nothing_is_touched_but_the_stash(project: Project) -> None:
    side = await Side.make(project, mode=Mode.REPORT, watched=False)
    await side.begin()
    stash = side.git("stash", "list")
    (side.path / "a.txt").write_text("mine\n")
    side.git("stash", "drop", "-q")

    await side.check()

    assert (side.path / "a.txt").read_text() == "mine\n"
    assert side.told == ("a.txt was changed",)
    assert side.git("stash", "list") == stash
    patch = side.kept_patch()
    (side.path / "a.txt").write_text("a\nunsaved\nc\n")
    side.git("apply", str(patch))
    assert (side.path / "a.txt").read_text() == "mine\n"
    (side.path / "a.txt").write_text("mine once more\n")
    await side.check()
    assert len(side.events) == 2, "and what changes afterwards is told again"


async def test_entries_that_were_stashed_meanwhile_stay_on_top(project: Project) -> None:
    side = await Side.make(project, watched=False)
    await side.begin()
    side.git("stash", "drop", "-q", "stash@{1}")
    made = side.git("stash", "create").strip()
    side.git("stash", "store", "-m", "third", made)

    await side.check()

    told = [line.partition(": ")[2] for line in side.git("stash", "list").splitlines()]
    assert told == ["third", "On main: second", "On main: first"]


async def test_what_is_too_large_is_named_and_left_alone(project: Project) -> None:
    with (project.path / "disk.img").open("wb") as file:
        file.truncate(60 * 1024 * 1024)
    run_git(project.path, "init", "-q", "inner")
    (project.path / "inner/x").touch()
    side = await Side.make(project)
    await side.begin()
    (side.path / "disk.img").unlink()
    shutil.rmtree(side.path / "inner/.git")

    await side.check()

    assert side.events == []
    assert (side.path / "inner/x").exists(), "its files are no strays of anybody's"
    assert "disk.img" in side.said[0]
    assert "inner/" in side.said[0]


async def test_where_there_are_too_many_files_none_is_touched(project: Project) -> None:
    side = await Side.make(project)
    folder = side.watch.folder
    looking = Looking(side.watch.repo, side.worktrees, Shadow(side.watch.repo, folder), 3)

    first = await looking.first()
    (side.path / "stray.txt").touch()
    then = await looking.again(first)

    assert "more than 3" in first.unwatched[0]
    assert compare(first.side, then.side, Hand.NOBODY) == ()


async def test_what_there_is_no_room_for_is_left_out(project: Project) -> None:
    side = await Side.make(project)
    shadow = Shadow(side.watch.repo, side.watch.folder)
    size = len((side.path / "a.txt").read_bytes())
    looking = Looking(side.watch.repo, side.worktrees, shadow, room_bytes=size)

    first = await looking.first()
    (side.path / "new.txt").unlink()
    then = await looking.again(first)

    assert {"new.txt", "notes/todo.txt"} <= set(first.unwatched)
    assert compare(first.side, then.side, Hand.NOBODY) == ()


async def test_of_many_strays_the_first_are_told_and_all_are_taken_back(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    side.shell("mkdir many; cd many; for n in $(seq 250); do : > $n; done")

    await side.check()

    assert side.same()
    assert len(side.back) == 201
    assert side.back[-1] == "and 50 more"


async def test_a_large_stray_is_moved_to_where_it_is_kept(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    with (side.path / "stray.img").open("wb") as file:
        file.truncate(60 * 1024 * 1024)

    await side.check()

    assert side.same()
    assert (side.logs / "strays-1.files/stray.img").stat().st_size == 60 * 1024 * 1024


async def test_a_git_of_the_users_that_is_at_work_is_waited_for(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    (side.path / ".git/index.lock").touch()
    (side.path / "a.txt").write_text("harm\n")
    checking = asyncio.create_task(side.check())
    await asyncio.wait({checking}, timeout=0.2)
    assert (side.path / "a.txt").read_text() == "harm\n"

    (side.path / ".git/index.lock").unlink()
    await checking

    assert side.same()


async def test_after_a_session_that_was_cut_off_nothing_is_undone(project: Project) -> None:
    killed = await Side.make(project)
    await killed.begin()
    (killed.path / "a.txt").write_text("harm, or work\n")
    killed.git("stash", "drop", "-q")

    side = await Side.make(project)
    await side.begin()
    await side.check()

    assert side.same()
    said = "\n".join(side.said)
    assert "a.txt; as they were: git diff refs/auto-build/user/001-demo/earlier/" in said
    ref = said.partition("git diff ")[2].partition("\n")[0]
    assert side.git("show", f"{ref}:a.txt") == "a\nunsaved\nc\n"
    back = said.partition("git stash store ")[2].partition(")")[0]
    side.git("stash", "store", *back.split())
    assert len(side.git("stash", "list").splitlines()) == 2


async def test_slots_that_are_gone_are_told_but_not_those_that_we_moved(project: Project) -> None:
    side = await Side.make(project)
    head = await side.watch.repo.require_user_head()
    for slot in (1, 2, 3, 4):
        await side.worktrees.require_slot(slot, head)
    await side.begin()
    for slot in (1, 2, 3):
        await side.worktrees.remove(side.worktrees.slot_path(slot))
    side.watch.expect_gone(3)

    await side.watch.check(Round(chunks=(A,), folder=side.logs, owners={2: "b"}, slot=1))

    assert side.told == ("the worktree of worker 2 was removed, with what chunk b had there",)


ODD = {
    "a merge is unfinished": "git checkout -q -b x; echo x > a.txt; git commit -qam x; git checkout"
    " -q main; echo y > a.txt; git commit -qam y; git merge -q x > /dev/null || true",
    "HEAD is detached": "git checkout -q --detach",
    "the index is split": "git update-index --split-index",
    "files are to be added": "echo n > n.txt; git add -N n.txt",
    "files are assumed unchanged": "git update-index --assume-unchanged a.txt; echo x > a.txt",
    "some files are left out": "git sparse-checkout set --no-cone '/*' '!/left/'",
    "a file is deleted": "rm a.txt; echo x > b.txt",
    "a lock was left": "touch .git/index.lock",
    "line ends are converted": (
        "git config core.autocrlf input; printf 'x\\r\\n' > a.txt; git add ."
    ),
    "names are odd": (
        "echo x > 'a b\tc'; echo x > '\"q\"'; echo x > ':(top)x'; mkdir -- -d; echo x > -d/y"
    ),
}


@pytest.mark.parametrize("name", ODD)
async def test_in_whatever_state_a_checkout_is(tmp_path: Path, name: str) -> None:
    project = Project.make(
        tmp_path / "odd", {"a.txt": "a\n", "b.txt": "b\n", "left/x": "x\n", "right/y": "y\n"}
    )
    side = await Side.make(project, watched=False)
    side.shell(ODD[name])
    await side.begin()
    await side.check()
    assert side.events == []
    side.shell("echo harm > b.txt; rm -rf right; echo harm > a.txt; echo harm > stray")

    await side.check()

    assert side.same(), side.events
    assert {"b.txt was changed", "right/y was deleted", "stray was added"} <= set(side.back)


async def test_a_checkout_that_is_a_linked_worktree_of_a_sha256_repository(tmp_path: Path) -> None:
    first = tmp_path / "first"
    run_git(tmp_path, "init", "-q", "--object-format=sha256", "first")
    run_git(
        first,
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@y",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x",
    )
    run_git(first, "worktree", "add", "-q", "-b", "mine", "../second")
    project = Project(tmp_path / "second")
    project.write("a.txt", "unsaved\n")
    side = await Side.make(project, watched=False)
    await side.begin()
    side.shell("echo harm > a.txt; touch stray; git config x.y z")

    await side.check()

    assert side.same(), side.events
    assert len(side.back) == 3


FILTERS = {
    "line endings": ("* text=auto eol=crlf\n", b"one\r\ntwo\nthree\r\n"),
    "ident": ("*.txt ident\n", b"$Id$\n"),
    "encoding": ("*.txt working-tree-encoding=UTF-16LE\n", "ö\r\n".encode("utf-16-le")),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_files_that_git_converts_are_put_back_as_they_lie_there(
    tmp_path: Path, name: str
) -> None:
    attributes, content = FILTERS[name]
    project = Project.make(tmp_path / "converted", {".gitattributes": attributes, "x.md": "x\n"})
    (project.path / "odd.txt").write_bytes(content)
    project.commit_all("Odd")
    run_git(project.path, "checkout-index", "-f", "-a")
    (project.path / "odd.txt").write_bytes(content)
    side = await Side.make(project)
    await side.begin()
    (side.path / "odd.txt").write_bytes(b"harm\n")
    (side.path / "x.md").unlink()

    await side.check()

    assert side.same()
    assert (side.path / "odd.txt").read_bytes() == content


async def test_what_set_up_writes_about_submodules_is_no_stray(project: Project) -> None:
    side = await Side.make(project)
    await side.begin()
    side.git("config", "submodule.lib.url", "/somewhere")

    await side.check()

    assert side.events == []
    side.git("config", "user.name", "Eve")
    await side.check()
    assert side.back == ("git's config was changed",)
    assert side.git("config", "submodule.lib.url") == "/somewhere\n"


async def test_what_is_written_in_specs_is_meant_and_comes_back_as_it_was_last(
    project: Project,
) -> None:
    side = await Side.make(project)
    await side.begin()
    plan, notes = (
        side.path / f"auto-build/specs/{SPEC}/{name}"
        for name in ("implementation_plan.json", "HUMAN_INPUT.md")
    )
    plan.write_text("edited\n")
    notes.write_text("be brief\n")
    await side.check()
    assert side.events == []
    shutil.rmtree(plan.parent)

    await side.check()

    assert (plan.read_text(), notes.read_text()) == ("edited\n", "be brief\n")
