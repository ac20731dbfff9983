"""The demo keeps its promises: the plan holds every kind of trouble, and all of it lands."""

import asyncio
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from auto_build.agents.script import Script
from auto_build.coordinator import Reviews
from auto_build.core.acceptance import ItemState
from auto_build.core.graph import overlapping_pairs
from auto_build.core.plan import ChunkId, VerificationKind, upstream
from auto_build.core.planfile import PlanFile, read_plan
from auto_build.core.qa import Standing
from auto_build.core.view import Label
from auto_build.demo.build import SCRIPT, SPEC_NAME, project_files
from auto_build.demo.run import DemoReport, Measured, run_demo, run_project
from auto_build.git.repo import git_environment
from auto_build.process import Processes
from auto_build.updates import Listener
from auto_build.workspace import HOME, PLAN

SPEC = f"{HOME}/specs/{SPEC_NAME}"
pytestmark = pytest.mark.xdist_group("demo")  # one process runs it, for all that look at it


@pytest.fixture(scope="module")
def file() -> PlanFile:
    return read_plan(project_files()[f"{SPEC}/{PLAN}"])


# --- the plan ------------------------------------------------------------------------------------


def test_the_plan_has_ten_chunks_and_more_in_five_phases(file: PlanFile) -> None:
    assert len(file.plan.chunks) >= 10
    assert len(file.plan.phases) >= 5


def test_every_chunk_is_verified_by_a_command_that_reads_as_meant(file: PlanFile) -> None:
    kinds = {chunk.verification.kind for chunk in file.plan.chunks.values()}
    assert kinds == {VerificationKind.COMMAND}
    assert not [hint for hint in file.hints if "verification" in hint.path]
    assert not [hint for hint in file.hints if "depends_on" in hint.what]


def test_the_phases_hold_a_diamond(file: PlanFile) -> None:
    top, _, left, right, bottom = file.plan.phases
    assert left.depends_on == right.depends_on == (top.id,)
    assert set(bottom.depends_on) == {left.id, right.id}


def test_two_phases_share_a_file_and_neither_depends_on_the_other(file: PlanFile) -> None:
    plan = file.plan
    ((one, other, claim, _),) = overlapping_pairs(plan)
    assert claim.text == "shelf/commands/listing.py"
    assert plan.phase_of[one] != plan.phase_of[other]
    assert one not in upstream(plan.needs, other)
    assert other not in upstream(plan.needs, one)


def test_exactly_three_chunks_can_start_at_once_so_that_the_conflict_is_certain(
    file: PlanFile,
) -> None:
    roots = [chunk for chunk, needs in file.plan.needs.items() if not needs]
    assert roots == ["1-1", "2-1", "2-2"]


def test_every_chunk_has_its_turn(file: PlanFile) -> None:
    script = Script.model_validate(tomllib.loads(project_files()[f"{SPEC}/{SCRIPT}"]))
    assert {turn.chunk for turn in script.turn} == {*file.plan.chunks, "review", "qa-1"}


def test_the_pace_is_the_scripts() -> None:
    assert tomllib.loads(project_files(4.0)[f"{SPEC}/{SCRIPT}"])["pace"] == 4


# --- the run -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """A demo with three workers and, in the same report, with one."""

    report: DemoReport
    told: list[tuple[str, int]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    told: list[tuple[str, int]] = []

    def listen(project: Path, workers: int) -> Listener:
        told.append((project.name, workers))
        return lambda _: None

    async def merge(project: Path) -> str:
        return f"merged {project.name}"

    folder = tmp_path_factory.mktemp("demo")
    report = asyncio.run(run_demo(folder, workers=3, pace=0.5, listen=listen, merge=merge))
    return Ran(report, told)


async def tree(run: Measured, at: str = f"refs/heads/auto-build/{SPEC_NAME}") -> str:
    done = await Processes().run(
        *("git", "rev-parse", f"{at}^{{tree}}"),
        cwd=run.project,
        env=git_environment(os.environ),
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_with_three_workers_everything_lands_in_spite_of_all_trouble(ran: Ran) -> None:
    run = ran.report.run
    assert run.view.count(Label.LANDED) == len(run.view.rows)
    assert run.conflicts == 1
    assert run.repairs == 1
    assert run.outside == {"2-2": ("shelf/format.py",), "4-3": ("CHANGELOG.md",)}
    rows = {row.id: row for row in run.view.rows}
    assert rows["2-2"].attempt == 1
    assert "one line now shows the mark and the date" in "".join(rows["2-2"].dropped)


@pytest.mark.slow
def test_the_merged_feature_is_green_and_sooner_than_with_one_worker(ran: Ran) -> None:
    report = ran.report
    assert report.finished
    assert " passed in " in report.tests_line
    assert report.merged == "merged shelf"
    assert report.speedup is not None
    assert ran.told == [("shelf", 3), ("shelf-one-worker", 1)]


@pytest.mark.slow
def test_what_the_review_finds_is_mended_and_the_build_is_approved(ran: Ran) -> None:
    qa = ran.report.run.view.qa
    assert [review.verdict.value for review in qa.reviews] == ["rejected", "approved"]
    assert len(qa.reviews[0].blocking) == 2
    unverified = [one.what for one in qa.reviews[1].items if one.state is ItemState.UNVERIFIED]
    assert len(unverified) == 1
    alone = ran.report.alone
    assert alone is not None
    assert alone.view.standing is Standing.SKIPPED


@pytest.mark.slow
def test_with_one_worker_nothing_conflicts(ran: Ran) -> None:
    alone = ran.report.alone
    assert alone is not None
    assert alone.view.finished
    assert (alone.conflicts, alone.repairs) == (0, 1)


@pytest.mark.slow
async def test_any_number_of_workers_comes_to_the_same_files(ran: Ran, tmp_path: Path) -> None:
    run, alone = ran.report.run, ran.report.alone
    many = await run_project(tmp_path / "6", workers=6, pace=0.5, reviews=Reviews.SKIPPED)
    assert alone is not None
    assert many.view.finished
    built = run.view.qa.reviews[0].commit  # before what the review found was mended
    assert {await tree(run, built), await tree(alone), await tree(many)} == {await tree(alone)}


@pytest.mark.slow
def test_the_plan_file_says_that_all_is_done(ran: Ran) -> None:
    plan = json.loads((ran.report.run.spec / PLAN).read_text())
    said = {chunk["status"] for phase in plan["phases"] for chunk in phase["chunks"]}
    assert said == {"completed"}


def test_the_chunk_that_holds_the_line_is_called_before_the_one_that_trespasses(
    file: PlanFile,
) -> None:
    ids = list(file.plan.chunks)
    assert ids.index(ChunkId("2-1")) < ids.index(ChunkId("2-2"))
