import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console, RenderableType

from auto_build.core import events as ev
from auto_build.core.claims import Claim
from auto_build.core.findings import Comment, Finding, Review, Severity, Verdict
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Plan
from auto_build.core.state import RunState
from auto_build.core.transitions import step
from auto_build.core.usage import Usage
from auto_build.core.view import Label, Times, View, build_view
from auto_build.journal import Record
from auto_build.ui.block import Scene, block_lines
from auto_build.ui.console import (
    JsonLines,
    LineConsole,
    LiveConsole,
    Ways,
    choose_console,
    status_table,
    summary,
)
from auto_build.ui.lines import describe
from auto_build.ui.marks import MARKS, Sheet
from auto_build.ui.rest import Guess, guess_end
from auto_build.ui.words import about, clean, clip, span
from auto_build.updates import Notice, Update

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A, B, C, D = (ChunkId(one) for one in ("1-1", "1-2", "1-3", "2-1"))
WAYS = Ways(
    run="auto-build run 001",
    review="auto-build review 001",
    qa="auto-build qa 001",
    qa_status="auto-build qa 001 --status",
    page="auto-build review 001 --html --open",
    approve="auto-build approve 001",
    reject="auto-build reject 001",
    merge="auto-build merge 001",
    logs="auto-build logs 001",
    retry="auto-build retry 001",
    redo="auto-build redo --spec 001",
)
HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07[bold]x[/bold]\r\n\x9b2Jnext\u202eline\x00\udcff"


class Story:
    """A build told event by event, `pace` seconds apart."""

    def __init__(self, plan: Plan, pace: float = 10.0) -> None:
        self.now, self.pace, self.seq = START, pace, 0
        self.state: RunState | None = None
        self.times = Times()
        self.updates: list[Update] = []
        self.tell(ev.RunStarted(plan, "a" * 40), ev.SessionOpened(2, 2))

    @property
    def view(self) -> View:
        assert self.state
        return build_view("001-parser", self.state, self.times)

    def tell(self, *events: ev.Event) -> "Story":
        for event in events:
            self.now += timedelta(seconds=self.pace)
            self.seq += 1
            self.state = step(self.state, event)
            self.times = self.times.seen(self.now.timestamp(), event)
            record = Record(self.seq, self.now.timestamp(), event)
            self.updates.append(Update(record, self.state, self.view))
        return self

    def say(self, chunk: str, text: str, *, warning: bool = False) -> "Story":
        self.updates.append(Update(Notice(chunk, text, warning), self.state, self.view))
        return self

    def start(self, chunk: ChunkId, slot: int = 1) -> "Story":
        return self.tell(ev.AttemptStarted(chunk, 1, slot))

    def capture(self, chunk: ChunkId, *touched: str) -> "Story":
        work = ev.WorkCaptured(chunk, "b", "c", "refs/pin", touched, 12.0)
        return self.tell(work, ev.GateStarted(chunk))

    def land(self, chunk: ChunkId, *, behind: str = "", unverified: str = "") -> "Story":
        return self.capture(chunk).tell(
            ev.CandidatePassed(chunk, "d", "h", unverified=unverified),
            ev.LandStarted(chunk),
            ev.CandidateLanded(chunk, "d" * 40, behind),
        )

    def fail(self, chunk: ChunkId, why: str = "gave up") -> "Story":
        return self.start(chunk).tell(ev.AttemptEnded(chunk, ev.Outcome.AGENT_ERROR, why))


def chunk(id_: ChunkId, title: str) -> Chunk:
    return Chunk(id=id_, title=title, claims=(Claim.parse(f"{id_}.py"),))


@pytest.fixture
def story() -> Story:
    return Story(parser_plan())


def parser_plan() -> Plan:
    first = (chunk(A, "Read the header"), chunk(B, "Parse it"), chunk(C, "Write the codec"))
    return Plan(
        "Header parser",
        (
            Phase(id=PhaseId("p1"), name="Parts", chunks=first),
            Phase(
                id=PhaseId("p2"),
                name="Whole",
                depends_on=(PhaseId("p1"),),
                chunks=(chunk(D, "Join them"),),
            ),
        ),
    )


def screen(story: Story | None = None, *, width: int = 80, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=24,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        get_datetime=lambda: story.now if story else START,
        _environ={},
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def seen(what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, _environ={})
    console.print(what)
    return text_of(console)


def told(story: Story, *, verbose: bool = False) -> list[str]:
    lines = [line for update in story.updates for line in describe(update)]
    return [line.text.plain for line in lines if verbose or not line.quiet]


def block(story: Story, scene: Scene, *, width: int = 80, height: int = 24) -> list[str]:
    lines = block_lines(scene, width=width, height=height, now=story.now.timestamp() + 65)
    return seen(Sheet(lambda _: lines), width).splitlines()


# --- events in lines -----------------------------------------------------------------------------


def test_a_chunk_that_lands_is_told_with_its_title_its_place_and_its_time(story: Story) -> None:
    story.start(A).land(A)
    assert told(story)[-2:] == [
        "● started    1-1    Read the header, worker 1",
        "✓ landed     1-1    Read the header (1/4) 50.0s",
    ]


def test_the_steps_between_are_for_the_verbose(story: Story) -> None:
    story.start(A).say(A, "edit x.py").land(A)
    assert not any("edit x.py" in line for line in told(story))
    assert any("doing" in line and "edit x.py" in line for line in told(story, verbose=True))
    assert any("checking" in line for line in told(story, verbose=True))


def test_a_red_gate_says_which_command_and_what_comes_of_it(story: Story) -> None:
    red = ev.CheckResult("pytest tests/x.py", passed=False, code=1, seconds=1, note="exit code 1")
    rejected = ev.CandidateRejected(A, "c", "h", "w", "$ pytest", (red,))
    story.start(A).capture(A).tell(rejected)
    assert told(story)[-1] == ("✗ red        1-1    pytest tests/x.py: exit code 1 → repair 1 of 2")
    for round_, feedback in ((1, "$ pytest: a"), (2, "$ pytest: b")):
        red_again = replace(rejected, feedback=feedback)
        story.tell(ev.RepairStarted(A, round_)).capture(A).tell(red_again)
    assert told(story)[-2:] == [
        "✗ failed     1-1    still red, and no repair round is left",
        "! blocks     1-1    cannot start without it: 2-1",
    ]


def test_a_gate_that_is_red_in_the_same_way_after_a_repair_says_so(story: Story) -> None:
    rejected = ev.CandidateRejected(A, "c", "h", "w", "$ pytest", ())
    story.start(A).capture(A).tell(rejected)
    story.tell(ev.RepairStarted(A, 1)).capture(A).tell(rejected)
    assert told(story)[-2] == "✗ failed     1-1    still red, and a repair did not change that"


def test_a_red_gate_says_with_whose_work_it_is_red(story: Story) -> None:
    red = ev.CheckResult("pytest", passed=False, code=1, seconds=1, note="exit code 1")
    story.start(B).land(B)
    rejected = ev.CandidateRejected(A, "c", "h", "w", "$ pytest", (red,), culprits=(B, C))
    story.start(A).capture(A).tell(rejected)
    assert told(story)[-2] == ("≠ together   1-1    green by itself, red together with 1-2, 1-3")
    assert told(story)[-1].startswith("✗ red")


def test_a_flaky_test_is_told_when_it_is_seen_and_at_the_end(story: Story) -> None:
    flaky = ev.CheckResult("pytest", passed=True, code=0, seconds=1, flaky=("t.py::x",), runs=2)
    story.start(A).capture(A).tell(ev.CandidatePassed(A, "c", "h", (flaky,)))
    assert told(story)[-1] == (
        "≈ flaky      1-1    t.py::x failed and passed on the same tree ($ pytest)"
    )
    assert story.view.flaky == ("t.py::x",)


def test_a_command_that_is_flaky_and_names_no_test_is_told_by_its_line(story: Story) -> None:
    flaky = ev.CheckResult("make e2e", passed=True, code=0, seconds=1, flaky=("",), runs=2)
    story.tell(ev.BaseChecked("h", (flaky,)))
    assert told(story)[-1] == "≈ flaky      it failed and passed on the same tree ($ make e2e)"
    assert story.view.flaky == ("make e2e",)


def test_how_candidates_are_checked_is_told_with_its_figures(story: Story) -> None:
    story.tell(ev.QueuePaced(ahead=True, agent_s=120.0, gate_s=41.0, slots=4))
    assert told(story)[-1] == (
        "⇉ queue      candidates are checked ahead of each other: a gate takes 41.0s,"
        " an agent 2m 00s, 4 workers"
    )


def test_the_suite_on_the_base_is_told_to_the_verbose(story: Story) -> None:
    known = ev.CheckResult("make", passed=True, code=0, seconds=0.0, runs=0)
    red = ev.CheckResult("pytest", passed=False, code=1, seconds=2.0)
    story.tell(ev.BaseChecked("h", (known, red)))
    assert told(story, verbose=True)[-1] == (
        "✓ base       2 checks in 2.0s, 1 known from before, 1 red on the unchanged base"
    )


def test_a_parked_agent_says_until_when_and_why(story: Story) -> None:
    story.start(A).tell(ev.AttemptEnded(A, ev.Outcome.RATE_LIMIT, "five hours", until=1.0))
    (line,) = told(story)[-1:]
    assert line.startswith("‖ parked     1-1    goes on at ")
    assert line.endswith("; rate-limit: five hours")


def test_a_conflict_says_where_and_that_the_chunk_is_set_aside(story: Story) -> None:
    story.start(A).capture(A).tell(ev.CandidateConflicted(A, "h", ("src/a.py",)))
    assert told(story)[-1] == ("↷ conflict   1-1    in src/a.py: set aside, runs alone at the end")


def test_a_file_that_was_not_claimed_is_pointed_out(story: Story) -> None:
    story.start(A).capture(A, "1-1.py", "README.md")
    assert told(story)[-1] == ("! outside    1-1    wrote README.md, which it had not claimed")


def test_a_staging_worktree_that_lags_behind_is_pointed_out_with_the_reason(story: Story) -> None:
    story.start(A).land(A, behind="you changed 1-1.py there")
    assert told(story)[-1].startswith("! behind     1-1    the staging worktree does not show it")
    assert told(story)[-1].endswith("you changed 1-1.py there")


def test_what_no_command_checked_is_said_when_it_lands(story: Story) -> None:
    story.start(A).land(A, unverified="manual: look at the page")
    assert told(story)[-1] == "! to verify  1-1    manual: look at the page"


@pytest.mark.parametrize(
    ("ending", "word"),
    [(ev.Ending.UNFINISHED, "stopped"), (ev.Ending.INTERRUPTED, "broken off")],
)
def test_the_end_of_a_session_is_not_called_finished_before_it_is(
    story: Story, ending: ev.Ending, word: str
) -> None:
    story.fail(A).tell(ev.SessionClosed(ending))
    assert told(story)[-1] == f"■ {word:<9}  0 of 4 chunks done, 1 failed, 1 blocked"


def test_what_strayed_is_told_when_it_is_found_and_at_the_end(story: Story) -> None:
    found = ev.StraysFound((A,), ("a.txt was changed",), ("refs/x was deleted",), "git apply p")
    told_of = (
        "put back: a.txt was changed; left as it is: refs/x was deleted; what was there is kept:"
        " git apply p"
    )
    story.start(A).tell(found)
    assert told(story)[-1] == f"! strayed    1-1    {told_of}"
    assert story.view.strays == (found,)
    for sheet in (summary(story.view, WAYS), status_table(story.view)):
        assert told_of in " ".join(seen(sheet).split())


def test_what_strayed_while_several_were_at_work_is_told_of_all(story: Story) -> None:
    story.start(A).start(B, 2).tell(ev.StraysFound((A, B), ("a.txt was changed",)))
    assert told(story)[-1] == "! strayed    by one of 1-1, 1-2; put back: a.txt was changed"


def every_kind(story: Story) -> Iterator[ev.Event]:
    plan = parser_plan()
    yield from (ev.PlanChanged(plan), ev.RunPaused("asked for"), ev.BaseChecked("h"))
    yield from (ev.QueuePaced(ahead, 1.0, 1.0, 2) for ahead in (True, False))
    yield ev.StraysFound((A, B), ("a.txt was changed",), ("refs/x was deleted",), "git apply x")
    yield from (ev.AttemptStarted(A, 1, 1), ev.AttemptLost(A), ev.AttemptStarted(A, 1, 1))
    yield from (ev.WorkCaptured(A, "b", "c", "p", ()), ev.GateStarted(A), ev.GateLost(A))
    yield from (ev.GateStarted(A, B, "b"), ev.CandidateBuilt(A, "c", "b"), ev.GateVoided(A))
    yield from (ev.GateStarted(A), ev.CandidateSuspected(A), ev.GateLost(A))
    yield from (ev.GateStarted(A, B, "b"), ev.CandidateDoubted(A, "red: $ make"))
    yield from (ev.GateStarted(A), ev.CandidatePassed(A, "c", "h"), ev.LandStarted(A))
    yield from (ev.LandLost(A), ev.LandStarted(A), ev.LandingVoided(A, "h"))
    yield from (ev.ChunkReset(A, "asked for"), ev.ChunkSkipped(A, "not needed"))
    landing = {A: "d" * 40}
    yield from (ev.ChunkReset(A, "asked for"), ev.AttemptStarted(A, 2, 1))
    yield from (ev.WorkCaptured(A, "b", "c", "p", ()), ev.GateStarted(A))
    yield from (ev.CandidatePassed(A, "c", "h"), ev.LandStarted(A), ev.CandidateLanded(A, "d"))
    for end in (ev.RevisionVoided("h"), ev.RevisionLanded()):
        yield from (ev.RevisionPassed(ev.Revision.UNDO, landing, "e", "h"), end)
    yield from (ev.QaBegan(10), ev.ReviewStarted(1, "d" * 40), ev.ReviewSpent("s", Usage()))
    finding = Finding(severity=Severity.MAJOR, what="it crashes", file="a.py", line=3)
    for verdict in Verdict:
        review = Review(round=1, commit="d" * 40, verdict=verdict, findings=(finding,), why="busy")
        yield ev.Reviewed(review)
    fix = Chunk(id=ChunkId("qa-1"))
    yield ev.FixesAsked(Phase(id=PhaseId("qa-1"), chunks=(fix,), round=1), in_staging=True)
    yield from (ev.ChunkSkipped(fix.id, "x"), ev.QaStopped("no progress"), ev.QaSkipped("asked"))
    yield from (ev.Commented(Comment("long", A, "me")), ev.RunParked("d" * 40), ev.RunUnparked())
    meant = ev.MergeMeant("main", "e" * 40, "f" * 40, "d" * 40, ev.MergeForm.MERGE)
    yield from (meant, ev.MergeVoided("a hook"), ev.SessionClosed(ev.Ending.DONE), meant)
    yield from (ev.RunMerged("main", "f" * 40), ev.MergeUndone("e" * 40))
    yield ev.RunDiscarded("refs/kept")


def test_each_kind_of_event_has_its_words(story: Story) -> None:
    story.tell(*every_kind(story))
    assert all(describe(update) for update in story.updates)
    assert all(re.match(r"\S \S", line) for line in told(story, verbose=True))


# --- the live block ------------------------------------------------------------------------------


def test_the_block_shows_workers_queue_what_is_next_and_progress(story: Story) -> None:
    story.start(A, 1).start(B, 2).capture(B)
    scene = Scene(3, story.view, {A: "edit src/a.py"}, (C,), Guess(story.now.timestamp() + 245))
    lines = block(story, scene)
    assert lines[0].startswith("── 001-parser  Header parser ──")
    assert lines[1] == "● 1 running   1-1   1:35  Read the header  edit src/a.py"
    assert lines[2] == "◐ 2 checking  1-2   1:05  Parse it"
    assert lines[3] == "· 3 idle"
    assert lines[4] == "merge queue  1-2 checking"
    assert lines[5] == "next         1-3 Write the codec; 2-1 after 1-1, 1-2, 1-3"
    assert lines[6].endswith("0 of 4 done · about 3 min left")
    assert len(lines) <= 14


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_the_block_never_wraps_and_leaves_room_for_events(story: Story, width: int) -> None:
    story.start(A).say(A, "x" * 300)
    scene = Scene(40, story.view, {A: "日本語" * 60}, (B, C))
    for height in (10, 24, 60):
        lines = block(story, scene, width=width, height=height)
        assert len(lines) == len(
            block_lines(scene, width=width, height=height, now=story.now.timestamp())
        )
        assert len(lines) < min(height, 15)


def test_more_workers_than_fit_are_counted_the_busy_ones_shown() -> None:
    ids = [ChunkId(f"c{number}") for number in range(9)]
    chunks = tuple(chunk(one, "Title") for one in ids)
    story = Story(Plan("Wide", (Phase(id=PhaseId("p"), chunks=chunks),)))
    for slot, one in enumerate(ids, start=1):
        story.start(one, slot)
    text = "\n".join(block(story, Scene(12, story.view)))
    assert text.count("● ") == 6
    assert "+3 more at work, +3 more idle" in text


def test_a_paused_run_says_so_instead_of_what_is_next(story: Story) -> None:
    lines = block(story, Scene(2, story.view, paused="asked for"))
    assert "‖ paused     asked for" in lines


def test_failed_and_blocked_chunks_show_in_the_bar_and_in_words(story: Story) -> None:
    bar = block(story.fail(A), Scene(2, story.view))[-2]
    assert "✗" in bar
    assert "0 of 4 done · 1 failed · 1 blocked" in bar


def test_the_live_console_scrolls_events_above_its_block_and_leaves_none_of_it(
    story: Story,
) -> None:
    story.start(A).say(A, "edit src/a.py").land(A).say("", "no space left", warning=True)
    console = screen(story)
    with LiveConsole(console=console, slots=2) as live:
        for update in story.updates:
            live(update)
        assert "1 of 4 done" in seen(live)
    text = text_of(console)
    assert "✓ landed" in text
    assert "! warning" in text
    assert text.endswith("\x1b[2K")  # the block is wiped out, and nothing comes after it


# --- how long it will still take -----------------------------------------------------------------


def test_nothing_is_guessed_from_a_single_landing(story: Story) -> None:
    story.start(A).land(A)
    assert story.state
    assert guess_end(story.state, story.view, slots=2) is None


def test_the_rest_is_guessed_from_the_middle_of_a_run(story: Story) -> None:
    story.start(A).land(A).start(B).land(B).start(C)
    assert story.state
    now = story.now.timestamp()
    fresh = guess_end(story.state, story.view, slots=2)
    assert fresh is not None
    assert fresh.left(now) == pytest.approx(2 * 50, abs=1)  # what runs, and what follows it
    assert fresh.left(now + 60) == pytest.approx(40, abs=1)
    assert fresh.left(now + 3600) == 0


def test_a_paused_run_has_no_end_to_guess(story: Story) -> None:
    story.start(A).land(A).start(B).land(B).tell(ev.RunPaused("asked for"))
    assert story.state
    assert guess_end(story.state, story.view, slots=2) is None


def test_a_large_plan_is_guessed_from_its_amount_of_work() -> None:
    ids = [ChunkId(f"c{number}") for number in range(100)]
    chunks = tuple(chunk(one, "Title") for one in ids)
    story = Story(Plan("Large", (Phase(id=PhaseId("p"), chunks=chunks),)))
    story.start(ids[0]).land(ids[0]).start(ids[1]).land(ids[1])
    assert story.state
    guess = guess_end(story.state, story.view, slots=2)
    assert guess is not None
    assert guess.left(story.now.timestamp()) == pytest.approx(98 * 50 / 2)


# --- lines and JSON ------------------------------------------------------------------------------


def test_without_a_terminal_each_event_is_one_line_with_its_time(story: Story) -> None:
    story.start(A).say(A, "edit x.py").land(A).say("", "long " * 60, warning=True)
    console = screen(story, terminal=False)
    with LineConsole(console=console, slots=2) as lines:
        for update in story.updates:
            lines(update)
    printed = text_of(console).splitlines()
    assert len(printed) == 5
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in printed)
    assert "\x1b" not in text_of(console)


def test_after_a_long_silence_there_is_a_sign_of_life(story: Story) -> None:
    story.start(A)
    console = screen(story, terminal=False)
    lines = LineConsole(console=console, slots=2)
    quiet = story.say(A, "thinking").updates[-1]
    lines(quiet)
    assert text_of(console) == ""
    story.now += timedelta(seconds=61)
    lines(quiet)
    lines(quiet)
    assert text_of(console).count("\n") == 1
    assert "1-1 running 1:01" in text_of(console)


def test_json_is_one_object_for_each_step_and_leaves_out_the_plan(story: Story) -> None:
    story.start(A).say(A, HOSTILE).fail(B)
    written: list[str] = []
    with JsonLines(written.append) as lines:
        for update in story.updates:
            lines(update)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in written)
    first, *_ = values = [json.loads(line) for line in written]
    assert (first["seq"], first["type"], first["chunks"]) == (1, "RunStarted", 4)
    assert "plan" not in first
    assert [one["type"] for one in values].count("Notice") == 1
    assert all(one["spec"] == "001-parser" for one in values)


@pytest.mark.parametrize(
    ("terminal", "environment", "json_", "kind"),
    [
        (True, {"TERM": "xterm"}, False, LiveConsole),
        (True, {"TERM": "dumb"}, False, LineConsole),
        (True, {"TERM": "xterm", "CI": "true"}, False, LineConsole),
        (True, {"TERM": "xterm", "CI": "false"}, False, LiveConsole),
        (False, {}, False, LineConsole),
        (True, {"TERM": "xterm"}, True, JsonLines),
    ],
)
def test_the_console_suits_where_the_output_goes(
    terminal: bool, environment: dict[str, str], json_: bool, kind: type[object]
) -> None:
    console = screen(terminal=terminal)
    chosen = choose_console(
        console=console, slots=2, verbose=False, json=json_, environment=environment
    )
    assert isinstance(chosen, kind)


# --- what is never done --------------------------------------------------------------------------


def test_hostile_text_comes_out_as_plain_words(story: Story) -> None:
    assert clean(HOSTILE) == "red [bold]x[/bold] nextline �"
    story.start(A).say(A, HOSTILE).say("", HOSTILE, warning=True).tell(
        ev.AttemptEnded(A, ev.Outcome.AGENT_ERROR, HOSTILE)
    )
    console = Console(
        file=io.StringIO(), width=80, force_terminal=True, color_system=None, _environ={}
    )
    lines = LineConsole(console=console, slots=2, verbose=True)
    for update in story.updates:
        lines(update)
    console.print(summary(story.view, WAYS), status_table(story.view))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text_of(console))
    assert "[bold]x[/bold]" in text_of(console)


def test_no_color_leaves_no_colour_but_glyphs_and_words(story: Story) -> None:
    story.start(A).land(A).fail(B)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"NO_COLOR": "1"})
    lines = LineConsole(console=console, slots=2)
    for update in story.updates:
        lines(update)
    console.print(summary(story.view, WAYS), status_table(story.view))
    assert not re.search(r"\x1b\[[\d;]*(?:3\d|4\d|9\d)[;m]", text_of(console))
    assert "✓ landed" in text_of(console)
    assert "✗ failed" in text_of(console)


def test_each_state_has_a_glyph_and_its_word() -> None:
    assert set(MARKS) == set(Label)
    assert all(mark.glyph and mark.word == label.value for label, mark in MARKS.items())


def test_an_encoding_without_the_glyphs_gets_others() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=80, _environ={})
    console.print(status_table(Story(parser_plan()).start(A).view))
    file.seek(0)
    assert "* running    1-1  Read the header" in file.read()


@pytest.mark.parametrize("width", [40, 80])
def test_no_screen_is_wider_than_the_terminal(story: Story, width: int) -> None:
    story.start(A).capture(A, "README.md").fail(B, "why " * 90).start(C, 2)
    staging = "/home/somebody/" + "deep/" * 30
    for what in (summary(story.view, WAYS, staging=staging), status_table(story.view)):
        console = Console(file=io.StringIO(), width=width, _environ={})
        console.print(what)
        assert all(len(line) <= width for line in text_of(console).splitlines())


# --- how it ended --------------------------------------------------------------------------------


def test_a_finished_build_is_to_be_reviewed_and_merged(story: Story) -> None:
    for one in (A, B, C):
        story.start(one).land(one)
    story.start(D).land(D, unverified="manual: look at the page")
    text = seen(summary(story.view, WAYS, staging="/repo/.worktrees/auto-build"))
    assert "✓ finished  4 of 4 chunks landed" in text
    assert "! to verify  2-1  Join them: manual: look at the page" in text
    assert "/repo/.worktrees/auto-build" in text
    assert text.index("auto-build review 001") < text.index("auto-build merge 001")


def test_a_failure_is_told_with_its_reason_its_victims_and_what_to_type(story: Story) -> None:
    story.start(A).land(A).fail(B, "first line\n\nsecond line\nthird\nfourth").start(C).land(C)
    text = seen(summary(story.view, WAYS))
    assert "not finished  2 of 4 chunks landed, 1 failed, 1 blocked" in text
    assert "agent-error: first line" in text
    assert "third" in text
    assert "fourth" not in text
    assert "! blocked    2-1  Join them: blocked by 1-2" in text
    for command in ("logs 001 1-2", "retry 001 1-2", "run 001"):
        assert f"  auto-build {command}\n" in text
    assert not re.search(r"✓ finished|all done|merge 001", text)


def test_a_build_with_an_undone_chunk_says_how_it_comes_back(story: Story) -> None:
    for one in (A, B, C, D):
        story.start(one).land(one)
    undo = ev.RevisionPassed(ev.Revision.UNDO, {D: "d" * 40}, "e", "h")
    story.tell(undo, ev.RevisionLanded())
    text = seen(summary(story.view, WAYS))
    assert "3 of 4 chunks landed, 1 undone" in text
    assert "auto-build redo --spec 001 2-1" in text
    assert "■ not finished" in text


def test_an_interrupted_build_goes_on_with_the_same_command(story: Story) -> None:
    story.start(A).tell(ev.SessionClosed(ev.Ending.INTERRUPTED))
    text = seen(summary(story.view, WAYS))
    assert "not finished  0 of 4 chunks landed, 4 to do" in text
    assert "Go on from here:\n  auto-build run 001\n" in text
    assert "retry" not in text


def test_the_status_shows_each_chunk_beneath_its_phase(story: Story) -> None:
    story.start(A).land(A).fail(B).start(C, 2)
    assert seen(status_table(story.view)).splitlines() == [
        "001-parser  Header parser",
        "Parts",
        "  ✓ landed     1-1  Read the header",
        "  ✗ failed     1-2  Parse it         agent-error: gave up",
        "  ● running    1-3  Write the codec  worker 2",
        "Whole",
        "  ! blocked    2-1  Join them        blocked by 1-2",
        "████████▒▒▒▒▒▒▒▒✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗  1 of 4 done · 1 failed · 1 blocked",
    ]


def test_what_a_dead_run_was_at_is_not_called_running(story: Story) -> None:
    story.start(A)
    assert "↷ cut off    1-1" in seen(status_table(story.view, going_on=False))
    story.tell(ev.SessionClosed(ev.Ending.INTERRUPTED))
    assert "running" not in seen(status_table(story.view))


@pytest.mark.parametrize(
    ("seconds", "measured", "guessed"),
    [
        (12.34, "12.3s", "less than 1 min"),
        (185, "3m 05s", "about 3 min"),
        (7260, "2h 01m", "about 2.0 h"),
    ],
)
def test_times_are_as_fine_as_they_are_known(seconds: float, measured: str, guessed: str) -> None:
    assert span(seconds) == measured
    assert about(seconds) == guessed


def test_wide_characters_are_cut_by_their_columns() -> None:
    assert clip("日本語", 5) == "日本…"
    assert clip("日本語", 6) == "日本語"
