"""Specs and plan files: found by name or number, and never overwritten with what was."""

import json
import os
from pathlib import Path

import pytest

from auto_build.core.plan import ChunkId
from auto_build.errors import EnvironmentUnfit, UsageProblem
from auto_build.workspace import PlanProblem, PlanWriter, Workspace, load_plan, write_atomically

DOCUMENT = {"phases": [{"id": "p", "chunks": [{"id": "a", "mine": 1}, {"id": "b"}]}]}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, tmp_path / ".git")


def make_specs(workspace: Workspace, *names: str) -> None:
    for name in names:
        (workspace.specs_dir / name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("001-login", "001-login"),
        ("001", "001-login"),
        ("1", "001-login"),
        ("2", "2-pay"),
        ("002", "2-pay"),
        ("010", "010-x"),
        ("plain", "plain"),
    ],
)
def test_a_spec_is_found_by_its_name_or_number(
    workspace: Workspace, wanted: str, found: str
) -> None:
    make_specs(workspace, "001-login", "2-pay", "010-x", "plain", ".hidden")
    assert workspace.require_spec(wanted).name == found


def test_a_number_that_fits_several_is_refused_with_their_names(workspace: Workspace) -> None:
    make_specs(workspace, "001-login", "001-logout")
    with pytest.raises(UsageProblem, match="001-login, 001-logout"):
        workspace.require_spec("001")


def test_a_spec_that_is_not_there_is_refused_with_the_nearest(workspace: Workspace) -> None:
    with pytest.raises(UsageProblem, match="has none"):
        workspace.require_spec("001")
    make_specs(workspace, "001-login")
    with pytest.raises(UsageProblem) as refused:
        workspace.require_spec("001-logn")
    assert refused.value.hint == "did you mean 001-login?"


def test_a_missing_plan_and_one_that_is_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="there is no plan at"):
        load_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match="is not UTF-8"):
        load_plan(tmp_path / "plan.json")


def test_a_plan_that_is_refused_lists_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"phases": [{"id": "p", "depends_on": ["x"], "chunks": [{"id": 3.5}]}]}')
    with pytest.raises(PlanProblem) as refused:
        load_plan(path)
    assert len(refused.value.problems) == 2
    assert all(problem.path in str(refused.value) for problem in refused.value.problems)


def test_statuses_are_written_and_everything_else_survives(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**DOCUMENT, "remark": "é"}))
    path.chmod(0o640)

    assert (
        PlanWriter(path, tmp_path).write({ChunkId("a"): {"status": "completed", "attempts": 1}})
        == ""
    )

    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["remark"] == "é"
    first, second = written["phases"][0]["chunks"]
    assert (first["mine"], first["status"], first["auto_build"]["attempts"]) == (1, "completed", 1)
    assert "status" not in second
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_status_that_somebody_edited_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(DOCUMENT))
    writer = PlanWriter(path, tmp_path)
    writer.write({ChunkId("a"): {"status": "in_progress"}})
    document = json.loads(path.read_text())
    document["phases"][0]["chunks"][0]["status"] = "pending"
    path.write_text(json.dumps(document))

    writer.write({ChunkId("a"): {"status": "completed"}})

    assert json.loads(path.read_text())["phases"][0]["chunks"][0]["status"] == "pending"


@pytest.mark.parametrize("text", ["", '{"phases": [', "[]"])
def test_a_plan_that_is_being_written_by_somebody_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    warning = PlanWriter(path, tmp_path).write({ChunkId("a"): {"status": "completed"}})
    assert "left alone" in warning
    assert path.read_text() == text


def test_a_plan_that_says_so_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(DOCUMENT))
    writer, notes = PlanWriter(path, tmp_path), {ChunkId("a"): {"status": "completed"}}
    writer.write(notes)
    before = path.stat().st_ino
    writer.write(notes)
    assert path.stat().st_ino == before


def test_a_file_is_replaced_in_one_step_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half \udcff", scratch=tmp_path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]  # noqa: PTH208 - the bare names
    with pytest.raises(EnvironmentUnfit, match="cannot be written"):
        write_atomically(tmp_path / "gone" / "plan.json", "new", scratch=tmp_path)
    write_atomically(path, "new", scratch=tmp_path)
    assert path.read_text() == "new"
