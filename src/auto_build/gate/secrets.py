"""Looks for secrets in files, with the program `kingfisher`, which never asks the network here.

Invariant: a secret leaves the program only as a salted hash, so that none can reach a message, a
log or the journal. A scan that did not look at everything is no answer, and is never taken for one.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ValidationError

from auto_build.errors import EnvironmentUnfit
from auto_build.process import CommandFailed, Processes
from auto_build.settings import FILE

PROGRAM: Final = "kingfisher"
EXTRA: Final = "auto-build[secrets]"
MISSING: Final = "kingfisher is not installed: works are not looked through for secrets"
GET_IT: Final = (
    f"pip install '{EXTRA}'; secrets = \"off\" under [containment] in {FILE} does without"
)
LIMIT_S: Final = 300.0  # the first scan on a machine compiles the rules, which takes up to a minute
_FOUND: Final = 200  # its exit code where it found something
_ARGUMENTS: Final = (
    *("scan", "--quiet", "--no-update-check", "--no-validate", "--format", "json"),
    *("--redact", "--no-dedup", "--no-ignore", "--max-file-size", "0"),
)
_KEPT: Final = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "KF_RULE_CACHE_DIR")
_LONG: Final = 200  # bytes of a path; a longer one is looked through under another name
_SAID: Final = 500  # characters of what it printed that are told
_SWITCH: Final = f'try it by hand; secrets = "off" under [containment] in {FILE} does without'

Mode = Literal["auto", "require", "off"]


@dataclass(frozen=True, slots=True)
class Secret:
    """Where something was found that looks like a secret, and the rule that it fits."""

    path: str
    line: int
    rule: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A file to be looked through; `known` says that it was there before."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Hit:
    """A secret in the sample with a number; equal ones of one scan have the same `digest`."""

    sample: int
    secret: Secret
    digest: str


class _Rule(BaseModel):
    id: str
    name: str = ""


class _Finding(BaseModel):
    snippet: str
    path: str
    line: int


class _Pair(BaseModel):
    rule: _Rule
    finding: _Finding


class _Scans(BaseModel):
    scan_partial: int
    scan_failed: int


class _Audit(BaseModel):
    summary: _Scans


class _Seen(BaseModel):
    blobs_scanned: int


class _Metadata(BaseModel):
    summary: _Seen


class _Report(BaseModel):
    findings: tuple[_Pair, ...]
    audit: _Audit
    metadata: _Metadata


def find_program(python: str = sys.executable) -> str:
    """Return where the program is: beside the running Python, or in PATH; empty where nowhere."""
    beside = Path(python).with_name(PROGRAM)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(PROGRAM) or ""


def is_missed(mode: Mode, program: str) -> bool:
    """Say whether people should know that nobody looks for secrets."""
    return mode != "off" and not program


def find_scanner(
    mode: Mode, processes: Processes, *, python: str = sys.executable
) -> "Scanner | None":
    """Return what looks for secrets; None where nothing is to, or nothing can.

    Raises:
        EnvironmentUnfit: it is required and not there.
    """
    program = "" if mode == "off" else find_program(python)
    if mode == "require" and not program:
        raise EnvironmentUnfit(MISSING, hint=GET_IT)
    return Scanner(processes, program) if program else None


@dataclass(frozen=True, slots=True)
class Scanner:
    """Looks files through; one scan may take `limit_s` seconds."""

    processes: Processes
    program: str
    limit_s: float = LIMIT_S

    async def scan(self, samples: Sequence[Sample]) -> tuple[Hit, ...]:
        """Return the secrets in some files; the caller bounds how much that is.

        Raises:
            EnvironmentUnfit: the program did not say what is in all of them.
        """
        if not any(sample.content for sample in samples):
            return ()
        with tempfile.TemporaryDirectory(prefix="auto-build-scan-") as folder:
            await asyncio.to_thread(_write, Path(folder), samples)
            try:
                done = await self.processes.run(
                    *(self.program, *_ARGUMENTS, "files"),
                    cwd=Path(folder),
                    env={name: os.environ[name] for name in _KEPT if name in os.environ},
                    ok=(0, _FOUND),
                    limit_s=self.limit_s,
                    called=PROGRAM,
                )
            except CommandFailed as error:
                said = str(error)[:_SAID]
                raise EnvironmentUnfit(
                    f"secrets cannot be looked for: {said}", hint=_SWITCH
                ) from error
        return read_report(done.stdout, samples)


def read_report(text: str, samples: Sequence[Sample]) -> tuple[Hit, ...]:
    """Read what the program printed about some files.

    Raises:
        EnvironmentUnfit: it is no report, or one of another or of only some of the files.
    """
    try:
        report = _Report.model_validate_json(text)
    except ValidationError as error:
        raise _no_answer(f"its report has {error.error_count()} faults") from error
    wanted = sum(bool(sample.content) for sample in samples)
    scans = report.audit.summary
    if scans.scan_partial or scans.scan_failed or report.metadata.summary.blobs_scanned < wanted:
        raise _no_answer(f"it looked at {report.metadata.summary.blobs_scanned} of {wanted} files")
    return tuple(_hit(pair, samples) for pair in report.findings)


def _no_answer(why: str) -> EnvironmentUnfit:
    return EnvironmentUnfit(f"secrets cannot be looked for: {PROGRAM}: {why}", hint=_SWITCH)


def _hit(pair: _Pair, samples: Sequence[Sample]) -> Hit:
    parts = pair.finding.path.split("/", 2)
    if len(parts) < len(("files", "number", "path")) or not parts[1].isdigit():
        raise _no_answer("it found something in a file that was not asked for")
    number = int(parts[1])
    if number >= len(samples):
        raise _no_answer("it found something in a file that was not asked for")
    secret = Secret(samples[number].path, pair.finding.line, pair.rule.name or pair.rule.id)
    return Hit(number, secret, pair.finding.snippet)


def _write(folder: Path, samples: Sequence[Sample]) -> None:
    """Write each file in a folder of its own, so that none says what becomes of the others.

    Empty ones are left out: what was looked at can be counted then.
    """
    for number, sample in enumerate(samples):
        if not sample.content:
            continue
        target = folder / "files" / str(number) / _as_written(sample.path)
        target.parent.mkdir(parents=True)
        target.write_bytes(sample.content)


def _as_written(path: str) -> str:
    if len(os.fsencode(path)) <= _LONG and not {"", ".", ".."} & set(path.split("/")):
        return path
    return f"file{Path(path).suffix[:20]}"


def by_path(hits: Iterable[Hit]) -> Mapping[str, set[tuple[str, str]]]:
    """Return which secrets are in which files, each as its rule and its digest."""
    found: dict[str, set[tuple[str, str]]] = {}
    for hit in hits:
        found.setdefault(hit.secret.path, set()).add((hit.secret.rule, hit.digest))
    return found
