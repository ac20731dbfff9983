"""An agent drafts plans and specifications: it only reads, and its drafts are held to the rules."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auto_build.agents.base import Abilities, Agent, Probe, Problem, Session, SessionSpec
from auto_build.core.planfile import PlanFile, read_plan
from auto_build.engine.conversation import Patience
from auto_build.errors import EnvironmentUnfit, RunLocked, UsageProblem
from auto_build.git.worktree import PLANNER
from auto_build.journal import RunLock
from auto_build.planning.drafts import (
    SPEC_SCHEMA,
    Draft,
    SpecDraft,
    find_advice,
    outline,
    plan_form,
    plan_schema,
    read_answer,
    slug_of,
)
from auto_build.planning.keeping import keep_draft, require_plan_free, write_plan, write_spec
from auto_build.planning.planner import Planner, open_planner
from auto_build.planning.reading import NoDraft
from auto_build.workspace import Spec, Workspace
from tests.e2e.project import (
    SPEC,
    Json,
    Project,
    Step,
    chunk,
    hang,
    phase,
    run_git,
    say,
    shell,
    spend,
    take_fingerprint,
    write,
)

# --- what a planner answers -----------------------------------------------------------------------


def plan_of(*phases: Json) -> Json:
    return {"feature": "Text statistics", "phases": list(phases)}


def good(name: str, **more: Any) -> Json:
    return chunk(name, files=[f"{name}.py"], verify=f"test -e {name}.py", **more)


GOOD = plan_of(phase("p1", good("words"), good("lines")))
CYCLE = plan_of(phase("p1", good("words", after=["lines"]), good("lines", after=["words"])))
UNKNOWN = plan_of(phase("p1", good("words", after=["letters"]), good("lines")))
SILENT = plan_of(phase("p1", good("words")), {"id": "p2", "chunks": [good("lines")]})


def answer(value: Any) -> Step:
    return {"do": "answer", "value": value}


@dataclass
class Office:
    """A project with a spec, and a planner whose every round is a list of steps."""

    project: Project
    rounds: list[Sequence[Step]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.project.path, self.project.path / ".git")

    @property
    def spec(self) -> Spec:
        return self.workspace.require_spec(SPEC)

    def log(self, spec: str = SPEC) -> str:
        return (self.workspace.logs_dir(spec) / "drafting" / "agent.log").read_text()

    async def planner(
        self, job: str = "plan", *, limit_s: float = 20.0, idle_s: float = 20.0
    ) -> Planner:
        """Return the planner, and see to it that nothing of the user's changes from here on."""
        turns = [
            {"chunk": job, "round": number, "steps": list(steps)}
            for number, steps in enumerate(self.rounds)
        ]
        script = {"remembers": True, "turn": turns}
        self.project.write(f"auto-build/specs/{SPEC}/script.json", json.dumps(script))
        self.project.watch()
        found = await open_planner(
            self.project.path,
            flags={},
            say=self.said.append,
            warn=self.warned.append,
            spec=self.spec,
        )
        patience = Patience(limit_s=limit_s, idle_s=idle_s)
        return replace(found, desk=replace(found.desk, patience=patience))

    async def draft(
        self, *rounds: Sequence[Step], limit_s: float = 20.0, idle_s: float = 20.0
    ) -> Draft:
        """Have the plan drafted, and see that nothing is left of it."""
        self.rounds = list(rounds)
        planner = await self.planner(limit_s=limit_s, idle_s=idle_s)
        try:
            return await planner.draft_plan(self.spec)
        finally:
            self.check_untouched()

    def check_untouched(self) -> None:
        self.project.check_untouched()
        self.project.check_nothing_left()
        assert not self.spec.plan_path.exists()
        assert not (self.project.path / ".worktrees").exists()
        assert PLANNER not in run_git(self.project.path, "worktree", "list")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    project = Project.make(tmp_path / "my pröject")
    project.write("auto-build/specs/001-demo/spec.md", "# Text statistics\nCount words, lines.\n")
    return Office(project)


# --- a plan that can be run -----------------------------------------------------------------------


async def test_a_plan_that_can_be_run_is_taken_at_once(office: Office) -> None:
    draft = await office.draft([say("reading"), spend(0.25, tokens=900), answer(GOOD)])

    assert list(draft.file.plan.chunks) == ["words", "lines"]
    assert draft.advice == ()
    assert "reading" in office.said
    assert office.warned == []


@pytest.mark.slow
async def test_what_it_cost_is_noted_in_the_plan_and_the_note_survives_a_run(
    office: Office,
) -> None:
    draft = await office.draft(
        [spend(0.25, tokens=900), answer(CYCLE)], [spend(0.5, tokens=100), answer(GOOD)]
    )

    note = {"agent": "scripted", "model": "", "rounds": 2, "tokens": 1000, "cost_usd": 0.75}
    assert json.loads(draft.text)["drafted_by"] == note
    write_plan(office.workspace, office.spec, draft.text, force=False)
    office.project.agent("words", write("words.py"))
    office.project.agent("lines", write("lines.py"))
    assert (await office.project.run()).view.finished
    assert office.project.plan_document()["drafted_by"] == note


async def test_a_cost_that_nobody_told_is_not_made_up(office: Office) -> None:
    note = (await office.draft([answer(GOOD)])).author.as_note()
    assert (note["tokens"], note["cost_usd"]) == (None, None)


async def test_the_planner_is_told_what_a_plan_is_made_from(office: Office) -> None:
    office.project.write("AGENTS.md", "Tests are run with tox.\n")
    office.project.commit_all("Say how")
    office.project.write("AGENTS.md", "not committed, so the planner does not see it\n")
    office.project.write("auto-build/specs/001-demo/HUMAN_INPUT.md", "No regular expressions.\n")

    await office.draft([answer(GOOD)])

    told = office.log()
    assert "Count words, lines." in told
    assert "Tests are run with tox." in told
    assert "not committed" not in told
    assert "No regular expressions." in told
    assert '"files_to_create"' in told, "the form of a plan is not shown"


async def test_the_planner_reads_the_commit_that_the_user_is_at(office: Office) -> None:
    office.project.write("new.txt", "new\n")
    commit = office.project.commit_all("New")
    office.project.write("unsaved.txt", "unsaved\n")

    await office.draft([shell("git rev-parse HEAD; ls; pwd"), answer(GOOD)])

    log = office.log()
    assert commit in log
    assert "new.txt" in log
    assert "unsaved.txt" not in log
    assert f".worktrees/{PLANNER}" in log


# --- a plan that cannot be run --------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [CYCLE, UNKNOWN], ids=["a cycle", "an unknown dependency"])
async def test_what_is_wrong_goes_back_to_the_planner_as_plan_check_says_it(
    office: Office, wrong: Json
) -> None:
    draft = await office.draft([answer(wrong)], [answer(GOOD)])

    assert draft.author.rounds == 2
    _, second = office.log().split("--- prompt, round 1")
    assert "It cannot be run like this." in second
    told = read_answer(wrong)
    assert isinstance(told, tuple)
    assert told
    assert all(f"- {problem}\n" in second for problem in told)


async def test_three_rounds_without_a_plan_are_the_last(office: Office) -> None:
    with pytest.raises(NoDraft, match="in 3 rounds") as found:
        await office.draft([answer(CYCLE)], [answer("nonsense")], [answer(UNKNOWN)], [answer(GOOD)])

    assert "unknown chunk (letters)" in str(found.value)
    assert "--model" in found.value.hint
    assert "round 3" not in office.log()


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [
        (answer("Here is your plan: first, do the words."), "is not JSON"),
        (answer([1, 2]), "is not a JSON object"),
        (answer({"phases": []}), "no chunk"),
        (answer({"phases": [{"chunks": [1]}]}), "is not an object"),
        (answer({"plan": GOOD}), r"\$\.phases: is missing"),
        (say("I am done!"), "no plan came"),
    ],
)
async def test_nonsense_is_no_plan_and_is_told_so(
    office: Office, nonsense: Step, said: str
) -> None:
    with pytest.raises(NoDraft, match=said):
        await office.draft([nonsense], [nonsense], [nonsense])


async def test_an_agent_that_forgets_is_told_everything_again(office: Office) -> None:
    office.rounds = [[answer(UNKNOWN)], [answer(GOOD)]]
    planner = await office.planner()
    forgetful = Forgetful(planner.desk.agent)

    planner = replace(planner, desk=replace(planner.desk, agent=forgetful))
    await planner.draft_plan(office.spec)

    _, second = office.log().split("--- prompt, round 1")
    assert "Count words, lines." in second
    assert "# Your plan so far" in second
    assert '"letters"' in second
    assert "It cannot be run like this." in second


@dataclass(frozen=True)
class Forgetful:
    """An agent whose every prompt is a conversation of its own."""

    inner: Agent

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def abilities(self) -> Abilities:
        return replace(self.inner.abilities, resumes=False)

    async def check(self, probe: Probe) -> list[Problem]:
        return await self.inner.check(probe)

    async def start(self, spec: SessionSpec) -> Session:
        return await self.inner.start(spec)


# --- a plan that could be better ------------------------------------------------------------------


async def test_what_keeps_agents_from_working_side_by_side_is_told_once(office: Office) -> None:
    draft = await office.draft([answer(SILENT)], [answer(SILENT)], [answer(GOOD)])

    assert draft.author.rounds == 2
    assert list(draft.file.plan.chunks) == ["words", "lines"]
    (advice,) = draft.advice
    assert "'p2' name no depends_on" in advice
    _, second = office.log().split("--- prompt, round 1")
    assert "It can be run." in second
    assert "'p2' name no depends_on" in second


async def test_a_better_plan_takes_the_place_of_the_first(office: Office) -> None:
    draft = await office.draft([answer(SILENT)], [answer(GOOD)])
    assert len(draft.file.plan.phases) == 1
    assert draft.advice == ()


async def test_a_worse_plan_may_be_mended_and_if_it_is_not_the_first_one_stands(
    office: Office,
) -> None:
    mended = await office.draft([answer(SILENT)], [answer(CYCLE)], [answer(GOOD)])
    assert len(mended.file.plan.phases) == 1
    kept = await office.draft([answer(SILENT)], [answer(CYCLE)], [answer(CYCLE)])
    assert len(kept.file.plan.phases) == 2


async def test_a_plan_is_not_lost_with_the_planner_that_was_to_better_it(office: Office) -> None:
    draft = await office.draft([answer(SILENT)], [{"do": "limit", "text": "used up"}])
    assert len(draft.file.plan.phases) == 2
    (warning,) = office.warned
    assert "used up" in warning


@pytest.mark.parametrize(
    ("plan", "advice"),
    [
        (GOOD, ""),
        (SILENT, "name no depends_on"),
        (plan_of(phase("p", chunk("a", verify="true"))), "claims no files"),
        (plan_of(phase("p", chunk("a", files=["a"]))), "'a' has no command"),
        (
            plan_of(phase("p", good("a"), chunk("b", files=["a.py"], verify="true"))),
            "both claim a.py",
        ),
        (
            plan_of(phase("p", *(good(name) for name in "abcd"), parallel_safe=False)),
            "only 1.00 times sooner",
        ),
    ],
)
def test_advice_is_given_where_a_plan_spoils_what_it_is_for(plan: Json, advice: str) -> None:
    found = find_advice(read_plan(json.dumps(plan)))
    assert advice in "\n".join(found)
    assert bool(found) == bool(advice)


# --- a planner that does not only read ------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([write("plan.json", "{}")], "plan.json"),
        ([shell("echo changed > a.txt; rm README.md")], "README.md, a.txt"),
        ([shell("echo x > x; git add x; git commit -qm mine")], "a commit"),
        ([shell('rm -rf "$PWD"')], "over the whole worktree"),
    ],
    ids=["a new file", "changed files", "a commit", "its worktree is gone"],
)
async def test_what_a_planner_writes_is_undone_and_told(
    office: Office, steps: list[Step], said: str
) -> None:
    see = shell("git status --porcelain; ls; git log --oneline")
    draft = await office.draft([*steps, answer(CYCLE)], [see, answer(GOOD)])

    assert draft.author.rounds == 2
    (warning,) = office.warned
    assert f"wrote {said}: that is undone" in warning
    _, second = office.log().split("--- prompt, round 1")
    _, seen = second.split("--- script\n")
    assert seen.split() == [*_listed(office.project), "Start"]


def _listed(project: Project) -> list[str]:
    names = [name for name in run_git(project.path, "ls-files").split() if "/" not in name]
    shown = [name for name in names if not name.startswith(".")]
    return [*shown, run_git(project.path, "rev-parse", "--short", "HEAD").strip()]


async def test_a_planner_that_was_killed_leaves_nothing_to_the_next(office: Office) -> None:
    worktree = office.project.path / ".worktrees" / PLANNER
    run_git(office.project.path, "worktree", "add", "-q", "--detach", str(worktree))
    (worktree / "left.txt").write_text("left\n")
    office.project.write(".git/info/exclude", "/.worktrees/\n")

    await office.draft([shell("ls"), answer(GOOD)])

    assert "left.txt" not in office.log()


async def test_what_a_planner_says_was_done_already_is_not_believed(office: Office) -> None:
    boast = plan_of(phase("p1", good("words", status="completed", auto_build={"status": "x"})))
    draft = await office.draft([answer(boast)])
    (told,) = json.loads(draft.text)["phases"][0]["chunks"]
    assert "status" not in told
    assert "auto_build" not in told


# --- a planner that does not answer ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "error", "fact", "hint"),
    [
        (
            [{"do": "ask", "text": "Which database?"}],
            NoDraft,
            "the agent asks: Which database",
            "HUMAN_INPUT",
        ),
        (
            [say("I looked.\n**QUESTION:** Which database?")],
            NoDraft,
            "the agent asks: Which database",
            "HUMAN_INPUT",
        ),
        (
            [say("QUESTION: Which?"), say("QUESTION: Which database?"), {"do": "fail"}],
            NoDraft,
            r"the agent asks: Which database\?$",
            "HUMAN_INPUT",
        ),
        (
            [{"do": "stop", "stop": "auth", "text": "401"}],
            EnvironmentUnfit,
            "cannot work: 401",
            "log in",
        ),
        ([{"do": "limit", "reset_in_s": 60}], NoDraft, r"rate-limit.*\(until ", "limit is over"),
        ([{"do": "stop", "stop": "overloaded"}], NoDraft, "overloaded", "few minutes"),
        ([{"do": "stop", "stop": "refused"}], NoDraft, "refused", "--model"),
        ([{"do": "fail", "text": "no flag -x"}], NoDraft, "no flag -x", "agent.log"),
        ([{"do": "raise", "text": "a bug"}], NoDraft, "crashed.*a bug", "agent.log"),
    ],
)
async def test_a_planner_that_does_not_answer_is_an_error_with_a_way_out(
    office: Office, steps: list[Step], error: type[Exception], fact: str, hint: str
) -> None:
    with pytest.raises(error, match=fact) as found:
        await office.draft(steps)
    told = getattr(found.value, "hint", "")
    assert hint in told
    assert "othing was written" in told


async def test_a_planner_that_falls_silent_is_stopped(office: Office) -> None:
    with pytest.raises(NoDraft, match="idle") as found:
        await office.draft([say("reading"), hang()], idle_s=0.3)
    assert "idle_timeout_min" in found.value.hint


async def test_a_planner_that_never_comes_to_an_end_is_stopped(office: Office) -> None:
    busy: list[Step] = [say("reading"), {"do": "sleep", "seconds": 0.05}] * 200
    with pytest.raises(NoDraft, match="timeout") as found:
        await office.draft(busy, limit_s=0.5)
    assert "agent_timeout_min" in found.value.hint


async def test_whoever_stops_listening_stops_the_planner(office: Office) -> None:
    office.rounds = [[shell("touch begun; sleep 300 & sleep 300")]]
    planner = await office.planner()
    drafting = asyncio.create_task(planner.draft_plan(office.spec))
    begun = office.project.path / ".worktrees" / PLANNER / "begun"
    await asyncio.to_thread(office.project.wait_until_exists, begun)

    drafting.cancel()
    await asyncio.wait({drafting})

    assert drafting.cancelled()
    office.check_untouched()


async def test_a_spec_that_says_nothing_is_not_planned(office: Office) -> None:
    office.project.write("auto-build/specs/001-demo/spec.md", " \n")
    with pytest.raises(UsageProblem, match="says nothing"):
        await office.draft([answer(GOOD)])


# --- who else is at work --------------------------------------------------------------------------


@pytest.mark.slow
async def test_only_one_agent_drafts_at_a_time(office: Office) -> None:
    office.rounds = [[answer(GOOD)]]
    planner = await office.planner()
    with (
        RunLock.acquire(office.workspace.state_dir / "drafting", "002-other"),
        pytest.raises(RunLocked, match=r"drafting .* for 002-other"),
    ):
        await planner.draft_plan(office.spec)


@pytest.mark.slow
def test_a_plan_is_not_written_while_its_spec_is_built_and_is_while_another_is(
    office: Office,
) -> None:
    state_dir = office.workspace.state_dir
    with RunLock.acquire(state_dir, SPEC), pytest.raises(RunLocked, match="is building 001-demo"):
        require_plan_free(office.workspace, office.spec, force=True)
    with RunLock.acquire(state_dir, SPEC), pytest.raises(RunLocked):
        write_plan(office.workspace, office.spec, "{}", force=True)
    with RunLock.acquire(state_dir, "002-other"):
        require_plan_free(office.workspace, office.spec, force=False)
        write_plan(office.workspace, office.spec, "{}", force=False)
    assert office.spec.plan_path.read_text() == "{}"


def test_a_plan_that_is_there_is_replaced_only_where_that_was_said(office: Office) -> None:
    office.project.plan_of(chunk("mine"))
    before = office.spec.plan_path.read_text()
    with pytest.raises(UsageProblem, match="has a plan already"):
        require_plan_free(office.workspace, office.spec, force=False)
    with pytest.raises(UsageProblem, match="somebody else"):
        write_plan(office.workspace, office.spec, "{}", force=False)
    assert office.spec.plan_path.read_text() == before
    write_plan(office.workspace, office.spec, "{}", force=True)
    assert office.spec.plan_path.read_text() == "{}"


def test_a_draft_that_is_kept_is_out_of_the_users_sight(office: Office) -> None:
    before = take_fingerprint(office.project.path)
    kept = keep_draft(office.workspace, f"{SPEC}.json", "{}")
    assert kept.read_text() == "{}"
    assert take_fingerprint(office.project.path) == before


# --- what the agent is told of the form -----------------------------------------------------------


def test_the_schema_for_planners_is_ours_without_what_only_the_tool_writes() -> None:
    schema = plan_schema()
    Draft202012Validator.check_schema(schema)
    checker = Draft202012Validator(schema)
    checker.validate(GOOD)
    assert not checker.is_valid({"feature": "x"})
    assert "auto_build" not in json.dumps(schema)
    shown, _, _ = plan_form().partition("\n\nIts JSON Schema")
    assert isinstance(read_answer(json.loads(shown)), PlanFile)


# --- specifications -------------------------------------------------------------------------------


def spec_answer(text: str = "# Words\n\nCounts words.", *questions: str) -> Step:
    value = {
        "title": "Count words",
        "slug": "Count Words!",
        "spec_markdown": text,
        "questions": list(questions),
    }
    Draft202012Validator(dict(SPEC_SCHEMA)).validate(value)
    return answer(value)


async def specify(office: Office, *rounds: Sequence[Step]) -> tuple[Planner, SpecDraft]:
    office.rounds = list(rounds)
    planner = await office.planner("spec")
    draft = await planner.draft_spec("count words")
    office.check_untouched()
    return planner, draft


async def test_a_sentence_becomes_a_specification_with_open_points(office: Office) -> None:
    _, draft = await specify(office, [spec_answer("# Words\n", "Which words?"), spend(0.1)])

    assert draft.slug == "count-words"
    assert draft.text == "# Words\n\n## Open points\n\n- Which words?\n"
    path = write_spec(office.workspace, draft)
    assert path.relative_to(office.project.path).as_posix() == (
        "auto-build/specs/002-count-words/spec.md"
    )
    assert path.read_text() == draft.text


async def test_answers_go_back_into_the_same_conversation(office: Office) -> None:
    first = [spend(0.25), spec_answer("# Words", "Which words?", "In which case?")]
    second = [spend(0.25), spec_answer("# All words")]
    planner, draft = await specify(office, first, second)

    revised = await planner.revise_spec(draft, ["all of them", ""])

    office.check_untouched()
    assert revised.text == "# All words\n\n## Open points\n\n- In which case?\n"
    assert revised.author.rounds == 2
    assert revised.author.used.cost_usd == 0.5
    _, told = office.log("new-spec").split("--- prompt, round 1")
    assert "- Which words?\n  all of them" in told
    assert "- In which case?\n  (left open)" in told
    assert "count words" not in told, "it remembers, and is told everything again"


@pytest.mark.parametrize("end", [{"do": "stop", "stop": "overloaded"}, say("no idea")])
async def test_answers_are_not_lost_where_no_second_text_comes(office: Office, end: Step) -> None:
    planner, draft = await specify(office, [spec_answer("# Words", "Which?", "When?")], [end])
    revised = await planner.revise_spec(draft, ["all", ""])
    assert revised.text == (
        "# Words\n\n## Answers\n\n- Which?\n  all\n\n## Open points\n\n- When?\n"
    )


async def test_an_agent_without_a_specification_is_an_error(office: Office) -> None:
    with pytest.raises(NoDraft, match="gave no specification") as found:
        await specify(office, [answer({"title": "x"})])
    assert "--no-agent" in found.value.hint


def test_a_specification_gets_the_next_free_number_and_replaces_nothing(office: Office) -> None:
    for name in ("007-seven", "012", "notes"):
        office.project.write(f"auto-build/specs/{name}/spec.md", "mine\n")
    first, second = (write_spec(office.workspace, outline("Count words")) for _ in range(2))
    assert first.parent.name == "013-count-words"
    assert second.parent.name == "014-count-words"
    assert (first.parent.parent / "012/spec.md").read_text() == "mine\n"


def test_a_skeleton_holds_the_sentence_and_what_to_fill_in() -> None:
    text = outline("Count words {fast}.\nAnd lines.").text
    assert text.startswith("# Count words {fast}\n\nCount words {fast}.\nAnd lines.\n")
    assert "## Acceptance" in text


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Count words, lines and letters", "count-words-lines-and"),
        ("Größe à la carte", "groe-a-la-carte"),
        ("../../etc/passwd", "etc-passwd"),
        ("数える", "feature"),
        ("x" * 100, "x" * 40),
    ],
)
def test_a_folders_name_is_made_from_a_few_words(text: str, slug: str) -> None:
    assert slug_of(text) == slug
