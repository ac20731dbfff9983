"""Puts the parts together that carry out a run's commands on this machine."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from auto_build.agents.base import Agent
from auto_build.containment.firewall import Firewall
from auto_build.containment.strays import Mode
from auto_build.containment.watch import Watch
from auto_build.core.acceptance import Acceptance, Item, ItemResult
from auto_build.core.criteria import read_acceptance
from auto_build.core.document import Json
from auto_build.core.plan import VerificationKind
from auto_build.core.state import REVIEWER, Landed, RunState
from auto_build.engine.base import Ledger
from auto_build.engine.briefing import Briefing
from auto_build.engine.conversation import Patience
from auto_build.engine.local import LocalEngine
from auto_build.engine.pauses import Pauses
from auto_build.gate.baseline import Baseline
from auto_build.gate.blame import Blame
from auto_build.gate.conflicts import Conflicts
from auto_build.gate.entrance import Entrance
from auto_build.gate.gate import Gate
from auto_build.gate.losses import Losses
from auto_build.gate.secrets import find_scanner
from auto_build.gate.trials import Notice, Trials
from auto_build.gate.verdicts import Verdicts
from auto_build.git.landing import branch_of
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo, ref_part
from auto_build.git.worktree import Worktrees
from auto_build.groundwork import Groundwork
from auto_build.journal import now
from auto_build.policy.environment import Environment
from auto_build.ports import first_port
from auto_build.prompts import Prompts, load_instructions
from auto_build.qa.reviewer import Reviewer
from auto_build.qa.rounds import Rounds
from auto_build.settings import Settings
from auto_build.slots import Slots
from auto_build.tryout.tryout import Tryout
from auto_build.workspace import Spec, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where checks are run, and what was set for it."""

    repo: Repo
    worktrees: Worktrees
    workspace: Workspace
    spec: Spec
    settings: Settings
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Bench):
    """Where a build takes place, and what was set for it."""

    prompts: Prompts


def furnish(bench: Bench, notice: Notice) -> Trials:
    """Return what runs a build's checks, in its worker slots."""
    logs = bench.workspace.logs_dir(ref_part(bench.spec.name))
    logs.mkdir(parents=True, exist_ok=True)
    firewall = Firewall(bench.workspace.state_dir / "hooks", bench.repo.common_dir)
    firewall.write()
    return Trials(
        repo=bench.repo,
        slots=Slots(
            worktrees=bench.worktrees,
            firewall=firewall,
            environment=_of_slots(bench),
            settings=bench.settings.workspace,
            spec=bench.spec.name,
            logs=logs,
            notice=notice,
        ),
        verdicts=Verdicts(bench.workspace.state_dir / "verdicts.db"),
        limit_s=bench.settings.run.check_timeout_min * 60,
        log=logs / "gate.log",
        notice=notice,
    )


def assemble(
    site: Site, agent: Agent, *, ledger: Ledger, notice: Notice, warn: Callable[[str], None]
) -> tuple[LocalEngine, Baseline]:
    """Return the engine of a build, and what measures the ground before it starts."""
    run, gate, holds = site.settings.run, site.settings.gate, site.settings.containment
    trials = furnish(site, notice)
    engine = LocalEngine(
        repo=site.repo,
        slots=trials.slots,
        gate=Gate(
            repo=site.repo,
            worktrees=site.worktrees,
            trials=trials,
            blame=Blame(site.repo, trials, notice, site.spec.name),
            conflicts=Conflicts(site.repo, site.spec.name),
            losses=Losses(site.repo),
            entrance=Entrance(
                repo=site.repo,
                most_file_bytes=holds.most_file_bytes,
                scanner=find_scanner(holds.secrets, site.repo.processes),
                allowed=holds.secrets_allowed,
            ),
            record=ledger.record,
            spec=site.spec.name,
            checks=gate.checks,
            claims=site.settings.claims.mode,
        ),
        agent=agent,
        ledger=ledger,
        briefing=_briefing(site),
        spec=site.spec.name,
        model=site.settings.model_for("work"),
        repair_model=site.settings.model_for("repair"),
        patience=Patience(limit_s=run.agent_timeout_min * 60, idle_s=run.idle_timeout_min * 60),
        pauses=Pauses(run.pause_s),
        claims=site.settings.claims.mode,
        clock=now,
        logs=site.workspace.logs_dir(ref_part(site.spec.name)),
        notice=notice,
        most_file_bytes=holds.most_file_bytes,
        watch=Watch(
            repo=site.repo,
            worktrees=site.worktrees,
            spec=site.spec.name,
            branch=branch_of(site.spec.name),
            mode=Mode(site.settings.containment.strays),
            folder=site.workspace.state_dir / "watch" / ref_part(site.spec.name),
            record=ledger.record,
            say=lambda text: notice("", text),
            warn=warn,
            evidence=trials.slots.firewall.take_evidence,
        ),
    )
    baseline = Baseline(
        trials=trials,
        checks=gate.checks,
        workers=run.parallel,
        probe=site.settings.workspace.probe,
        folder=site.workspace.state_dir / "loads",
        warn=warn,
    )
    return engine, baseline


def review_rounds(
    site: Site,
    engine: LocalEngine,
    *,
    ground: Groundwork,
    drive: Callable[[], Awaitable[RunState]],
    hear: Callable[[], None],
    document: Mapping[str, Json],
) -> Rounds:
    """Return the review rounds of a build: with its engine's slots, watch and agent.

    Args:
        site: where it takes place.
        engine: what its chunks are done with.
        ground: its groundwork.
        drive: has the chunks done that are open.
        hear: takes up people's wishes.
        document: its plan file.
    """
    run = site.settings.run
    tryout = Tryout(
        trials=engine.gate.trials,
        settings=site.settings.qa,
        notice=engine.notice,
        evidence=engine.logs / REVIEWER / "pages",
    )
    reviewer = Reviewer(
        repo=site.repo,
        slots=engine.slots,
        ground=ground,
        agent=engine.agent,
        ledger=engine.ledger,
        prompts=site.prompts,
        patience=engine.patience,
        watch=engine.watch,
        try_out=_Trying(tryout, engine),
        model=site.settings.model_for("review"),
        spec=site.spec.name,
        spec_text=site.spec.load_text,
        instructions=load_instructions(site.repo.project),
        acceptance=_all_items(document, engine.ledger.state, site.settings.gate.checks),
        logs=engine.logs,
        notice=engine.notice,
    )
    return Rounds(
        ledger=engine.ledger,
        reviewer=reviewer,
        repo=site.repo,
        ground=ground,
        settings=site.settings.qa,
        drive=drive,
        hear=hear,
        workers=run.parallel,
        pauses=engine.pauses,
        max_wait_s=run.max_wait_h * 3600,
        clock=engine.clock,
    )


@dataclass(frozen=True, slots=True)
class _Trying:
    """Tries a build in its first worker slot."""

    tryout: Tryout
    engine: LocalEngine

    async def __call__(self, items: Sequence[Item], at: Commit) -> tuple[ItemResult, ...]:
        seat = self.engine.slots.seat(1, REVIEWER)
        tryout = replace(self.tryout, evidence=self.tryout.evidence / at[:10])
        return await tryout.run(items, at, seat, self.engine.ledger.state.gate.standing)


def _all_items(document: Mapping[str, Json], state: RunState, checks: Sequence[str]) -> Acceptance:
    """Return what a plan asks for of all that has landed, and the project's own checks besides."""
    read = read_acceptance(document, state.plan)
    landed = {chunk for chunk, now in state.chunks.items() if isinstance(now, Landed)}
    items = tuple(item for item in read.items if not item.chunk or item.chunk in landed)
    named = {item.command for item in items}
    own = tuple(
        Item(id=f"check-{place}", kind=VerificationKind.COMMAND, what=line, command=line)
        for place, line in enumerate(checks, start=1)
        if line not in named
    )
    return replace(read, items=(*own, *items))


def _of_slots(site: Bench) -> Environment:
    wanted, run = site.settings.workspace, site.settings.run
    needed = wanted.ports * run.parallel
    first = wanted.first_port or first_port(site.repo.project, needed)
    return replace(
        site.environment, per_slot=wanted.environment, first_port=first, ports=wanted.ports
    )


def _briefing(site: Site) -> Briefing:
    return Briefing(
        prompts=site.prompts,
        spec=site.spec.name,
        spec_text=site.spec.load_text,
        instructions=load_instructions(site.repo.project),
        checks=site.settings.gate.checks,
    )
