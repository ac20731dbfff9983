"""Secrets are found in what a work brings; what was there before is not, and none is told."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import pytest

from auto_build.doctor import Health, judge_scanner
from auto_build.errors import EnvironmentUnfit
from auto_build.gate.secrets import (
    Hit,
    Mode,
    Sample,
    Scanner,
    Secret,
    find_program,
    find_scanner,
    read_report,
)
from auto_build.process import Processes
from tests.gate.secret_words import assigned, made_up

RECORDED = (Path(__file__).parent / "recorded" / "kingfisher-2.14.0.json").read_text()
FILES = (Sample("src/a.py", b"x"), Sample("b.env", b"y"), Sample("empty", b""))


def program() -> str:
    """Return where kingfisher is; a test that needs it is skipped where it is not installed."""
    if found := find_program():
        return found
    pytest.skip("kingfisher is not installed: pip install 'auto-build[secrets]'")


def stand_in(folder: Path, script: str) -> str:
    """Return a program in the place of kingfisher."""
    path = folder / "kingfisher"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def scan(samples: Sequence[Sample], at: str, limit_s: float = 60.0) -> tuple[Hit, ...]:
    return asyncio.run(Scanner(Processes(), at, limit_s).scan(samples))


# --- what it prints ------------------------------------------------------------------------------


def test_a_recorded_report_is_read() -> None:
    first, second = read_report(RECORDED, FILES)
    assert (first.sample, first.secret) == (0, Secret("src/a.py", 3, "github-pat"))
    assert (second.sample, second.secret) == (1, Secret("b.env", 1, "aws-access-token"))
    assert first.digest != second.digest


@pytest.mark.parametrize(
    "text", ["", "nothing", "{}", RECORDED[:-40], RECORDED.replace('"line"', '"lines"')]
)
def test_what_is_no_report_is_no_answer(text: str) -> None:
    with pytest.raises(EnvironmentUnfit, match="faults"):
        read_report(text, FILES)


@pytest.mark.parametrize("key", ["scan_partial", "scan_failed"])
def test_a_scan_that_broke_off_is_no_answer(key: str) -> None:
    report = json.loads(RECORDED)
    report["audit"]["summary"][key] = 1
    with pytest.raises(EnvironmentUnfit, match="it looked at 2 of 2 files"):
        read_report(json.dumps(report), FILES)


def test_a_report_of_too_few_files_is_no_answer() -> None:
    with pytest.raises(EnvironmentUnfit, match="it looked at 2 of 3 files"):
        read_report(RECORDED, (*FILES, Sample("c", b"z")))


@pytest.mark.parametrize("path", ["elsewhere", "files/x/a.py", "files/7/a.py"])
def test_a_report_of_other_files_is_no_answer(path: str) -> None:
    report = json.loads(RECORDED)
    report["findings"][0]["finding"]["path"] = path
    with pytest.raises(EnvironmentUnfit, match="not asked for"):
        read_report(json.dumps(report), FILES)


# --- how it ends ---------------------------------------------------------------------------------


def test_a_scanner_that_crashes_stops_the_run_and_says_what_it_said(tmp_path: Path) -> None:
    broken = stand_in(tmp_path, f"echo {made_up()}; echo 'no rules' >&2; exit 3")
    with pytest.raises(EnvironmentUnfit, match="no rules") as caught:
        scan(FILES, broken)
    assert made_up() not in str(caught.value)
    assert 'secrets = "off"' in caught.value.hint


def test_a_scanner_that_prints_nonsense_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit) as caught:
        scan(FILES, stand_in(tmp_path, f"echo {made_up()}"))
    assert made_up() not in str(caught.value)


def test_a_scanner_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match="took longer than"):
        scan(FILES, stand_in(tmp_path, "exec sleep 60"), limit_s=0.2)


def test_a_scanner_that_is_not_there_is_told_only_where_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    python = str(tmp_path / "venv" / "python")
    assert find_scanner("auto", Processes(), python=python) is None
    with pytest.raises(EnvironmentUnfit, match="is not installed") as caught:
        find_scanner("require", Processes(), python=python)
    assert "auto-build[secrets]" in caught.value.hint

    in_path = stand_in(tmp_path, "exit 0")
    assert find_program(python) == in_path
    (tmp_path / "venv").mkdir()
    assert find_program(python) == in_path
    assert stand_in(tmp_path / "venv", "exit 0") == find_program(python)
    assert find_scanner("off", Processes(), python=python) is None


@pytest.mark.parametrize(
    ("mode", "program", "healths"),
    [
        ("auto", "", [Health.NOTE]),
        ("require", "", [Health.BAD]),
        ("off", "", []),
        ("auto", "/bin/kingfisher", [Health.GOOD]),
        ("off", "/bin/kingfisher", []),
    ],
)
def test_doctor_says_whether_anybody_looks(mode: Mode, program: str, healths: list[Health]) -> None:
    found = judge_scanner(mode, program)
    assert [one.health for one in found] == healths
    assert all("auto-build[secrets]" in one.hint for one in found if not program)


# --- the real one --------------------------------------------------------------------------------


def test_secrets_are_found_wherever_they_are() -> None:
    secret = assigned().encode()
    samples = (
        Sample("src/ä b.py", b"\n" + secret),
        Sample(".env", secret),
        Sample(".gitignore", secret + b"*\n"),
        Sample("x" * 300 + ".py", secret),
        Sample("../out.py", secret),
        Sample("b.py", secret.rstrip() + b"  # kingfisher:ignore\n"),
        Sample("data.bin", b"\0\1\2" + secret),
        Sample("clean.py", b"print('hello')\n"),
        Sample("empty", b""),
        Sample("other.py", assigned(1).encode()),
    )

    hits = scan(samples, program())

    assert [hit.sample for hit in sorted(hits, key=lambda hit: hit.sample)] == [*range(7), 9]
    assert {hit.secret.line for hit in hits if hit.sample == 0} == {2}
    assert len({hit.digest for hit in hits if hit.sample < 7}) == 1
    assert len({hit.digest for hit in hits}) == 2
    assert not any(made_up() in str(part) for hit in hits for part in astuple(hit))


def test_nothing_to_look_at_starts_nothing(tmp_path: Path) -> None:
    assert scan((), str(tmp_path / "nowhere")) == ()
