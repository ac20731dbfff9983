r"""What a script holds that the scripted agent plays. Read here, once, and bound by its schema.

A script is TOML or JSON. Each turn names its chunk, and the attempt and round it is for; 0 or
nothing stands for any:

    [[turn]]
    chunk = "1-1"
    attempt = 1        # default: any
    round = 0          # 0 is the first prompt, 1 the first repair
    steps = [
      { do = "say", text = "reading the spec" },
      { do = "sleep", seconds = 0.5 },
      { do = "write", path = "src/a.py", text = "x = 1\n" },
      { do = "append", path = "src/a.py", text = "y = 2\n" },
      { do = "edit", path = "src/a.py", old = "x = 1", new = "x = 3" },
      { do = "delete", path = "old.py" },
      { do = "run", command = "python3 -m compileall src" },
      { do = "commit", message = "half of it" },
      { do = "spawn", command = "sleep 600" },
      { do = "hang" },
      { do = "fail", text = "I give up" },
      { do = "raise", text = "a bug in the agent" },
    ]

Paths are relative to the worktree; an absolute path is taken as it is, as a careless agent would.
A chunk without a turn changes nothing. Commands run in one guarded shell each; `spawn` leaves its
program running until the prompt ends.

What an agent's program says besides is played by these. The first four end the turn:

    { do = "answer", value = { any = "JSON" } }         # done, with a structured answer
    { do = "ask", text = "which of the two?" }          # it needs a person
    { do = "limit", reset_in_s = 30 }                   # a usage limit; without it: not known when
    { do = "stop", stop = "overloaded", text = "busy" } # auth, refused, max-turns, budget, ...
    { do = "spend", input_tokens = 900, output_tokens = 80, cost_usd = 0.02 }
    { do = "hear", path = "heard.txt" }                 # wait to be told something, note it there

`spend` adds to what the conversation has used up, earlier processes of it included. With
`remembers = true` at the top of the script, conversations can go on later: such a conversation is
named after its seat and round, so that the same run gives the same names. A turn that says
`resumed = true` is for prompts that go on with an earlier conversation, one that says `false` for
those that begin one. The planner plays the chunk "plan", `spec new` the chunk "spec".
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auto_build.agents.base import Stop
from auto_build.errors import UsageProblem


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Say(_Step):
    """Say something."""

    do: Literal["say"]
    text: str


class Sleep(_Step):
    """Work for a while, in seconds."""

    do: Literal["sleep"]
    seconds: float = Field(ge=0)


class Write(_Step):
    """Write a whole file."""

    do: Literal["write"]
    path: str
    text: str


class Append(_Step):
    """Add to the end of a file."""

    do: Literal["append"]
    path: str
    text: str


class Edit(_Step):
    """Replace a text that must be there."""

    do: Literal["edit"]
    path: str
    old: str
    new: str


class Delete(_Step):
    """Delete a file."""

    do: Literal["delete"]
    path: str


class Run(_Step):
    """Run a shell command line; its failure is said and gone over."""

    do: Literal["run"]
    command: str


class Commit(_Step):
    """Commit everything, as an agent that commits by itself."""

    do: Literal["commit"]
    message: str


class Spawn(_Step):
    """Start a program in the background and leave it running."""

    do: Literal["spawn"]
    command: str


class Hang(_Step):
    """Never come back."""

    do: Literal["hang"]


class Fail(_Step):
    """End with an error."""

    do: Literal["fail"]
    text: str = "the script says so"


class Raise(_Step):
    """Crash."""

    do: Literal["raise"]
    text: str = "the script says so"


class Answer(_Step):
    """Be done, with a structured answer."""

    do: Literal["answer"]
    value: Any


class Ask(_Step):
    """End with a question to a person."""

    do: Literal["ask"]
    text: str


class Limit(_Step):
    """Run into a usage limit that ends in so many seconds, where that is known."""

    do: Literal["limit"]
    reset_in_s: float | None = None
    text: str = "the usage limit is reached"


class End(_Step):
    """End for any reason that an agent can have."""

    do: Literal["stop"]
    stop: Stop
    text: str = "the script says so"


class Spend(_Step):
    """Use something up; `cost_usd` left out is a cost that the agent does not tell."""

    do: Literal["spend"]
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cost_usd: float | None = Field(default=None, ge=0)


class Hear(_Step):
    """Wait to be told something, and add it to a file."""

    do: Literal["hear"]
    path: str


Doable = Say | Sleep | Write | Append | Edit | Delete | Run | Commit | Spawn | Hang | Raise | Hear
Ending = Fail | Answer | Ask | Limit | End
Step = Annotated[Doable | Ending | Spend, Field(discriminator="do")]


class Turn(_Step):
    """What the agent does at one prompt."""

    chunk: str
    attempt: int = Field(default=0, ge=0)
    round: int = Field(default=0, ge=0)
    resumed: bool | None = None
    steps: tuple[Step, ...]


class Script(_Step):
    """All turns; `pace` multiplies every sleep; `remembers` lets conversations go on later."""

    turn: tuple[Turn, ...] = ()
    pace: float = Field(default=1.0, ge=0)
    remembers: bool = False

    def find(self, chunk: str, attempt: int, round_: int, *, resumed: bool = False) -> Turn | None:
        """Return the turn for a prompt: one for just this attempt before one for any."""
        fitting = [
            turn
            for turn in self.turn
            if turn.chunk == chunk
            and turn.round == round_
            and turn.attempt in {0, attempt}
            and turn.resumed in {None, resumed}
        ]
        return max(fitting, key=lambda turn: (turn.attempt, turn.resumed is not None), default=None)


def load_script(path: Path) -> Script:
    """Read a script.

    Raises:
        UsageProblem: it is missing, no TOML or JSON, or no script; every wrong place at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return Script.model_validate(raw)
    except FileNotFoundError as error:
        raise UsageProblem(
            f"the scripted agent has no script at {path}",
            hint="write one, or choose another agent with --agent",
        ) from error
    except ValidationError as error:
        places = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        raise UsageProblem(f"{path} is no script:\n  " + "\n  ".join(places)) from error
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{path} cannot be read as a script: {error}") from error
