"""The ref firewall, with real git: what a worker's git may write, and whose hooks run when."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from auto_build.containment.firewall import HOOKS, MOST_BYTES, Evidence, Firewall
from auto_build.errors import EnvironmentUnfit
from auto_build.process import Finished, Processes
from tests.e2e.project import run_git

pytestmark = pytest.mark.slow

WORKER = 7
INSTEAD = "commit on the detached HEAD of your own worktree"
ANY = range(256)
STAGING = "refs/heads/auto-build/001"


@dataclass(frozen=True)
class World:
    """A user's repository with a stash and a tag, and a worker's slot in it."""

    user: Path
    firewall: Firewall
    env: Mapping[str, str]

    @property
    def slot(self) -> Path:
        return self.user / ".worktrees" / "slot"

    @property
    def common_dir(self) -> Path:
        return self.user / ".git"

    @property
    def slot_git_dir(self) -> Path:
        return self.common_dir / "worktrees" / "slot"

    async def types(self, line: str, cwd: Path | None = None) -> Finished:
        """Run a shell line as a worker's agent would."""
        where = cwd or self.slot
        return await Processes().run("sh", "-c", line, cwd=where, env=self.env, ok=ANY)

    async def does(self, line: str, cwd: Path | None = None) -> str:
        """Run a shell line that works; return what it prints."""
        done = await self.types(line, cwd)
        assert done.code == 0, done.stderr
        return done.stdout.strip()

    def refs(self) -> dict[str, bytes]:
        """Return every file of refs that the user has, and the log of the stash."""
        found = [*(self.common_dir / "refs").rglob("*"), *self.common_dir.glob("packed-refs")]
        found += [self.common_dir / "HEAD", self.common_dir / "logs" / "refs" / "stash"]
        files = {str(path): path.read_bytes() for path in found if path.is_file()}
        return {path: raw for path, raw in files.items() if not _is_empty_pack(raw)}

    def hook(self, name: str, body: str, folder: Path | None = None) -> Path:
        """Install a hook of the user's, or of another repository's."""
        path = (folder or self.common_dir / "hooks") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path


def _is_empty_pack(raw: bytes) -> bool:
    """Say whether a file is a packed-refs without refs, which git writes when it deletes one."""
    return raw.startswith(b"# pack-refs") and raw.count(b"\n") == 1


def program_environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }


@pytest.fixture
def world(tmp_path: Path, clean_environment: Path) -> World:
    user = tmp_path / "my pröject"
    user.mkdir()
    run_git(user, "init", "-q", "-b", "main")
    run_git(user, "config", "user.name", "Ada")
    run_git(user, "config", "user.email", "ada@example.org")
    for text in ("1\n", "2\n"):
        (user / "a.txt").write_text(text)
        run_git(user, "add", "-A")
        run_git(user, "commit", "-q", "-m", text.strip())
    (user / "a.txt").write_text("stashed\n")
    run_git(user, "stash", "--quiet")
    run_git(user, "tag", "v1")
    run_git(user, "update-ref", STAGING, "main")
    run_git(user, "branch", "free")
    run_git(user, "worktree", "add", "-q", "--detach", ".worktrees/slot", "main")
    firewall = Firewall(user / ".git" / "auto-build" / "hooks", user / ".git")
    firewall.write()
    stated = program_environment(clean_environment)
    git_dir = user / ".git" / "worktrees" / "slot"
    return World(user, firewall, firewall.environment(stated, git_dir=git_dir, worker=WORKER))


# --- what is refused ------------------------------------------------------------------------------

REFUSED = {
    "stash push": "echo x > a.txt; git stash push",
    "a stash of what git does not track": "echo x > b.txt; git stash push -u",
    "branch": "git branch new",
    "branch -f": "git branch -f free HEAD~",
    "branch -f of staging": "git branch -f auto-build/001 HEAD~",
    "branch -D": "git branch -D free",
    "branch -m": "git branch -m free other",
    "tag": "git tag new",
    "tag -d": "git tag -d v1",
    "tag -a": "git tag -a -m x new",
    "update-ref of main": "git update-ref refs/heads/main HEAD~",
    "update-ref of staging": f"git update-ref {STAGING} HEAD~",
    "update-ref of several": "printf 'create refs/worktree/x HEAD\\ncreate refs/heads/x HEAD\\n'"
    " | git update-ref --stdin",
    "update-ref of another worktree's HEAD": "git update-ref --no-deref main-worktree/HEAD HEAD~",
    "update-ref of a pin": "git update-ref refs/auto-build/attempts/x/1 HEAD",
    "checkout -b": "git checkout -q -b new",
    "switch -c": "git switch -q -c new",
    "a commit on an orphan branch": "git checkout -q --orphan new; git commit -qm x",
    "a commit on a branch of the user's": "git checkout -q free; git commit -qm x --allow-empty",
    "fetch into refs": "git fetch -q . HEAD:refs/heads/new",
    "push to .": "git push -q . HEAD:refs/heads/new",
    "push by path": 'git push -q "$(git rev-parse --git-common-dir)" HEAD:refs/heads/new',
    "push by URL": 'git push -q "file://$(git rev-parse --git-common-dir)" HEAD:refs/heads/new',
    "push to somewhere else": "git init -q --bare ../x; git push -q ../x HEAD:refs/heads/new",
    "notes": "git notes add -m x",
    "worktree add -b": "git worktree add -q -b new ../other",
    "worktree add --detach": "git worktree add -q --detach ../other",
    "pack-refs": "git pack-refs --all",
    "replace": "git replace HEAD HEAD~",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
async def test_what_writes_refs_of_the_users_is_refused_and_says_what_to_do(
    world: World, line: str
) -> None:
    before = world.refs()

    done = await world.types(line)

    assert done.code != 0
    assert INSTEAD in done.stderr
    assert str(world.slot) in done.stderr
    assert world.refs() == before


@pytest.mark.parametrize("line", ["git branch -D free", "git tag -d v1", "git update-ref -d HEAD"])
async def test_refs_that_are_packed_are_not_deleted_either(world: World, line: str) -> None:
    run_git(world.user, "pack-refs", "--all")
    run_git(world.slot, "checkout", "-q", "free")
    before = world.refs()
    assert not (world.common_dir / "refs" / "tags" / "v1").exists()

    done = await world.types(line)

    assert done.code != 0
    assert world.refs() == before


async def test_a_stash_that_is_refused_leaves_the_files_as_they_are(world: World) -> None:
    await world.types("echo mine > a.txt; git stash push")

    assert (world.slot / "a.txt").read_text() == "mine\n"


IN_THE_CHECKOUT = {
    "commit": "echo x > a.txt; git commit -qam x",
    "reset": "git reset --hard HEAD~",
    "detach": "git checkout -q --detach",
    "branch": "git branch new",
    "rebase": "git rebase --force-rebase HEAD~",
    "merge": "git merge -q --no-ff -m x $(git commit-tree -p main -m y main^{tree})",
    "update-ref of HEAD": "git update-ref HEAD HEAD~",
    "its own kind of ref": "git update-ref refs/worktree/x HEAD",
}


@pytest.mark.parametrize("line", IN_THE_CHECKOUT.values(), ids=IN_THE_CHECKOUT)
async def test_in_the_users_checkout_nothing_is_written(world: World, line: str) -> None:
    before = world.refs()

    done = await world.types(line, world.user)

    assert done.code != 0
    assert "this is another worktree" in done.stderr
    assert INSTEAD in done.stderr
    assert world.refs() == before
    assert any("refused" in one.detail for one in world.firewall.take_evidence())


async def test_without_a_git_folder_of_its_own_a_program_writes_no_refs(world: World) -> None:
    nowhere = replace(world, env={**world.env, "AUTO_BUILD_GIT_DIR": "/nowhere"})

    done = await nowhere.types("git commit -q --allow-empty -m x")

    assert done.code != 0
    assert INSTEAD in done.stderr


# --- what works -----------------------------------------------------------------------------------

ALLOWED = {
    "commit": "echo x > new.txt; git add -A; git commit -qm x",
    "commit --amend": "git commit -q --amend -m y",
    "checkout of a commit": "git checkout -q HEAD~; git checkout -q -",
    "reset --hard": "git reset -q --hard HEAD~",
    "rebase": "git commit -q --allow-empty -m x; git rebase -q --force-rebase HEAD~2",
    "rebase --rebase-merges": "git commit -q --allow-empty -m x;"
    " GIT_SEQUENCE_EDITOR=true git rebase -q -i --rebase-merges --force-rebase HEAD~2",
    "cherry-pick": "git checkout -q HEAD~; echo x > b; git add b; git commit -qm b;"
    " git checkout -q main --detach; git cherry-pick HEAD@{1}",
    "merge": "git merge -q --no-ff -m x $(git commit-tree -p HEAD -m y HEAD^{tree})",
    "revert": "git revert --no-edit HEAD",
    "bisect": "git bisect start HEAD HEAD~; git bisect reset",
    "refs of the worktree": "git update-ref refs/worktree/x HEAD; git update-ref FOO_HEAD HEAD",
    "am": "git format-patch -q -1 --stdout > p.log; git reset -q --hard HEAD~; git am -q p.log",
    "stash create": "echo x > a.txt; git stash create",
    "stash list and show": "git stash list; git stash show -p",
    "fetch without refs": "git fetch -q . main",
    "status, log, diff": "git status; git log --oneline; git diff HEAD~",
    "housekeeping that git thinks of": "git -c gc.auto=1 gc --auto",
}


@pytest.mark.parametrize("line", ALLOWED.values(), ids=ALLOWED)
async def test_work_on_the_detached_head_goes_as_ever(world: World, line: str) -> None:
    before = world.refs()

    done = await world.types(f"set -e; {line}")

    assert done.code == 0, done.stderr
    assert "auto-build" not in done.stderr
    assert world.refs() == before
    assert world.firewall.take_evidence() == ()


async def test_paths_that_go_through_a_link_are_the_same_place(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(world.user)
    through = tmp_path / "link" / ".worktrees" / "slot"
    linked = Firewall(world.firewall.folder, tmp_path / "link" / ".git")
    env = linked.environment(
        program_environment(tmp_path), git_dir=world.slot_git_dir, worker=WORKER
    )

    there = replace(world, env=env)

    await there.does("git commit -q --allow-empty -m x", through)

    assert INSTEAD in (await there.types("git branch new", through)).stderr
    assert INSTEAD in (await there.types("git branch new", through.parents[1])).stderr


async def test_git_without_our_environment_is_not_bounded(world: World) -> None:
    run_git(world.user, "branch", "new")
    run_git(world.slot, "tag", "new")

    assert "hooksPath" not in (world.common_dir / "config").read_text()


# --- repositories of somebody else ----------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False])
async def test_a_repository_of_an_agents_own_works_with_its_own_hooks(
    world: World, tmp_path: Path, inside: bool
) -> None:
    foreign = (world.slot if inside else tmp_path) / "their own"
    foreign.mkdir()
    seen = tmp_path / "seen"
    await world.does("git init -q -b main", foreign)
    for name in ("pre-commit", "reference-transaction"):
        world.hook(name, f'echo "{name} $*" >> "{seen}"', foreign / ".git" / "hooks")

    await world.does(
        "set -e; echo x > a; git add a; git commit -qm x; git branch side; git tag v1;"
        " git checkout -q -b other; echo y > a; git stash -q; git stash pop -q; git notes add -m x;"
        " git worktree add -q -b more ../more; git clone -q . ../clone; git gc -q;"
        " git push -q . HEAD:refs/heads/pushed",
        foreign,
    )

    assert "pushed" in run_git(foreign, "branch", "--all")
    lines = seen.read_text().splitlines()
    assert lines.count("pre-commit ") == 1
    assert "reference-transaction prepared" in lines
    assert world.firewall.take_evidence() == ()


async def test_a_clone_of_the_users_repository_cannot_push_back(
    world: World, tmp_path: Path
) -> None:
    before = world.refs()
    await world.does(f'git clone -q "{world.user}" clone', tmp_path)

    done = await world.types("git push -q origin HEAD:refs/heads/new", tmp_path / "clone")

    assert "not yours to push to" in done.stderr
    assert world.refs() == before


# --- hooks of the user's --------------------------------------------------------------------------

COMMITS = "git commit -q --allow-empty -m x"


@pytest.mark.parametrize("where", ["default", "relative", "absolute"])
async def test_a_hook_of_the_users_runs_exactly_once(
    world: World, tmp_path: Path, where: str
) -> None:
    seen = tmp_path / "seen"
    folder = {
        "default": world.common_dir / "hooks",
        "relative": world.slot / ".husky" / "_",
        "absolute": tmp_path / "team hooks",
    }[where]
    if where != "default":
        named = ".husky/_" if where == "relative" else str(folder)
        run_git(world.user, "config", "core.hooksPath", named)
    for name in ("pre-commit", "commit-msg", "post-commit"):
        world.hook(name, f'echo "{name} $# $PWD" >> "{seen}"', folder)

    await world.does(COMMITS)

    assert seen.read_text().splitlines() == [
        f"pre-commit 0 {world.slot}",
        f"commit-msg 1 {world.slot}",
        f"post-commit 0 {world.slot}",
    ]


async def test_a_hook_of_the_users_that_fails_stops_git_with_its_own_words(world: World) -> None:
    world.hook("pre-commit", 'echo "not in this house" >&2; exit 3')

    done = await world.types(COMMITS)

    assert done.code != 0
    assert "not in this house" in done.stderr
    assert run_git(world.slot, "log", "-1", "--format=%s").strip() == "2"


async def test_the_exit_code_of_a_hook_is_handed_on(world: World) -> None:
    world.hook("post-checkout", "exit 42")

    assert (await world.types(f"'{world.firewall.folder}/post-checkout' a b 1")).code == 42


@pytest.mark.parametrize("mode", [0o644, 0o755])
async def test_a_hook_that_git_would_not_run_is_not_run(world: World, mode: int) -> None:
    hook = world.common_dir / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    if mode == 0o644:
        hook.write_text("#!/bin/sh\nexit 1\n")
    else:
        hook.mkdir()

    await world.does(COMMITS)


async def test_a_hook_gets_what_git_tells_it_on_its_input(world: World, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    world.hook("post-rewrite", f'echo "$1" > "{seen}"; cat >> "{seen}"')
    before = run_git(world.slot, "rev-parse", "HEAD").strip()

    await world.does("git commit -q --amend -m other")

    after = run_git(world.slot, "rev-parse", "HEAD").strip()
    first, told = seen.read_text().splitlines()
    assert first == "amend"
    assert told.split() == [before, after]


async def test_the_users_own_hook_on_refs_runs_after_ours_and_sees_the_same(
    world: World, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    world.hook("reference-transaction", f'echo "$1" >> "{seen}"; cat >> "{seen}"')
    before = run_git(world.slot, "rev-parse", "HEAD").strip()

    await world.does(COMMITS)

    after = run_git(world.slot, "rev-parse", "HEAD").strip()
    line = f"{before} {after} HEAD"
    assert seen.read_text().splitlines() == ["prepared", line, "committed", line]
    seen.unlink()
    await world.types("git branch new")
    assert "prepared" not in seen.read_text(), "what we refuse is not asked of anybody else"


async def test_the_users_own_hook_on_refs_can_refuse(world: World) -> None:
    world.hook("reference-transaction", 'cat > /dev/null; test "$1" != prepared')

    assert (await world.types(COMMITS)).code != 0


async def test_git_in_a_hook_of_the_users_is_bounded_too(world: World) -> None:
    before = world.refs()
    world.hook("post-commit", "git branch new 2> said.log")

    await world.does(COMMITS)

    assert INSTEAD in (world.slot / "said.log").read_text()
    assert world.refs() == before


async def test_hooks_that_call_each_other_come_to_an_end(world: World, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    again = 'exec "$(git rev-parse --git-path hooks)/pre-commit"'
    world.hook("pre-commit", f'echo x >> "{seen}"; {again}')

    done = await world.types(COMMITS)

    assert "hooks call each other more than 16 deep" in done.stderr
    assert len(seen.read_text().splitlines()) == 16


async def test_our_folder_as_the_users_own_setting_runs_nothing_twice(world: World) -> None:
    run_git(world.user, "config", "core.hooksPath", str(world.firewall.folder))

    await world.does(COMMITS)


# --- evidence -------------------------------------------------------------------------------------


async def test_what_touches_the_users_checkout_is_noted(world: World) -> None:
    await world.does("git checkout -q free", world.user)

    found = world.firewall.take_evidence()

    heads = run_git(world.user, "rev-parse", "main", "free").split()
    git_dir = str(world.common_dir)
    assert Evidence(WORKER, "post-checkout", git_dir, f"{heads[0]} {heads[1]} 1") in found
    assert Evidence(WORKER, "post-index-change", git_dir, "1 0") in found
    assert world.firewall.take_evidence() == ()


async def test_a_dropped_stash_is_noted(world: World) -> None:
    await world.types("git stash drop")

    (found,) = world.firewall.take_evidence()
    assert found == Evidence(
        WORKER, "reference-transaction", str(world.slot_git_dir), "refused refs/stash"
    )


async def test_a_line_of_evidence_is_bounded_and_stays_one_line(world: World) -> None:
    hook = world.firewall.folder / "post-checkout"

    await world.does(f'"{hook}" "$(printf \'a\\tb\\nc\')" {"d" * 2_000}', world.user)

    (found,) = world.firewall.take_evidence()
    assert found.detail == f"a b c {'d' * 2_000}"[:400]


async def test_evidence_does_not_grow_without_end(world: World) -> None:
    noted = Path(world.env["AUTO_BUILD_EVIDENCE"])
    noted.write_bytes(b"x" * (MOST_BYTES - 100_000 + 1))

    await world.does("git checkout -q --force free", world.user)

    assert noted.stat().st_size == MOST_BYTES - 100_000 + 1


def test_what_a_killed_run_had_taken_and_not_read_is_read(world: World) -> None:
    noted = Path(world.env["AUTO_BUILD_EVIDENCE"])
    noted.with_name(f"{noted.name}.taken").write_text("1\tpost-checkout\t/a\tx\n")
    noted.write_bytes(b"2\tpost-commit\t/b\xff\t\nrubbish\nx\tpost-commit\t/b\t\n3\tls\t/\t\n")

    assert world.firewall.take_evidence() == (
        Evidence(1, "post-checkout", "/a", "x"),
        Evidence(2, "post-commit", "/b\udcff", ""),
    )
    assert world.firewall.take_evidence() == ()


# --- the folder and the environment ---------------------------------------------------------------


def test_every_hook_is_there_but_those_whose_being_there_means_something(world: World) -> None:
    names = {path.name for path in world.firewall.folder.iterdir()}
    assert names == set(HOOKS)
    assert not names & {"push-to-checkout", "proc-receive", "fsmonitor-watchman"}
    assert all(os.access(world.firewall.folder / name, os.X_OK) for name in names)


def test_written_again_it_is_whole_whatever_somebody_did_to_it(world: World) -> None:
    folder = world.firewall.folder
    (folder / "pre-commit").unlink()
    (folder / "pre-push").unlink()
    (folder / "pre-push").symlink_to("post-commit")
    (folder / "pre-commit.old").write_text("a tool was here")

    world.firewall.write()

    names = [path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    assert sorted(names) == sorted(HOOKS)
    assert len({path.read_bytes() for path in folder.iterdir()}) == 1


async def test_a_hook_that_a_tool_installs_takes_no_other_hook_along(world: World) -> None:
    await world.does("echo 'exit 0' > \"$(git rev-parse --git-path hooks)/pre-commit\"")

    assert INSTEAD in (await world.types("git branch new")).stderr
    assert not (world.common_dir / "hooks" / "pre-commit").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentUnfit, match="cannot be written"):
        Firewall(tmp_path / "file" / "hooks", tmp_path).write()


async def test_what_the_environment_configures_besides_stays(world: World) -> None:
    stated = {
        **program_environment(world.user),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": ".theirs",
        "GIT_CONFIG_KEY_1": "user.signingKey",
        "GIT_CONFIG_VALUE_1": "a key",
    }
    env = world.firewall.environment(stated, git_dir=world.slot_git_dir, worker=WORKER)
    world.hook("post-commit", "touch ran.log", world.slot / ".theirs")

    configured = replace(world, env=env)

    await configured.does(COMMITS)

    assert env["GIT_CONFIG_COUNT"] == "3"
    assert await configured.does("git config user.signingKey") == "a key"
    assert (world.slot / "ran.log").exists()
    assert INSTEAD in (await configured.types("git branch new")).stderr


@pytest.mark.parametrize("count", ["", "none", "-1"])
def test_a_count_that_is_no_number_counts_for_nothing(world: World, count: str) -> None:
    env = world.firewall.environment(
        {"GIT_CONFIG_COUNT": count}, git_dir=world.slot_git_dir, worker=WORKER
    )
    assert (env["GIT_CONFIG_COUNT"], env["GIT_CONFIG_KEY_0"]) == ("1", "core.hooksPath")
