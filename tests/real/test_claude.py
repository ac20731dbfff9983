"""The demo's plan, built by the real Claude program, three at once, on loopback and without a key.

Everything that can happen on the way does: an edit of a file that another agent is writing is
refused, a red check goes back into the same conversation, a usage limit parks everybody until it
resets, a program is killed and its conversation goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from auto_build import Notice, Update, View
from auto_build.agents.script import Edit, Script, Sleep, Turn
from auto_build.core import events as ev
from auto_build.core.acceptance import ItemState
from auto_build.core.usage import CostSource
from auto_build.delivery import Build
from auto_build.demo.build import SPEC_NAME
from auto_build.merging import merge
from auto_build.readiness import Wish
from tests.real.demo import SCENARIO, RealDemo, demo_script
from tests.stubs import acts
from tests.stubs.server import ModelStub, Served

MODEL = "claude-sonnet-4-5"
DOLLARS = (3.0, 15.0)  # for a million tokens in and out, by the vendor's price list
LIMITED, KILLED, REFUSED, HOLDER = "3-2", "4-2", "2-2", "2-1"
RESET_S = 4.0

# one process builds it, for all that look at it
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("claude")]


class Built:
    """The demo as it was built, what the stub served for it, and what was killed."""

    def __init__(self, folder: Path, stub: ModelStub) -> None:
        url = stub.play_script(SCENARIO, _script())
        limit = acts.Fail(acts.Failure.RATE_LIMIT, after_s=RESET_S)
        stub.interrupt(SCENARIO, LIMITED, 2, limit)
        stub.interrupt(SCENARIO, KILLED, 2, acts.RunCommand("tail -f /dev/null"))
        self._stub = stub
        self.killed: list[int] = []
        self._hangs = False
        self.demo = RealDemo(
            folder,
            'kind = "claude"',
            {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "test-key"},
        )
        self.view: View

    async def build(self) -> None:
        await self.demo.make()
        self.view = await self.demo.run(workers=3, on_update=self._watch, model=MODEL, retries=1)

    @property
    def served(self) -> tuple[Served, ...]:
        return self._stub.served(SCENARIO)

    @property
    def unexpected(self) -> tuple[str, ...]:
        return self._stub.requests_other

    def story(self, chunk: str) -> list[ev.Event]:
        return [event for event in self.demo.events if getattr(event, "chunk", "") == chunk]

    def prompts(self, chunk: str) -> Counter[str]:
        """Return how often the whole task of a chunk was told in one conversation, at most."""
        told = Counter[str]()
        for one in self.served:
            if one.position and one.position.chunk == chunk:
                told["most"] = max(
                    told["most"], sum("# Your chunk:" in text for text in one.talk.prompts)
                )
        return told

    def _watch(self, update: Update) -> None:
        """Kill the program that hangs in a command, once it has told what it used for that."""
        what = update.what
        if isinstance(what, Notice) and what.chunk == KILLED:
            self._hangs = self._hangs or "tail -f" in what.text
        row = (
            next((row for row in update.view.rows if row.id == KILLED), None)
            if update.view
            else None
        )
        told = row.usage.output_tokens if row else 0
        if row and self._hangs and told == 2 * acts.Tokens().output and not self.killed:
            worktree = self.demo.project / f".worktrees/auto-build-worker-{row.slot}"
            self.killed.append(_kill_claude(worktree))


def _script() -> Script:
    """Return the demo's script with an edit that is refused, and made when the holder has landed.

    The holder takes longer than the other one needs to be refused, and less than it works in all.
    """
    script = demo_script()
    turns: list[Turn] = []
    for turn in script.turn:
        if (turn.chunk, turn.round) == (REFUSED, 1):
            continue  # it has no conflict to resolve here
        pause = {HOLDER: 3.0, REFUSED: 6.0}.get(turn.chunk, 0.0) if turn.attempt == 0 else 0.0
        more = (Sleep(do="sleep", seconds=pause),) if pause else ()
        turns.append(turn.model_copy(update={"steps": (*turn.steps, *more)}))
        if turn.chunk == REFUSED and turn.attempt == 0:
            edits = tuple(step for step in turn.steps if isinstance(step, Edit))
            turns.append(Turn(chunk=REFUSED, round=1, steps=edits))
    return script.model_copy(update={"turn": tuple(turns)})


def _kill_claude(worktree: Path) -> int:
    """Kill the Claude program that works in a worktree, and nothing else."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(worktree) and process.name().startswith("claude"):
                process.kill()
                return process.pid
    raise AssertionError(f"no claude runs in {worktree}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with ModelStub() as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        made = Built(tmp_path_factory.mktemp("real"), stub)
        asyncio.run(made.build())
        yield made


async def test_everything_lands_and_its_tests_are_green(built: Built) -> None:
    assert {row.label.value for row in built.view.rows} == {"landed"}
    assert (await built.demo.tests(built.view)).passed
    assert built.unexpected == (), "it called for something else than the model"


def test_what_it_built_is_reviewed_mended_in_staging_and_approved(built: Built) -> None:
    reviews = built.view.qa.reviews
    assert [(one.round, one.verdict.value, one.by) for one in reviews] == [
        (1, "rejected", "real"),
        (2, "approved", "real"),
    ]
    assert len(reviews[0].blocking) == 2
    assert all(one.state is not ItemState.FAILED for one in reviews[1].items)
    (fixes,) = [event for event in built.demo.events if isinstance(event, ev.FixesAsked)]
    assert fixes.in_staging
    told = [text for one in built.served for text in one.talk.prompts if "to be mended" in text]
    assert any("takes, and show a full bar" in text or "goal -3" in text for text in told)


def test_three_were_at_work_at_once(built: Built) -> None:
    running, most = set[str](), 0
    for event in built.demo.events:
        if isinstance(event, ev.AttemptStarted):
            running.add(event.chunk)
        if isinstance(event, ev.WorkCaptured | ev.AttemptEnded):
            running.discard(event.chunk)
        most = max(most, len(running))
    assert most == 3


def test_files_are_written_with_its_own_tools(built: Built) -> None:
    offered = {name for one in built.served for name in one.talk.tools}
    assert {"Write", "Edit", "Bash", "Read"} <= offered
    told = " ".join(result.text for one in built.served for result in one.talk.results)
    assert "File created successfully at" in told


def test_an_edit_of_what_another_agent_is_writing_is_refused_and_names_the_holder(
    built: Built,
) -> None:
    told = [
        result
        for one in built.served
        if one.position and one.position.chunk == REFUSED
        for result in one.talk.results
        if result.is_error and "is being written by another agent" in result.text
    ]
    assert told
    assert f"(chunk {HOLDER})" in told[0].text


def test_a_path_that_nobody_holds_is_taken_before_it_is_written(built: Built) -> None:
    story = built.story("4-3")
    taken = [event.path for event in story if isinstance(event, ev.ClaimTaken)]
    assert taken == ["CHANGELOG.md"]
    kinds = [type(event) for event in story]
    assert kinds.index(ev.ClaimTaken) < kinds.index(ev.WorkCaptured)


@pytest.mark.parametrize("chunk", [REFUSED, "3-1"])
def test_a_red_check_goes_back_into_the_same_conversation(built: Built, chunk: str) -> None:
    story = built.story(chunk)
    assert any(isinstance(event, ev.RepairStarted) for event in story)
    names = {event.session for event in story if isinstance(event, ev.ConversationBegan)}
    assert len(names) == 1
    assert built.prompts(chunk)["most"] == 1, "it was told everything again"


def test_a_usage_limit_parks_until_it_resets_and_the_conversation_goes_on(built: Built) -> None:
    story = built.story(LIMITED)
    (ended,) = (event for event in story if isinstance(event, ev.AttemptEnded))
    assert ended.outcome is ev.Outcome.RATE_LIMIT
    refused = next(one for one in built.served if one.status == 429)
    later = next(
        one
        for one in built.served
        if one.at > refused.at and one.position and one.position.chunk == LIMITED
    )
    assert later.at - refused.at >= RESET_S - 1.0
    names = {event.session for event in story if isinstance(event, ev.ConversationBegan)}
    assert len(names) == 1


def test_a_program_that_is_killed_goes_on_in_its_conversation(built: Built) -> None:
    assert len(built.killed) == 1
    story = built.story(KILLED)
    (ended,) = (event for event in story if isinstance(event, ev.AttemptEnded))
    assert ended.outcome is ev.Outcome.CRASHED
    names = {event.session for event in story if isinstance(event, ev.ConversationBegan)}
    assert len(names) == 1


def test_the_money_adds_up_to_the_cent(built: Built) -> None:
    used = [one.usage for one in built.served if one.usage]
    tokens_in, tokens_out = sum(one.input for one in used), sum(one.output for one in used)
    cost = (tokens_in * DOLLARS[0] + tokens_out * DOLLARS[1]) / 1_000_000
    told = built.view.usage
    assert told.source is CostSource.AGENT
    assert told.cost_usd == pytest.approx(cost, abs=0.005)
    assert (told.input_tokens, told.output_tokens) == (tokens_in, tokens_out)
    each = [row.usage.cost_usd or 0.0 for row in built.view.rows]
    assert sum(each) + (built.view.reviewers.cost_usd or 0.0) == pytest.approx(told.cost_usd)


async def test_what_is_approved_is_merged_and_what_was_made_for_it_is_gone(built: Built) -> None:
    project = built.demo.project
    approved = built.view.qa.reviews[-1].commit

    done = await merge(await Build.open(project, SPEC_NAME), Wish())

    assert (done.branch, done.commit) == ("main", approved)
    assert done.approval == "approved by real in round 2"
    assert "type=_some" in (project / "shelf/commands/goal.py").read_text()
    assert not (project / ".worktrees").exists()


# --- budgets --------------------------------------------------------------------------------------


def test_a_budget_is_overshot_by_no_more_than_one_request_for_each_worker(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    request = (acts.Tokens().input * DOLLARS[0] + acts.Tokens().output * DOLLARS[1]) / 1_000_000
    with ModelStub() as stub:
        url = stub.play_script(SCENARIO, demo_script())
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "test-key"}
        demo = RealDemo(tmp_path_factory.mktemp("real"), 'kind = "claude"', env)
        asyncio.run(demo.make())
        view = asyncio.run(demo.run(workers=2, model=MODEL, max_cost=0.04))
        spent = len(stub.served(SCENARIO)) * request
    assert not view.finished
    assert 0.03 < spent <= 0.04 + 2 * request
    assert view.usage.cost_usd == pytest.approx(spent, abs=0.005)
    (paused,) = (event for event in demo.events if isinstance(event, ev.RunPaused))
    assert "the run's budget of $0.04 is used up" in paused.why
