"""The planner: drafts plans and specifications in a few rounds with an agent that reads.

Nothing is kept here: what is to become of a draft is for the caller, and for the user, to say.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from auto_build.agents.choose import agent_environment, build_agent, require_working
from auto_build.core.document import Json
from auto_build.core.planfile import PlanFile
from auto_build.engine.conversation import Patience
from auto_build.errors import AutoBuildError, EnvironmentUnfit, UsageProblem
from auto_build.git.repo import Repo
from auto_build.planning.drafts import (
    SPEC_SCHEMA,
    Draft,
    SpecDraft,
    find_advice,
    plan_form,
    plan_schema,
    read_answer,
    read_spec_answer,
    with_answers,
)
from auto_build.planning.reading import Desk, NoDraft, Reading
from auto_build.policy.environment import Seat
from auto_build.process import Processes
from auto_build.prompts import Prompts, load_instructions
from auto_build.settings import load_settings
from auto_build.workspace import HUMAN_INPUT, SPEC, Spec, Workspace

ROUNDS: Final = 3  # prompts for one plan, the first included
NEW_SPEC: Final = "new-spec"  # the name under which a spec without a folder is drafted
_MOST_REMARKS: Final = 40
_NOTE_LIMIT: Final = 20_000  # characters of what people noted beside a spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """An agent at a desk where it reads, and what it is told there."""

    desk: Desk
    prompts: Prompts
    ordered_phases: bool = False

    # --- plans -----------------------------------------------------------------------------------

    async def draft_plan(self, spec: Spec) -> Draft:
        """Return a plan for a spec that can be run, after at most `ROUNDS` rounds.

        Raises:
            UsageProblem: the spec says nothing.
            NoDraft: no plan came that can be run, and why.
            EnvironmentUnfit: the agent cannot work.
            RunLocked: another agent is drafting in this repository.
        """
        text = spec.load_text()
        if not text.strip():
            raise UsageProblem(
                f"{spec.folder / SPEC} says nothing, so there is nothing to plan",
                hint=f"write there what is to be built; then: auto-build plan draft {spec.name}",
            )
        async with self.desk.open(Seat(spec.name, "plan", 1, 0), plan_schema()) as reading:
            prompt = self.prompts.plan(
                spec=spec.name,
                spec_text=text,
                form=plan_form(),
                human=_load_note(spec.folder / HUMAN_INPUT),
                instructions=load_instructions(reading.folder),
            )
            return await self._plan(reading, prompt)

    async def _plan(self, reading: Reading, prompt: str) -> Draft:
        """Have a plan made and mended, and one that can be run bettered once."""
        found: PlanFile | None = None
        advised = False
        text = prompt
        remarks: tuple[str, ...] = ()
        for _ in range(ROUNDS):
            try:
                answer = await reading.ask(text)
            except AutoBuildError as error:
                if found is None:
                    raise
                self.desk.warn(f"the plan is as it was before it was to be bettered: {error}")
                break
            got = read_answer(answer, ordered_phases=self.ordered_phases)
            if isinstance(got, PlanFile):
                found, remarks = got, find_advice(got)
                if advised or not remarks:
                    break
                advised = True
            else:
                remarks = got
            text = self._again(reading, prompt, answer, remarks, valid=isinstance(got, PlanFile))
        if found is None:
            raise _no_plan(remarks, reading.log)
        return Draft(found, find_advice(found), reading.author)

    def _again(
        self, reading: Reading, prompt: str, answer: Json, remarks: Sequence[str], *, valid: bool
    ) -> str:
        """Return the next prompt; an agent that forgets is told everything anew."""
        first = remarks[0] + (" …" if len(remarks) > 1 else "")
        self.desk.say(f"{'what could be better' if valid else 'what cannot be run'}: {first}")
        more = self.prompts.plan_again(_bounded(remarks), valid=valid)
        if reading.remembers:
            return more
        return f"{prompt}\n# Your plan so far\n\n{json.dumps(answer)}\n\n{more}"

    # --- specifications --------------------------------------------------------------------------

    async def draft_spec(self, wish: str) -> SpecDraft:
        """Return a first specification from a sentence, with the agent's questions.

        Raises:
            NoDraft: none came.
            EnvironmentUnfit: the agent cannot work.
            RunLocked: another agent is drafting in this repository.
        """
        async with self.desk.open(Seat(NEW_SPEC, "spec", 1, 0), SPEC_SCHEMA) as reading:
            prompt = self.prompts.spec(wish, instructions=load_instructions(reading.folder))
            draft = read_spec_answer(await reading.ask(prompt), wish, reading.author)
        if draft is None:
            raise NoDraft(
                "the agent gave no specification",
                hint=f"look at {reading.log}; try another model with --model, or begin with a"
                " skeleton: auto-build spec new --no-agent '…'",
            )
        return draft

    async def revise_spec(self, draft: SpecDraft, answers: Sequence[str]) -> SpecDraft:
        """Return the specification with answers to its questions in it; empty ones stay open.

        Nothing is lost where no better text comes: then the first one has the answers behind it.
        """
        told = tuple(zip(draft.questions, answers, strict=True))
        still_open = tuple(question for question, answer in told if not answer)
        try:
            revised = await self._revise(draft, told)
        except AutoBuildError as error:
            self.desk.warn(f"the answers stand at the end of the first text: {error}")
            revised = None
        if revised is None:
            return replace(draft, markdown=with_answers(draft, told), questions=still_open)
        return replace(revised, title=draft.title, slug=draft.slug, questions=still_open)

    async def _revise(self, draft: SpecDraft, told: Sequence[tuple[str, str]]) -> SpecDraft | None:
        seat = Seat(NEW_SPEC, "spec", 1, 0)
        async with self.desk.open(seat, SPEC_SCHEMA, earlier=draft.author) as reading:
            prompt = self.prompts.spec_again(told)
            if not reading.remembers:
                told_before = load_instructions(reading.folder)
                first = self.prompts.spec(draft.wish, instructions=told_before)
                prompt = f"{first}\n# Your specification so far\n\n{draft.markdown}\n\n{prompt}"
            return read_spec_answer(await reading.ask(prompt), draft.wish, reading.author)


async def open_planner(
    folder: Path,
    *,
    flags: Mapping[str, Any],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    spec: Spec | None = None,
) -> Planner:
    """Return the planner of the repository around `folder`, by its settings.

    Args:
        folder: a folder in the repository.
        flags: what was typed for the [run] table; `model` is also the planner's.
        say: takes what the agent does.
        warn: takes what went otherwise than it should.
        spec: what is to be planned, if it is there already.

    Raises:
        UsageProblem: the settings, or the project's own prompts, cannot be used.
        EnvironmentUnfit: the agent cannot work here.
    """
    processes = Processes()
    repo = await Repo.open(folder, processes)
    workspace = Workspace(repo.project, repo.common_dir)
    settings = load_settings(repo.project, flags, os.environ)
    name, chosen = settings.require_agent()
    prompts = Prompts.load(repo.project)
    for outdated in prompts.outdated:
        warn(outdated)
    spec_dir = spec.folder if spec else workspace.specs_dir / NEW_SPEC
    agent = build_agent(name, chosen, project=repo.project, spec_dir=spec_dir, processes=processes)
    environment = agent_environment(settings.environment, chosen, repo.project)
    model = flags.get("model") or settings.model_for("plan")
    await require_working(agent, environment, workspace.probe_dir(), [model] if model else [])
    run = settings.run
    desk = Desk(
        repo=repo,
        workspace=workspace,
        agent=agent,
        environment=environment,
        model=model,
        patience=Patience(limit_s=run.agent_timeout_min * 60, idle_s=run.idle_timeout_min * 60),
        say=say,
        warn=warn,
    )
    return Planner(desk=desk, prompts=prompts, ordered_phases=run.ordered_phases)


def _no_plan(problems: Sequence[str], log: Path) -> NoDraft:
    listed = "\n  ".join(_bounded(problems))
    return NoDraft(
        f"no plan that can be run came in {ROUNDS} rounds; what is wrong with the last one:\n"
        f"  {listed}",
        hint=f"look at {log}; try another model with --model, or make the spec clearer. Nothing"
        " was written",
    )


def _bounded(remarks: Sequence[str]) -> list[str]:
    more = len(remarks) - _MOST_REMARKS
    return [*remarks[:_MOST_REMARKS], *([f"and {more} more"] if more > 0 else [])]


def _load_note(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:_NOTE_LIMIT]
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise EnvironmentUnfit(f"{path} cannot be read: {error.strerror}") from error
