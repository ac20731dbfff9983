"""Programs under guard: bounded, and nothing of them is left behind, whatever they try."""

import asyncio
import os
import signal
import subprocess  # noqa: TID251 - a coordinator of its own, to be killed
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auto_build.process import LINE_LIMIT, LOG_LIMIT, CommandFailed, Exit, Processes
from tests.programs import alive_in, wait_until_gone

PYTHON = sys.executable


async def guarded(
    folder: Path,
    command: str,
    *,
    limit_s: float = 30.0,
    grace_s: float = 5.0,
    tail_limit: int = 1000,
    stdin: str = "",
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Exit:
    return await Processes().run_guarded(
        ("sh", "-c", command),
        cwd=folder,
        env=dict(os.environ),
        limit_s=limit_s,
        grace_s=grace_s,
        tail_limit=tail_limit,
        stdin=stdin,
        log=log,
        on_line=on_line,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 128 + signal.SIGKILL),
        ("kill -TERM $$", 128 + signal.SIGTERM),
        ("kill -SEGV $$", 128 + signal.SIGSEGV),
    ],
)
async def test_the_exit_code_is_the_programs(tmp_path: Path, command: str, code: int) -> None:
    assert (await guarded(tmp_path, command)).code == code


async def test_a_program_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    done = await Processes().run_guarded(
        ("no-such-program",), cwd=tmp_path, env=dict(os.environ), limit_s=5, tail_limit=100
    )
    assert done.code == 127
    assert "no-such-program: No such file" in done.tail


async def test_a_folder_that_is_gone_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="nothing can be started in"):
        await guarded(tmp_path / "gone", "true")


LEAVING = {
    "a child": "sleep 300 &",
    "a grandchild": "(sh -c 'sleep 300; :' &) ",
    "a child in a session of its own": "setsid sleep 300 &",
    "a daemon, forked twice": "(setsid sh -c '(sleep 300; :) & sleep 300' <&- >&- 2>&- &)",
    "a child that ignores being asked": "sh -c 'trap \"\" TERM HUP INT; sleep 300; sleep 300' &",
    "a child that holds the output open": "sh -c 'sleep 300' & echo begun",
}


@pytest.mark.parametrize("command", LEAVING.values(), ids=LEAVING)
async def test_nothing_outlives_the_program(tmp_path: Path, command: str) -> None:
    done = await guarded(tmp_path, f"{command}\nexit 3")

    assert done.code == 3
    assert done.seconds < 20
    assert alive_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", LEAVING.values(), ids=LEAVING)
async def test_nothing_outlives_the_time_limit(tmp_path: Path, command: str) -> None:
    done = await guarded(tmp_path, f"{command}\nsleep 300", limit_s=0.4, grace_s=0.2)

    assert done.code is None
    assert done.seconds < 10
    assert alive_in(tmp_path) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.06, 0.2])
async def test_whoever_is_cancelled_takes_the_program_along_at_once(
    tmp_path: Path, delay_s: float
) -> None:
    clock = asyncio.get_running_loop().time
    task = asyncio.create_task(guarded(tmp_path, "sleep 300 & sleep 300", grace_s=5.0))
    await asyncio.sleep(delay_s)  # whatever it has come to by then
    begun = clock()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert alive_in(tmp_path) == []
    assert clock() - begun < 4.0, "it was waited for until it had to be killed"


async def test_a_program_may_tidy_up_when_it_is_asked_to_end(tmp_path: Path) -> None:
    ready = asyncio.Event()
    # in a loop: a signal that comes just before the shell waits is only seen when that ends
    command = "trap 'echo tidied > done.txt; exit' TERM; echo ready; while :; do sleep 0.1; done"
    task = asyncio.create_task(guarded(tmp_path, command, on_line=lambda _: ready.set()))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (tmp_path / "done.txt").read_text() == "tidied\n"


async def test_output_is_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    command = f"yes {'x' * 99} | head -c {LOG_LIMIT + 5_000_000}; echo; echo the end"
    done = await guarded(tmp_path, command, log=log, tail_limit=500)

    assert done.tail.endswith("the end\n")
    assert len(done.tail) <= 500
    assert done.cut
    assert log.stat().st_size == LOG_LIMIT


async def test_both_streams_are_read_and_come_in_order(tmp_path: Path) -> None:
    done = await guarded(tmp_path, "echo one; echo two >&2; echo three")
    assert done.tail == "one\ntwo\nthree\n"
    assert not done.cut


async def test_garbage_in_the_output_is_shown_as_such(tmp_path: Path) -> None:
    lines: list[str] = []
    done = await guarded(tmp_path, r"printf '\377\376 caf\303\251\r\nlast'", on_line=lines.append)
    assert done.tail == "\ufffd\ufffd café\r\nlast"
    assert lines == ["\ufffd\ufffd café", "last"]


async def test_a_long_line_arrives_whole_and_one_without_end_is_cut(tmp_path: Path) -> None:
    lines: list[str] = []
    whole, endless = LINE_LIMIT - 1, LINE_LIMIT + 100_000
    command = "; ".join(
        f"head -c {size} /dev/zero | tr '\\0' {letter}; echo; echo next"
        for size, letter in ((whole, "a"), (endless, "b"))
    )
    await guarded(tmp_path, command, on_line=lines.append)

    assert [(line[:4], len(line)) for line in lines] == [
        ("aaaa", whole),
        ("next", 4),
        ("bbbb", LINE_LIMIT),
        ("next", 4),
    ]


async def test_input_of_any_size_arrives_and_need_not_be_read(tmp_path: Path) -> None:
    text = "é" * 300_000
    await guarded(tmp_path, "cat > got.txt", stdin=text)
    assert (tmp_path / "got.txt").read_text(encoding="utf-8") == text
    assert (await guarded(tmp_path, "exit 4", stdin=text)).code == 4


async def test_a_program_that_stops_listening_to_its_output_is_not_waited_for(
    tmp_path: Path,
) -> None:
    done = await guarded(tmp_path, "exec >&- 2>&-; sleep 0.2; exit 5")
    assert done.code == 5


_COORDINATOR = """
import asyncio, os, sys
from pathlib import Path
from auto_build.process import Processes
asyncio.run(Processes().run_guarded(
    ("sh", "-c", sys.argv[2]), cwd=Path(sys.argv[1]), env=dict(os.environ),
    limit_s=60, tail_limit=100, grace_s=0.3))
"""


def test_when_the_coordinator_is_killed_the_whole_tree_goes_along(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    stubborn = "sh -c 'trap \"\" TERM; sleep 300; sleep 300' & (setsid sleep 300 &)"
    coordinator = subprocess.Popen(
        (PYTHON, "-c", _COORDINATOR, str(folder), f"{stubborn}; mkfifo f; read x < f"),
    )
    fifo = folder / "f"
    while not fifo.exists():
        assert coordinator.poll() is None
        time.sleep(0.02)
    started = alive_in(folder)
    assert len(started) >= 3

    coordinator.kill()
    coordinator.wait()

    wait_until_gone(started)
    assert alive_in(folder) == []


# --- short, trusted programs ---------------------------------------------------------------------


async def test_a_short_program_is_run_to_its_end_and_heard_whole(tmp_path: Path) -> None:
    done = await Processes().run(
        "sh",
        "-c",
        "cat; echo err >&2; exit 3",
        cwd=tmp_path,
        env=dict(os.environ),
        ok=(3,),
        stdin="ïn",
    )
    assert (done.code, done.stdout, done.stderr) == (3, "ïn", "err\n")


async def test_an_exit_code_that_is_not_expected_is_an_error_with_its_words(
    tmp_path: Path,
) -> None:
    with pytest.raises(CommandFailed, match=r"failed \(3\): because"):
        await Processes().run(
            "sh", "-c", "echo because >&2; exit 3", cwd=tmp_path, env=dict(os.environ)
        )


async def test_a_short_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="took longer than 0 s"):
        await Processes().run("sleep", "300", cwd=tmp_path, env=dict(os.environ), limit_s=0.2)
    assert alive_in(tmp_path) == []


async def test_a_short_program_that_is_missing_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no-such-program cannot be started"):
        await Processes().run("no-such-program", cwd=tmp_path, env=dict(os.environ))
