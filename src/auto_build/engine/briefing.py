"""What an agent is told, put together from the state of the run.

Every brief has two forms: the whole task, for an agent that knows nothing of it, and what follows,
for one whose conversation goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auto_build.core import commands as cmd
from auto_build.core.outcomes import Setback
from auto_build.core.plan import Chunk, ChunkId
from auto_build.core.state import Rejected, Running, RunState, SetAside
from auto_build.git.landing import pin_of
from auto_build.prompts import Prompts
from auto_build.workspace import FIX_REQUEST


@dataclass(frozen=True, slots=True)
class Brief:
    """What to say to an agent: `whole` to one that begins, `further` to one that goes on."""

    whole: str
    further: str

    def for_agent(self, *, resumed: bool) -> str:
        """Return what to say."""
        return self.further if resumed else self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """Writes the briefs of one build.

    `instructions` is what the repository itself says to agents; `checks` are the project's own.
    """

    prompts: Prompts
    spec: str
    spec_text: Callable[[], str]
    instructions: str
    checks: tuple[str, ...]

    def attempt(self, command: cmd.StartAttempt, state: RunState) -> Brief:
        """Brief an agent that is given a chunk."""
        before = self._before(command, state)
        whole = self._task(command.chunk, state, before)
        return Brief(whole, before or whole)

    def repair(
        self, command: cmd.Repair, state: RunState, sides: Sequence[tuple[ChunkId, str]] = ()
    ) -> Brief:
        """Brief an agent whose work is red or in conflict.

        `sides` are the patches of the chunks that do not go together, its own first.
        """
        now = state.chunks[command.chunk]
        rejected = now.rejected if isinstance(now, Running) else None
        if rejected and rejected.conflict:
            return self._resolve(command.chunk, state, rejected, sides)
        feedback = command.feedback
        if sides:
            together = self.prompts.together(self._told(sides, state))
            feedback = f"{feedback}\n\n{together}"
        return self._repair(command.chunk, state, feedback, command.round)

    def resume(
        self, command: cmd.Resume, state: RunState, sides: Sequence[tuple[ChunkId, str]] = ()
    ) -> Brief:
        """Brief an agent that was parked."""
        now = state.chunks[command.chunk]
        running = now if isinstance(now, Running) else None
        why = _in_words(running.attempt.setbacks if running else ())

        def told(human: str) -> str:
            return self.prompts.resume(self._chunk(command.chunk, state), why=why, human=human)

        human = state.notes_for(command.chunk)
        if running and isinstance(running.rejected, Rejected):
            rejected = running.rejected
            if rejected.conflict:
                begun = self._resolve(command.chunk, state, rejected, sides)
            else:
                begun = self._repair(command.chunk, state, rejected.feedback, command.round)
            return Brief(begun.whole, told(human))
        return Brief(self._task(command.chunk, state, told("")), told(human))

    def _resolve(
        self,
        chunk: ChunkId,
        state: RunState,
        rejected: Rejected,
        sides: Sequence[tuple[ChunkId, str]],
    ) -> Brief:
        def told(human: str) -> str:
            return self.prompts.resolve(
                self._chunk(chunk, state),
                paths=rejected.conflict,
                said=rejected.feedback,
                sides=self._told(sides, state),
                human=human,
            )

        return Brief(self._task(chunk, state, told("")), told(state.notes_for(chunk)))

    def _told(
        self, sides: Sequence[tuple[ChunkId, str]], state: RunState
    ) -> list[tuple[Chunk, str]]:
        return [(self._chunk(chunk, state), patch) for chunk, patch in sides]

    def _repair(self, chunk: ChunkId, state: RunState, feedback: str, round_: int) -> Brief:
        now = state.chunks[chunk]
        rounds = state.rounds_of(now.attempt) if isinstance(now, Running) else state.repair_rounds

        def told(human: str) -> str:
            return self.prompts.repair(
                self._chunk(chunk, state),
                feedback=feedback,
                round_=round_,
                rounds=rounds,
                human=human,
            )

        whole = self._task(chunk, state, told(""))  # the task says itself what people said
        return Brief(whole, told(state.notes_for(chunk)))

    def _task(self, chunk: ChunkId, state: RunState, before: str) -> str:
        return self.prompts.implement(
            self._chunk(chunk, state),
            spec=self.spec,
            spec_text=self.spec_text(),
            held=[(other, state.held(other)) for other in state.live if other != chunk],
            checks=self.checks,
            before=before,
            human=state.notes_for(chunk),
            instructions=self.instructions,
            request=FIX_REQUEST if state.plan.phase_of[chunk].round else "",
        )

    def _chunk(self, chunk: ChunkId, state: RunState) -> Chunk:
        return state.plan.chunks[chunk]

    def _before(self, command: cmd.StartAttempt, state: RunState) -> str:
        """Return what the agent should know of the attempt before."""
        now = state.chunks[command.chunk]
        if not isinstance(now, Running):
            return ""
        if isinstance(now.aside, SetAside):
            pin = pin_of(self.spec, command.chunk, now.aside.attempts)
            return self.prompts.conflict_note(now.aside.paths, pin)
        if now.attempt.setbacks:
            last = now.attempt.setbacks[-1]
            return self.prompts.again_note(last.outcome.value, last.reason, last.pin)
        return ""


def _in_words(setbacks: Sequence[Setback]) -> str:
    return f"{setbacks[-1].outcome.value}: {setbacks[-1].reason}" if setbacks else "it was stopped"
