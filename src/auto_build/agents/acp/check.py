"""Can an agent that speaks the Agent Client Protocol work here? Looked at before a run.

It is started once and asked for a conversation in which nothing is said: that costs nothing, and
the agent itself knows best whether it is logged in and which models it has.
"""

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from auto_build import settings
from auto_build.agents.acp.profiles import Profile, did_you_mean
from auto_build.agents.acp.reading import Choice, Offer, find_choice
from auto_build.agents.base import Ended, Probe, Problem, Stop
from auto_build.process import CommandFailed, Processes

_LOOK_S: Final = 60.0
_NODE_S: Final = 15.0
_VERSION: Final = re.compile(r"v?(\d+)\.")


@dataclass(frozen=True, slots=True)
class Look:
    """What an agent offered when it was started; `ended` where it did not come to that."""

    offer: Offer
    ended: Ended | None = None


async def find_problems(
    name: str,
    chosen: settings.AcpAgent,
    profile: Profile,
    probe: Probe,
    processes: Processes,
    look: Callable[[Probe], Awaitable[Look]],
) -> list[Problem]:
    """Return what keeps the agent `name` from working; `look` starts it once."""
    table = f"[agents.{name}] in auto-build.toml"
    program = profile.command(chosen.argv, "")[0]
    if not shutil.which(program, path={**probe.env, **chosen.env}.get("PATH")):
        install = f"install it: {profile.install}; or name it" if profile.install else "name it"
        return [
            Problem(
                f"agent {name!r}: the program {program!r} is not in PATH",
                f"{install} with its path as argv under {table}",
            )
        ]
    if profile.node and not chosen.argv:
        old = await _find_old_node(name, profile, probe, processes)
        if old is not None:
            return [old]
    seen = await _look_in_time(look, probe)
    if seen.ended is not None:
        return [_not_ready(name, seen.ended, profile, table)]
    return [
        *_find_no_mode(name, chosen.mode or profile.mode, seen.offer, table),
        *_find_no_models(name, chosen, profile, probe.models, seen.offer),
    ]


async def _find_old_node(
    name: str, profile: Profile, probe: Probe, processes: Processes
) -> Problem | None:
    """Return whether Node.js is missing, or too old for the agent."""
    hint = f"install Node.js {profile.node} or newer"
    try:
        done = await processes.run(
            "node", "--version", cwd=probe.folder, env=probe.env, limit_s=_NODE_S
        )
    except CommandFailed as failed:
        return Problem(f"agent {name!r} needs Node.js, which does not start: {failed}", hint)
    found = _VERSION.match(done.stdout.strip())
    if found is None or int(found[1]) >= profile.node:
        return None
    return Problem(
        f"agent {name!r} needs Node.js {profile.node}, and here is {done.stdout.strip()}", hint
    )


async def _look_in_time(look: Callable[[Probe], Awaitable[Look]], probe: Probe) -> Look:
    try:
        async with asyncio.timeout(_LOOK_S):
            return await look(probe)
    except TimeoutError:
        words = f"it did not get ready within {_LOOK_S:.0f} s"
        return Look(Offer(), Ended(stop=Stop.ERROR, detail=words))


def _not_ready(name: str, ended: Ended, profile: Profile, table: str) -> Problem:
    if ended.stop is Stop.AUTH:
        return Problem(f"agent {name!r} is not logged in: {ended.detail}", profile.login)
    return Problem(
        f"agent {name!r} does not get ready to work: {ended.detail}",
        f"start it by hand to see why, or change argv and env under {table}",
    )


def _find_no_mode(name: str, mode: str, offer: Offer, table: str) -> list[Problem]:
    if not mode or find_choice(mode, offer.modes):
        return []
    return [
        Problem(
            f"agent {name!r} has no mode {mode!r}",
            f"{_meant(mode, offer.modes)}Change mode under {table}",
        )
    ]


def _find_no_models(
    name: str,
    chosen: settings.AcpAgent,
    profile: Profile,
    models: Iterable[str],
    offer: Offer,
) -> list[Problem]:
    is_free = profile.chooses_model(chosen.argv) and not (profile.lists_models and offer.models)
    return [
        Problem(
            f"agent {name!r} has no model {model!r}",
            f"{_meant(model, offer.models)}Name one as model under [run] in auto-build.toml, or"
            " leave it out",
        )
        for model in models
        if not is_free and not find_choice(model, offer.models)
    ]


def _meant(word: str, choices: Iterable[Choice]) -> str:
    """Return what may have been meant, or else what there is."""
    known = tuple(dict.fromkeys(one.value for one in choices))
    return did_you_mean(word, known) or (f"It has {', '.join(known[:12])}. " if known else "")
