"""However an agent ends, its chunk has a next step; nothing is lost, nothing goes on for ever."""

import asyncio

import pytest

from auto_build import AutoBuildError, Update
from auto_build.core import events as ev
from auto_build.core.plan import ChunkId
from auto_build.inbox import Inbox
from tests.e2e.commands import auto_build
from tests.e2e.project import (
    SPEC,
    Project,
    append,
    ask,
    chunk,
    crash,
    edit,
    fail,
    hang,
    hear,
    limit,
    say,
    sleep,
    spend,
    stop,
    write,
)


@pytest.fixture
def remembering(project: Project) -> Project:
    """Return a project whose agents can go on with a conversation."""
    project.remembers = True
    return project


def prompts(project: Project, name: str, attempt: int = 1) -> str:
    """Return everything that a chunk's agent was told."""
    logs = project.path / ".git/auto-build/logs" / SPEC / name / str(attempt)
    return (logs / "agent.log").read_text(encoding="utf-8")


# --- usage limits --------------------------------------------------------------------------------


async def test_a_usage_limit_parks_everybody_until_it_resets_and_the_conversation_goes_on(
    remembering: Project,
) -> None:
    remembering.plan_of(
        chunk("one", files=["one"]), chunk("two", files=["two"]), chunk("three", files=["three"])
    )
    remembering.agent("one", write("one", "half\n"), limit(reset_in_s=1.0), resumed=False)
    remembering.agent("one", append("one", "whole\n"), resumed=True)
    remembering.agent("two", sleep(0.3), write("two"))
    remembering.agent("three", write("three"))

    report = await remembering.run(workers=2)

    assert set(report.labels().values()) == {"landed"}
    assert remembering.show("one") == "half\nwhole\n"
    assert report.kinds("one")[:5] == [
        "AttemptStarted",
        "ConversationBegan",
        "AttemptEnded",
        "ResumeStarted",
        "ConversationBegan",
    ]
    order = [type(event).__name__ + getattr(event, "chunk", "") for event in report.events]
    assert order.index("AttemptStartedthree") > order.index("AttemptEndedone")
    began = report.of(ev.ConversationBegan, "one")
    assert began[0] == began[1], "another conversation was begun"
    parked = report.only(ev.AttemptEnded, "one")
    times = {id(record.event): record.at for record in report.records}
    assert times[id(report.only(ev.ResumeStarted, "one"))] >= parked.until
    assert times[id(report.only(ev.AttemptStarted, "three"))] >= parked.until


async def test_a_limit_that_lasts_too_long_ends_the_run_and_the_next_one_goes_on(
    remembering: Project,
) -> None:
    remembering.plan_of(chunk("one", files=["one"]))
    remembering.agent("one", write("one", "half\n"), limit(reset_in_s=1.5), resumed=False)
    remembering.agent("one", append("one", "whole\n"), resumed=True)

    report = await remembering.run(max_wait_h=0.0)

    assert report.labels() == {"one": "parked"}
    assert "max_wait_h" in report.only(ev.RunPaused).why
    again = await remembering.run()
    assert again.labels() == {"one": "landed"}
    assert remembering.show("one") == "half\nwhole\n"


async def test_a_limit_of_unknown_length_is_waited_for_a_little_longer_each_time(
    remembering: Project,
) -> None:
    remembering.plan_of(chunk("one", files=["one"]))
    remembering.agent("one", write("one"), limit(), resumed=False)
    remembering.agent("one", append("one", "whole\n"), resumed=True)

    report = await remembering.run(pause_s=0.05)

    assert report.labels() == {"one": "landed"}
    assert report.only(ev.AttemptEnded).until > 0


# --- an overloaded service -----------------------------------------------------------------------


async def test_an_overloaded_service_is_asked_again_after_a_pause(remembering: Project) -> None:
    remembering.plan_of(*(chunk(name, files=[name]) for name in ("one", "two", "three", "four")))
    remembering.agent("one", stop("overloaded"), resumed=False)
    remembering.agent("one", write("one"), resumed=True)
    for name in ("two", "three", "four"):
        remembering.agent(name, sleep(0.3), write(name))

    report = await remembering.run(workers=3)

    assert set(report.labels().values()) == {"landed"}
    widths = [state.width for event, state in report.states() if isinstance(event, ev.AttemptEnded)]
    assert widths == [1]


# --- nobody can work -----------------------------------------------------------------------------


async def test_a_lost_login_stops_the_run_at_once_and_says_how_to_go_on(
    remembering: Project,
) -> None:
    remembering.plan_of(chunk("one", files=["one"]), chunk("two", files=["two"]))
    remembering.agent("one", sleep(0.2), stop("auth", "the key was refused"), resumed=False)
    remembering.agent("one", write("one"), resumed=True)
    remembering.agent("two", write("two", "half\n"), hang(), resumed=False)
    remembering.agent("two", append("two", "whole\n"), resumed=True)

    with pytest.raises(AutoBuildError, match="the key was refused") as refused:
        await remembering.run()

    assert refused.value.exit_code == 3
    assert "log in" in refused.value.hint
    report = await remembering.run()
    assert report.labels() == {"one": "landed", "two": "landed"}
    assert remembering.show("two") == "half\nwhole\n", "what the other one had done is lost"


# --- once more -----------------------------------------------------------------------------------


async def test_an_agent_that_failed_is_told_so_and_tries_again(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", write("one", "half\n"), fail("no compiler"), attempt=1)
    project.agent("one", write("one"), attempt=2)

    report = await project.run(retries=1)

    assert report.row("one").label.value == "landed"
    assert report.row("one").attempt == 2
    told = prompts(project, "one", 2)
    assert "no compiler" in told
    pin = report.only(ev.AttemptEnded).pin
    assert pin in told
    assert project.show("one", pin) == "half\n"


async def test_the_same_failure_twice_stops_the_chunk(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", fail("no compiler"))

    report = await project.run(retries=5)

    assert report.row("one").attempt == 2
    assert "the same failure twice: no compiler" in report.row("one").note


async def test_a_silent_agent_is_stopped_and_what_it_left_is_kept(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", write("one", "half\n"), hang())

    report = await project.run(idle_timeout_min=0.3 / 60)

    ended = report.only(ev.AttemptEnded)
    assert ended.outcome is ev.Outcome.IDLE
    assert project.show("one", ended.pin) == "half\n"


async def test_a_crashed_agent_goes_on_in_its_conversation(remembering: Project) -> None:
    remembering.plan_of(chunk("one", files=["one"]))
    remembering.agent("one", write("one", "half\n"), crash("segfault"), resumed=False)
    remembering.agent("one", append("one", "whole\n"), resumed=True)

    report = await remembering.run(retries=1)

    assert report.labels() == {"one": "landed"}
    assert report.row("one").attempt == 1
    assert remembering.show("one") == "half\nwhole\n"


async def test_a_repair_goes_on_in_the_conversation(remembering: Project) -> None:
    remembering.plan_of(chunk("one", files=["one"], verify="grep -q whole one"))
    remembering.agent("one", write("one", "half\n"))
    remembering.agent("one", append("one", "whole\n"), round=1, resumed=True)

    report = await remembering.run()

    assert report.labels() == {"one": "landed"}
    told = prompts(remembering, "one")
    assert told.count("# Your chunk: one") == 1, "it was told everything again"


async def test_an_agent_that_remembers_nothing_is_told_everything_again(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"], verify="grep -q whole one"))
    project.agent("one", write("one", "half\n"))
    project.agent("one", append("one", "whole\n"), round=1)

    await project.run()

    assert prompts(project, "one").count("# Your chunk: one") == 2


@pytest.mark.parametrize("why", ["refused", "max-turns", "context-full"])
async def test_each_end_is_told_by_its_own_name(project: Project, why: str) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", stop(why, "that is that"))

    report = await project.run()

    assert report.row("one").note.startswith(f"{why}: that is that")


# --- questions, and people's words ---------------------------------------------------------------


async def test_a_question_waits_for_its_answer_and_the_next_attempt_has_it(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", ask("tabs or spaces?"), attempt=1)
    project.agent("one", write("one"), attempt=2)

    report = await project.run(retries=3)
    assert report.row("one").note.startswith("needs-input: tabs or spaces?")
    assert report.row("one").attempt == 1, "nobody had answered"

    auto_build(project, "steer", "001", "--chunk", "one", "spaces, always")
    report = await project.run()
    assert report.labels() == {"one": "landed"}
    assert "spaces, always" in prompts(project, "one", 2)


async def test_a_question_in_an_agent_s_last_words_is_no_end(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", write("one"), say("I wrote half.\nQUESTION: tabs or spaces?"))

    report = await project.run()

    assert report.row("one").note.startswith("needs-input: tabs or spaces?")
    assert project.show("one", report.row("one").pin) == "done\n"


async def test_what_is_said_reaches_an_agent_at_work(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", hear("one"))
    inbox = Inbox(project.path / ".git/auto-build", SPEC)

    def steer(update: Update) -> None:
        if "hear" in getattr(update.what, "text", ""):
            inbox.put(ev.Steered("mind the gap", to=ChunkId("one")))

    await project.run(on_update=steer)

    assert project.show("one") == "mind the gap\n"


async def test_the_file_for_people_s_words_is_part_of_the_prompt(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", write("one"))
    project.write(f"auto-build/specs/{SPEC}/HUMAN_INPUT.md", "Use British spelling.\n")

    await project.run()

    assert "Use British spelling." in prompts(project, "one")


async def test_what_is_written_into_that_file_reaches_an_agent_at_work(project: Project) -> None:
    project.plan_of(chunk("one", files=["one"]))
    project.agent("one", hear("one"))

    def write_it(update: Update) -> None:
        if "hear" in getattr(update.what, "text", ""):
            project.write(f"auto-build/specs/{SPEC}/HUMAN_INPUT.md", "colour")

    await project.run(on_update=write_it)

    assert project.show("one") == "colour\n"


# --- money ---------------------------------------------------------------------------------------


async def test_the_run_s_money_is_never_overspent_and_what_was_done_is_kept(
    remembering: Project,
) -> None:
    remembering.plan_of(*(chunk(name, files=[name]) for name in ("one", "two", "three")))
    for name in ("one", "two", "three"):
        remembering.agent(
            name, write(name, "half\n"), spend(0.4), spend(0.4), sleep(5.0), resumed=False
        )
        remembering.agent(name, append(name, "whole\n"), spend(0.1), resumed=True)

    report = await remembering.run(workers=2, max_cost=1.0)

    assert (report.view.usage.cost_usd or 0.0) <= 1.0 + 2 * 0.4
    assert "the run's budget of $1.00 is used up" in report.only(ev.RunPaused).why
    assert report.labels() == {"one": "parked", "two": "parked", "three": "pending"}
    more = await remembering.run(workers=3, max_cost=9.0)
    assert {more.labels()["one"], more.labels()["two"]} == {"landed"}
    assert remembering.show("one") == "half\nwhole\n"


async def test_a_chunk_s_own_budget_ends_the_chunk_and_not_the_run(project: Project) -> None:
    project.plan_of(chunk("dear", files=["dear"]), chunk("cheap", files=["cheap"]))
    project.agent("dear", write("dear"), spend(0.3), spend(0.3), hang())
    project.agent("cheap", write("cheap"), spend(0.1))

    report = await project.run(max_chunk_cost=0.5)

    assert report.labels() == {"dear": "failed", "cheap": "landed"}
    assert report.row("dear").note.startswith("budget: it has spent $0.60 of the $0.50")
    assert report.view.usage.cost_usd == pytest.approx(0.7)


async def test_status_tells_tokens_and_money_and_where_the_figure_comes_from(
    project: Project,
) -> None:
    project.plan_of(chunk("one", files=["one"]), chunk("two", files=["two"]))
    project.agent("one", write("one"), spend(0.25, tokens=1200))
    project.agent("two", write("two"), spend(None, tokens=300))
    await project.run()

    shown = auto_build(project, "status", "001").out
    assert "$0.25, 1.2k tokens" in shown
    assert "300 tokens" in shown
    assert "a part of what it cost is not known" in shown
    told = auto_build(project, "status", "001", "--json").value
    assert told["build"]["usage"]["cost_usd"] == pytest.approx(0.25)
    assert told["build"]["usage"]["source"] == "unknown"


async def test_the_number_of_agent_sessions_is_bounded(remembering: Project) -> None:
    remembering.plan_of(chunk("one", files=["one"]))
    remembering.agent("one", write("one"), limit(reset_in_s=0.1))

    report = await remembering.run(max_iterations=3)

    begun = report.of(ev.AttemptStarted) + report.of(ev.ResumeStarted)
    assert len(begun) == 3
    assert "3 agent sessions" in report.only(ev.RunPaused).why


# --- after a kill --------------------------------------------------------------------------------


async def test_a_run_that_is_stopped_goes_on_in_the_conversation_with_the_work_so_far(
    remembering: Project,
) -> None:
    remembering.plan_of(chunk("one", files=["one"]))
    remembering.agent("one", write("one", "half\n"), edit("a.txt", "b", "B"), hang(), resumed=False)
    remembering.agent("one", append("one", "whole\n"), resumed=True)
    running: asyncio.Task[object]

    def stop_it(update: Update) -> None:
        if "hang" in getattr(update.what, "text", ""):
            running.cancel()

    running = asyncio.create_task(remembering.run(on_update=stop_it))
    with pytest.raises(asyncio.CancelledError):
        await running

    report = await remembering.run()
    assert report.labels() == {"one": "landed"}
    assert remembering.show("one") == "half\nwhole\n"
    assert remembering.show("a.txt") == "a\nB\nc\n"
