"""A pull request in place of a merge: staging is pushed, and the host is asked.

Invariants: nothing is merged here; what is pushed is staging's branch and nothing else, with the
user's own git; without a program for the host it is said what is left to be done.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from auto_build.core.brief import Brief
from auto_build.delivery import Build
from auto_build.errors import NotReady
from auto_build.git.repo import ref_part
from auto_build.git.user import UserGit, user_environment
from auto_build.readiness import Wish, require_clearance, require_finished
from auto_build.settings import load_settings

Program = Literal["gh", "glab"]

_LIMIT_S: Final = 300.0
_ANY: Final = range(256)  # exit codes


@dataclass(frozen=True, slots=True)
class Proposed:
    """A pushed branch, and the pull request that was opened for it.

    `url` is what the program answered, empty where there was no program; `base` is where it is to
    go, empty where the host decides.
    """

    branch: str
    remote: str
    base: str
    approval: str
    program: str = ""
    url: str = ""


async def propose(
    build: Build, wish: Wish, remote: str, say: Callable[[str], None] = lambda _: None
) -> Proposed:
    """Push staging to a remote and open a pull request.

    Args:
        build: the build.
        wish: what does without an approval, or without the whole; the rest is the host's.
        remote: the name of the remote.
        say: takes what is being done.

    Raises:
        NotReady: chunks or an approval are missing, or the push or the program failed.
        RunLocked: a run is going on.
    """
    with build.held() as held:
        return await _Proposer(held, UserGit(held.repo), remote, say).propose(wish)


@dataclass(frozen=True, slots=True)
class _Proposer:
    """Proposes one build, while nobody else builds here."""

    build: Build
    git: UserGit
    remote: str
    say: Callable[[str], None]

    async def propose(self, wish: Wish) -> Proposed:
        build = self.build
        state = await build.settle(build.require_begun()[0])
        _, view = build.require_begun()
        require_finished(view, partial=wish.partial)
        head = await build.require_staging()
        settings = load_settings(build.repo.project, {}, os.environ)
        approval = require_clearance(build.spec.name, state, view, head, settings, wish.forced)
        url = await self._url()
        base = await self._base()
        self.say(f"pushing {build.short_branch} to {self.remote}")
        await self._push()
        brief = Brief(build.spec.name, build.short_branch, head, state)
        program = choose_program(url, frozenset(filter(shutil.which, ("gh", "glab"))))
        pushed = Proposed(build.short_branch, self.remote, base, approval)
        if program is None:
            return pushed
        answer = await self._open(program, base, brief.title, brief.proposal(approval))
        return Proposed(build.short_branch, self.remote, base, approval, program, answer)

    async def _url(self) -> str:
        done = await self.git.run("remote", "get-url", "--", self.remote)
        if done.code != 0:
            raise NotReady(
                f"there is no remote called {self.remote!r}",
                hint="name one with --remote; git remote lists them",
            )
        return done.stdout.strip()

    async def _base(self) -> str:
        """Return the branch that the user's own follows at the remote, or has there; else none."""
        branch = (await self.build.repo.user_status()).branch
        if branch is None:
            return ""
        form = "--format=%(upstream:remotename) %(upstream:remoteref)"
        done = await self.git.run("for-each-ref", form, f"refs/heads/{branch}", ok=(0,))
        remote, _, ref = done.stdout.strip().partition(" ")
        if remote == self.remote and ref:
            return ref.removeprefix("refs/heads/")
        there = f"refs/heads/{branch}"
        known = await self.git.run("ls-remote", "--exit-code", self.remote, there)
        return branch if known.code == 0 else ""

    async def _push(self) -> None:
        ref = self.build.branch
        done = await self.git.run("push", "--quiet", self.remote, f"{ref}:{ref}")
        if done.code != 0:
            raise NotReady(
                f"{self.build.short_branch} cannot be pushed to {self.remote}:"
                f" {done.stderr.strip()}",
                hint="see to what git says, then do it again",
            )

    async def _open(self, program: Program, base: str, title: str, body: str) -> str:
        """Have the host's program open a pull request; return what it answers, a link as a rule."""
        folder = self.build.workspace.logs_dir(ref_part(self.build.spec.name))
        folder.mkdir(parents=True, exist_ok=True)
        text = folder / "pull-request.md"
        text.write_text(body, encoding="utf-8")
        branch = self.build.short_branch
        if program == "gh":
            argv = ["gh", "pr", "create", "--head", branch, "--title", title]
            argv += ["--body-file", str(text), *(["--base", base] if base else [])]
        else:
            argv = ["glab", "mr", "create", "--source-branch", branch, "--title", title]
            argv += ["--description", body, "--yes", *(["--target-branch", base] if base else [])]
        repo = self.build.repo
        env = {**user_environment(os.environ), "GH_PROMPT_DISABLED": "1", "NO_PROMPT": "1"}
        done = await repo.processes.run(
            *argv, cwd=repo.project, env=env, ok=_ANY, limit_s=_LIMIT_S, called=program
        )
        if done.code != 0:
            raise NotReady(
                f"{branch} is pushed, and {program} opened no pull request: {done.stderr.strip()}",
                hint=f"see to what it says ({program} auth status), or open it on the host's page",
            )
        return done.stdout.strip()


def choose_program(url: str, installed: frozenset[str]) -> Program | None:
    """Return the program for a remote's host: as its address suggests, else the one there is."""
    preferred: tuple[Program, Program] = ("glab", "gh") if "gitlab" in url else ("gh", "glab")
    return next((one for one in preferred if one in installed), None)
