"""A project's script, played by a model: it finds out from the conversation where it stands.

Nothing is remembered between requests, so that many conversations can go through one address, and
one that is resumed goes on where it was.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from auto_build.agents import script as steps
from tests.stubs import acts
from tests.stubs.talk import Talk, Turn, append_command

_CHUNK: Final = re.compile(
    r"^# Your chunk: (\S+)|^# What has to be mended \((\S+), from", re.MULTILINE
)
_REVIEW: Final = re.compile(r"^You review a feature .*?This is round (\d+)\.", re.DOTALL)
_ANSWER_AGAIN: Final = "Your answer cannot be taken like this"
_REPAIR: Final = re.compile(r"on chunk (\S+) \(.*?\(?repair round (\d+) of", re.DOTALL)
_RESOLVE: Final = re.compile(
    r"^# A conflict to resolve\s+Your work on chunk (\S+) \(", re.MULTILINE
)
_AGAIN: Final = "# An earlier attempt"
_LOST: Final = "outcome is unknown"  # what Claude says of a tool call that was cut off


@dataclass(frozen=True, slots=True)
class Position:
    """Where a conversation stands in the script."""

    chunk: str
    attempt: int
    round: int
    step: int


def find_position(talk: Talk) -> Position | None:
    """Return where a conversation stands; None where it is about no chunk."""
    chunk, attempt, round_, begun = "", 1, 0, 0
    for place, turn in enumerate(talk.turns):
        if task := _CHUNK.search(turn.prompt):
            chunk, round_, begun = task[1] or task[2], 0, place
        if review := _REVIEW.search(turn.prompt):
            chunk, attempt, round_, begun = "review", int(review[1]), 0, place
        if _ANSWER_AGAIN in turn.prompt:
            round_, begun = round_ + 1, place
        if _AGAIN in turn.prompt:
            attempt, round_, begun = 2, 0, place
        if repair := _REPAIR.search(turn.prompt):
            chunk, round_, begun = repair[1], int(repair[2]), place
        if resolve := _RESOLVE.search(turn.prompt):
            chunk, round_, begun = resolve[1], round_ + 1, place
    if not chunk:
        return None
    return Position(chunk, attempt, round_, _steps_done(talk.turns[begun:]))


def _steps_done(turns: Sequence[Turn]) -> int:
    """Return how many answers with tool calls were carried out."""
    used = sum(turn.used_tools for turn in turns)
    lost = sum(_LOST in result.text for turn in turns for result in turn.results)
    return used - min(used, lost)


def next_act(script: steps.Script, at: Position) -> acts.Act:
    """Return what the model does next."""
    turn = script.find(at.chunk, at.attempt, at.round)
    all_acts = [act for step in (turn.steps if turn else ()) if (act := _act(step, script.pace))]
    return all_acts[at.step] if at.step < len(all_acts) else acts.Say(_last_words(turn))


def _last_words(turn: steps.Turn | None) -> str:
    last = turn.steps[-1] if turn and turn.steps else None
    return last.text if isinstance(last, steps.Say) else "It is done."


def _act(step: steps.Step, pace: float) -> acts.Act | None:
    match step:
        case steps.Write():
            return acts.WriteFile(step.path, step.text)
        case steps.Edit():
            return acts.EditFile(step.path, step.old, step.new)
        case steps.Append():
            return acts.RunCommand(append_command(step.path, step.text))
        case steps.Delete():
            return acts.RunCommand(f"rm -- '{step.path}'")
        case steps.Run():
            return acts.RunCommand(step.command)
        case steps.Sleep() if step.seconds * pace > 0:
            return acts.RunCommand("true", delay_s=step.seconds * pace)
        case steps.Answer():
            return acts.Answer(step.value)
        case steps.Commit():
            return acts.RunCommand(f"git add -A && git commit -q -m '{step.message}'")
        case _:
            return None
