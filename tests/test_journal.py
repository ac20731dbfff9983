"""The journal keeps what happened, in order, through anything; the lock lets one run in."""

import os
import sqlite3
import subprocess  # noqa: TID251 - other processes that hold, or are killed
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from auto_build import journal as journal_module
from auto_build.core import events as ev
from auto_build.core.plan import ChunkId
from auto_build.errors import EnvironmentUnfit, RunLocked
from auto_build.journal import Journal, RunLock, find_holder
from tests.programs import is_alive

A, B = ChunkId("a"), ChunkId("b")
HISTORY: tuple[ev.Event, ...] = (
    ev.SessionOpened(2, 3),
    ev.AttemptStarted(A, 1, 1),
    ev.WorkCaptured(A, "base", "work", "refs/pin", ("é.py", "b\nc.py"), 1.5),
    ev.CandidatePassed(A, "c", "h", (ev.CheckResult("true", True, 0, 0.1, "ok \x00 ✓"),)),
    ev.SessionClosed(ev.Ending.DONE),
)


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "001") as journal:
        written = [journal.append(event) for event in HISTORY]
    with Journal.open(tmp_path, "001") as journal:
        assert journal.history() == written
        assert [record.event for record in written] == list(HISTORY)
        assert journal.history(after=written[2].seq) == written[3:]


def test_each_spec_has_a_history_of_its_own(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "001") as one, Journal.open(tmp_path, "002") as two:
        one.append(ev.GateStarted(A))
        two.append(ev.GateStarted(B))
        one.append(ev.LandStarted(A))
        assert [record.event for record in two.history()] == [ev.GateStarted(B)]
        assert [record.event for record in one.history()] == [ev.GateStarted(A), ev.LandStarted(A)]
        assert one.specs() == ["002", "001"], "the latest comes last"


_WRITER = """
import os, signal, sys
from pathlib import Path
from auto_build.core.events import GateStarted
from auto_build.core.plan import ChunkId
from auto_build.journal import Journal
journal = Journal.open(Path(sys.argv[1]), "001")
for number in range(5):
    journal.append(GateStarted(ChunkId(str(number))))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_event_is_on_the_disk_before_append_returns(tmp_path: Path) -> None:
    subprocess.run((sys.executable, "-c", _WRITER, str(tmp_path)), timeout=30)

    with Journal.open(tmp_path, "001") as journal:
        assert [record.event for record in journal.history()] == [
            ev.GateStarted(ChunkId(str(number))) for number in range(5)
        ]


def test_a_reader_neither_waits_for_the_writer_nor_makes_a_journal(tmp_path: Path) -> None:
    assert Journal.find(tmp_path, "001") is None
    assert list(tmp_path.iterdir()) == []
    with Journal.open(tmp_path, "001") as writer:
        writer.append(ev.GateStarted(A))
        reader = Journal.find(tmp_path, "001")
        assert reader is not None
        with reader:
            assert len(reader.history()) == 1
            writer.append(ev.LandStarted(A))
            assert len(reader.history()) == 2
            with pytest.raises(EnvironmentUnfit, match="readonly"):
                reader.append(ev.GateStarted(A))


def test_a_journal_of_a_later_version_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path, "001").close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(EnvironmentUnfit, match="later version") as refused:
        Journal.open(tmp_path, "001")
    assert refused.value.hint == "update auto-build"


def test_an_event_of_a_later_version_is_refused_in_words(tmp_path: Path) -> None:
    Journal.open(tmp_path, "001").close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        body = '{"type": "ChunkTeleported", "chunk": "a"}'
        db.execute("INSERT INTO event (spec, at, body) VALUES ('001', 0, ?)", (body,))
    db.close()
    with (
        Journal.open(tmp_path, "001") as journal,
        pytest.raises(EnvironmentUnfit, match="ChunkTeleported"),
    ):
        journal.history()


def test_a_file_that_is_no_journal_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("this is no database, " * 100)
    with pytest.raises(EnvironmentUnfit, match="not a database") as refused:
        Journal.open(tmp_path, "001")
    assert "read from git" in refused.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(EnvironmentUnfit) as refused:
            Journal.open(tmp_path / "state", "001")
        with pytest.raises(EnvironmentUnfit):
            RunLock.acquire(tmp_path / "state", "001")
    finally:
        tmp_path.chmod(0o755)
    assert refused.value.hint


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentUnfit) as refused:
        Journal.open(tmp_path / "file" / "state", "001")
    assert refused.value.hint
    with pytest.raises(EnvironmentUnfit):
        RunLock.acquire(tmp_path / "file" / "state", "001")


def test_a_full_disk_is_told_in_words_and_what_was_written_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk))
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        event = ev.AttemptEnded(A, ev.Outcome.CRASHED, "x" * 6000)
        with Journal.open(disk, "001") as journal:
            journal.append(event)
            _fill(disk / "filler")
            with pytest.raises(EnvironmentUnfit, match="full") as refused:
                _append_until_refused(journal, event)
        assert "space" in refused.value.hint
        (disk / "filler").unlink()
        with Journal.open(disk, "001") as journal:
            assert journal.history()[0].event == event
            journal.append(event)
    finally:
        subprocess.run(("umount", str(disk)), check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def _append_until_refused(journal: Journal, event: ev.Event) -> None:
    for _ in range(1000):
        journal.append(event)


# --- the run lock ---------------------------------------------------------------------------------


def test_one_run_at_a_time_and_the_next_is_told_who_runs(tmp_path: Path) -> None:
    assert find_holder(tmp_path) is None
    with RunLock.acquire(tmp_path, "001-demo"):
        holder = find_holder(tmp_path)
        assert holder is not None
        assert (holder.pid, holder.spec) == (os.getpid(), "001-demo")
        with pytest.raises(RunLocked, match=f"process {os.getpid()} on .*, building 001-demo"):
            RunLock.acquire(tmp_path, "002")
    assert find_holder(tmp_path) is None
    RunLock.acquire(tmp_path, "002").release()


_HOLDER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from auto_build.journal import RunLock
lock = RunLock.acquire(Path(sys.argv[1]), "001")
child = subprocess.Popen(("sleep", sys.argv[2]), pass_fds=(lock.lease,))
print(child.pid, flush=True)
time.sleep(60)
"""


def _killed_run(folder: Path, child_lives_s: float) -> psutil.Process:
    """Leave what a killed run leaves: a free lock, and a child that lives on for a while."""
    run = subprocess.Popen(
        (sys.executable, "-c", _HOLDER, str(folder), str(child_lives_s)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    child = psutil.Process(int(run.stdout.readline()))
    run.kill()
    run.wait()
    run.stdout.close()
    return child


def test_the_next_run_waits_until_what_a_killed_one_started_is_gone(tmp_path: Path) -> None:
    child = _killed_run(tmp_path, 1.2)
    assert find_holder(tmp_path) is None
    assert is_alive(child)

    with RunLock.acquire(tmp_path, "001"):
        assert not is_alive(child)


def test_the_clock_tells_seconds_since_the_epoch() -> None:
    assert 1_700_000_000 < journal_module.now() < 5_000_000_000
