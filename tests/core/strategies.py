"""Plans and runs in a few words, and random ones for Hypothesis."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Self

from hypothesis import strategies as st

from auto_build.core import events as ev
from auto_build.core.claims import Claim
from auto_build.core.commands import Effect, Gate, Land, Repair, Resume, StartAttempt, Withdraw
from auto_build.core.plan import Chunk, ChunkId, Phase, PhaseId, Plan, find_flaws
from auto_build.core.reconcile import is_admissible
from auto_build.core.revision import taken_out, under_way
from auto_build.core.scheduler import decide, lost
from auto_build.core.state import Gating, Passed, RunState
from auto_build.core.transitions import apply, start
from auto_build.core.usage import CostSource, Usage

# commit ids: which, never matters
BASE, HEAD, WORK, CANDIDATE, MARKED = "ba5e", "4ead", "3042", "ca4d", "5a4d"
# few enough to collide often, and once nothing
CLAIMED = (("a",), ("b",), ("c",), ("d", "e"), ("f/",), ("f/x",), ("*.py",), ("[ab]",), ("g",), ())
TOUCHED = ("a", "A", "b", "c", "d", "e", "f/x", "g", "x.py", "new", "~odd")
MOST_STEPS = 1_000
REQUEST = 0.07  # US dollars: the most that one model request costs


# --- plans and events in a few words -------------------------------------------------------------


def chunk(name: str, *claims: str, after: Iterable[str] = ()) -> Chunk:
    """Return a chunk that claims these paths and depends on these chunks."""
    return Chunk(
        id=ChunkId(name),
        claims=tuple(Claim.parse(text) for text in claims),
        depends_on=tuple(ChunkId(one) for one in after),
    )


def phase(
    name: str, *chunks: Chunk, after: Iterable[str] = (), parallel_safe: bool = True
) -> Phase:
    """Return a phase of these chunks that depends on these phases."""
    upstream = tuple(PhaseId(one) for one in after)
    return Phase(id=PhaseId(name), depends_on=upstream, parallel_safe=parallel_safe, chunks=chunks)


def begun(*phases: Phase, repair_rounds: int = 2) -> RunState:
    """Return a run of these phases that a coordinator has just taken up."""
    run = start(ev.RunStarted(Plan("a plan", phases), BASE))
    return apply(run, ev.SessionOpened(slots=2, repair_rounds=repair_rounds))


def captured(chunk: ChunkId, *touched: str) -> ev.WorkCaptured:
    """Return the fact that an agent's work is pinned, with the paths it wrote."""
    return ev.WorkCaptured(chunk, BASE, WORK, f"refs/pin/{chunk}", touched)


def passed(chunk: ChunkId) -> ev.CandidatePassed:
    """Return the fact that a candidate is green."""
    return ev.CandidatePassed(chunk, CANDIDATE, HEAD)


def rejected(chunk: ChunkId, says: str = "1 failed") -> ev.CandidateRejected:
    """Return the fact that a candidate is red, and what its check says."""
    return ev.CandidateRejected(chunk, CANDIDATE, HEAD, WORK, says)


def conflicted(chunk: ChunkId, *paths: str) -> ev.CandidateConflicted:
    """Return the fact that the work does not merge."""
    return ev.CandidateConflicted(chunk, HEAD, paths)


def to_resolve(chunk: ChunkId, *paths: str) -> ev.CandidateConflicted:
    """Return the same, with the half-made merge that its agent is to resolve."""
    return ev.CandidateConflicted(chunk, HEAD, paths, MARKED, "both changed it")


def landed(chunk: ChunkId) -> ev.CandidateLanded:
    """Return the fact that a candidate is in staging."""
    return ev.CandidateLanded(chunk, CANDIDATE)


def undoing(*chunks: ChunkId, checks: tuple[ev.CheckResult, ...] = ()) -> ev.RevisionPassed:
    """Return the fact that landed chunks are meant to be taken out."""
    landings = dict.fromkeys(chunks, CANDIDATE)
    return ev.RevisionPassed(ev.Revision.UNDO, landings, "undo", HEAD, checks)


def redoing(*chunks: ChunkId) -> ev.RevisionPassed:
    """Return the fact that undone chunks are meant to come back."""
    return ev.RevisionPassed(ev.Revision.REDO, dict.fromkeys(chunks, "new"), "new", "undo")


# --- runs, step by step --------------------------------------------------------------------------


def play(run: RunState, *happened: ev.Event) -> RunState:
    """Return the run after these events."""
    for event in happened:
        run = apply(run, event)
    return run


def carry_out(run: RunState, *, slots: int) -> RunState:
    """Return the run after all that can be started was."""
    return play(run, *(command.started for command in decide(run, slots=slots)))


def land_queued(run: RunState, one: ChunkId) -> RunState:
    """Bring a queued chunk into staging."""
    return play(run, ev.GateStarted(one), passed(one), ev.LandStarted(one), landed(one))


def land(run: RunState, *chunks: ChunkId) -> RunState:
    """Bring chunks at work into staging, one after the other."""
    for one in chunks:
        run = land_queued(play(run, captured(one)), one)
    return run


# --- random plans --------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Return valid plans of one to three phases, two to twelve chunks in all.

    Chunks may also depend on ones that are listed later; what makes a circle is left out.
    """
    some = st.lists(st.integers(0, 4), min_size=1, max_size=3)
    sizes = draw(some.filter(lambda each: sum(each) > 1))
    phases: list[Phase] = []
    for place, size in enumerate(sizes):
        chunks = [chunk(f"c{place}{n}", *draw(st.sampled_from(CLAIMED))) for n in range(size)]
        above = draw(_some_of([one.id for one in phases]))
        safe = draw(st.sampled_from((True, True, True, False)))
        phases.append(phase(f"p{place}", *chunks, after=above, parallel_safe=safe))
    ids = [one.id for each in phases for one in each.chunks]
    for own in ids:
        for other in draw(_some_of(ids)):
            wider = [_with_dependency(each, own, other) for each in phases]
            phases = phases if find_flaws(wider) else wider
    return Plan("a plan", tuple(phases))


def _some_of(ids: Sequence[str]) -> st.SearchStrategy[list[str]]:
    few = st.lists(st.sampled_from(ids), max_size=2, unique=True) if ids else st.just([])
    return st.one_of(st.just([]), few)


def _with_dependency(phase: Phase, own: str, other: str) -> Phase:
    chunks = (
        replace(one, depends_on=(*one.depends_on, ChunkId(other))) if one.id == own else one
        for one in phase.chunks
    )
    return replace(phase, chunks=tuple(chunks))


# --- random runs ---------------------------------------------------------------------------------


@dataclass
class Build:
    """A run as it goes on: all that happened, the state after each of it, what is under way."""

    slots: int
    history: list[ev.Event]
    states: list[RunState] = field(repr=False)  # the history says it all
    under_way: list[Effect] = field(default_factory=list)

    @classmethod
    def begin(cls, plan: Plan, opened: ev.SessionOpened) -> Self:
        """Return a run of which nothing was done yet."""
        started = ev.RunStarted(plan, BASE)
        build = cls(opened.slots, [started], [start(started)])
        build.record(opened)
        return build

    @property
    def state(self) -> RunState:
        """The present state."""
        return self.states[-1]

    def record(self, event: ev.Event) -> None:
        """Take in one event."""
        self.states.append(apply(self.state, event))
        self.history.append(event)

    def wish(self, event: ev.Event) -> None:
        """Take in what somebody asks for, where it can be granted now."""
        if is_admissible(self.state, event):
            self.record(event)

    def advance(self) -> None:
        """Start all that can be started."""
        for command in decide(self.state, slots=self.slots):
            self.record(command.started)
            if isinstance(command, Withdraw):
                self.under_way = [one for one in self.under_way if one.chunk != command.chunk]
                continue
            self.under_way.append(command)
            if isinstance(command, Gate):
                onto = command.onto or self.state.head or BASE
                name = f"{CANDIDATE}-{len(self.history)}"
                self.record(ev.CandidateBuilt(command.chunk, name, onto))

    def suspect(self, chance: Random) -> None:
        """Let a candidate at the bottom of the stack be red once."""
        for command in self.under_way:
            now = self.state.chunks[command.chunk]
            alone = isinstance(now, Gating) and now.ahead is None and not now.suspected
            if isinstance(command, Gate) and alone and chance.random() < 0.2:
                self.record(ev.CandidateSuspected(command.chunk))
                self.advance()
                return

    def steps(self) -> Iterator[tuple[RunState, ev.Event]]:
        """Yield each event after the first, with the state in which it happened."""
        return zip(self.states, self.history[1:], strict=False)


@st.composite
def builds(draw: st.DrawFn) -> Build:
    """Return runs that went on until nothing was left to do, whatever came in between.

    The plan is drawn by Hypothesis and shrinks; what happens follows from it and a number, evenly
    spread, since Hypothesis likes short histories best, in which the first agents fail.
    """
    plan = draw(plans())
    return played_out(Random(f"{draw(st.integers(0, 99))} {plan}"), plan)


def played_out(chance: Random, plan: Plan) -> Build:
    """Return a run of a plan that went on until nothing was left to do."""
    build = Build.begin(plan, _bounds(chance, chance.randint(1, 4)))
    interruptions = chance.randint(0, 6)
    for _ in range(MOST_STEPS):
        build.advance()
        build.suspect(chance)
        if interruptions and chance.random() < 0.2:
            interruptions -= 1
            _interrupt(chance, build)
        elif build.under_way:
            command = build.under_way.pop(chance.randrange(len(build.under_way)))
            for event in _outcome(chance, command, build.state):
                build.record(event)
        else:
            return build
    raise AssertionError(f"no end in {MOST_STEPS} steps")


def _interrupt(chance: Random, build: Build) -> None:
    one = chance.choice(list(build.state.chunks))
    match chance.choice(("kill", "kill", "pause", "reset", "skip", "pace", "pace")):
        case "pace":
            ahead = chance.random() < 0.8
            build.record(ev.QueuePaced(ahead, agent_s=10.0, gate_s=20.0, slots=build.slots))
        case "kill":
            for event in lost(build.state):
                build.record(event)
            build.under_way.clear()
            if chance.random() < 0.3:
                _undo(build, one)
            build.record(_bounds(chance, build.slots))
        case "pause":
            build.wish(ev.RunPaused("log in again"))
        case "reset":
            build.wish(ev.ChunkReset(one, "again"))
        case _:
            build.wish(ev.ChunkSkipped(one, "done by hand"))


def _undo(build: Build, one: ChunkId) -> None:
    """Take a chunk out of staging between two sessions, as far as that is allowed."""
    gone = taken_out(build.state, (one,))
    in_doubt = any(isinstance(now, Passed) for now in build.state.chunks.values())
    if gone and not in_doubt and not under_way(build.state, gone):
        build.record(undoing(*gone))
        build.record(ev.RevisionLanded())


def _bounds(chance: Random, slots: int) -> ev.SessionOpened:
    return ev.SessionOpened(
        slots=slots,
        repair_rounds=chance.randint(0, 2),
        retries=chance.randint(0, 2),
        max_cost=chance.choice((None, None, 1.0, 20.0)),
        chunk_cost=chance.choice((None, None, 0.5)),
        window=chance.choice((1, 2, 4)),
    )


def _outcome(chance: Random, command: Effect, state: RunState) -> Iterator[ev.Event]:
    one, all_is_well = command.chunk, chance.random() < 0.75
    match command:
        case StartAttempt() | Repair() | Resume():
            yield from _session(chance, command, state, all_is_well=all_is_well)
        case Gate():
            now = state.chunks[one]
            ids = (now.candidate, now.head) if isinstance(now, Gating) else (CANDIDATE, HEAD)
            if all_is_well:
                yield ev.CandidatePassed(one, *ids)
            elif command.ahead:
                yield ev.CandidateDoubted(one, "red: $ make")
            else:
                says = chance.choice(("x is wrong", "y is wrong", "z is wrong"))
                red = ev.CandidateRejected(one, *ids, WORK, says)
                where = chance.sample(TOUCHED, 1)
                yield chance.choice((red, conflicted(one, *where), to_resolve(one, *where)))
        case Land():
            done = ev.CandidateLanded(one, command.candidate)
            yield done if all_is_well else ev.LandingVoided(one, HEAD)


def _session(
    chance: Random, command: StartAttempt | Repair | Resume, state: RunState, *, all_is_well: bool
) -> Iterator[ev.Event]:
    """Tell what an agent does that is stopped as soon as it has spent what it may."""
    one, spent = command.chunk, 0.0
    session = f"session of attempt {command.attempt}"
    if chance.random() < 0.7:
        yield ev.ConversationBegan(one, session, BASE)
    for path in chance.sample(TOUCHED, chance.choice((0, 0, 1, 3))):
        if state.free_claim(one, path):
            yield ev.ClaimTaken(one, path)
            state = apply(state, ev.ClaimTaken(one, path))
    before = state.usage.get(one, {}).get(session, Usage()).cost_usd or 0.0
    for _ in range(chance.randint(0, 9)):
        spent += chance.uniform(0.0, REQUEST)
        used = Usage(cost_usd=before + spent, output_tokens=1, source=CostSource.AGENT)
        yield ev.UsageReported(one, session, used)
        if command.budget is not None and spent >= command.budget:
            yield _failed(one, ev.Outcome.BUDGET, "it may not spend more")
            return
    if all_is_well:
        yield captured(one, *chance.sample(TOUCHED, chance.randint(0, 3)))
    else:
        ending = chance.choice([each for each in ev.Outcome if each is not ev.Outcome.BUDGET])
        yield _failed(one, ending, chance.choice(("it says", "it shouts", "it is silent")))


def _failed(one: ChunkId, outcome: ev.Outcome, why: str) -> ev.AttemptEnded:
    return ev.AttemptEnded(one, outcome, why, base=BASE, commit=WORK, until=50.0)
