"""Plan files in every spelling, and what is wrong with them."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_build.core.dialects import FileStatus
from auto_build.core.document import PlanRefused, Problem, load_document
from auto_build.core.plan import (
    Chunk,
    ChunkId,
    Verification,
    VerificationKind,
)
from auto_build.core.planfile import PlanFile, read_plan, write_statuses

Json = Any


def read(document: Json, *, ordered_phases: bool = False) -> PlanFile:
    return read_plan(json.dumps(document), ordered_phases=ordered_phases)


def refused(document: Json) -> dict[str, Problem]:
    with pytest.raises(PlanRefused) as error:
        read(document)
    return {problem.path: problem for problem in error.value.problems}


def refused_text(text: str) -> Problem:
    with pytest.raises(PlanRefused) as error:
        read_plan(text)
    (problem,) = error.value.problems
    return problem


def with_chunks(*chunks: Json, **phase: Json) -> Json:
    return {"phases": [{"id": "p", **phase, "chunks": list(chunks)}]}


def only_chunk(**keys: Json) -> Chunk:
    (chunk,) = read(with_chunks({"id": "a", **keys})).plan.chunks.values()
    return chunk


def hints(document: Json) -> dict[str, str]:
    return {hint.path: hint.what for hint in read(document).hints}


def claims(chunk: Chunk) -> list[str]:
    return [claim.text for claim in chunk.claims]


# --- spellings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["chunks", "subtasks"])
def test_the_chunks_of_a_phase_in_every_spelling(key: str) -> None:
    assert list(read({"phases": [{"id": "p", key: [{"id": "a"}]}]}).plan.chunks) == ["a"]


@pytest.mark.parametrize(
    "key", ["feature", "title", "name", "spec_name", "specName", "taskTitle", "task_name"]
)
def test_the_title_of_a_plan_in_every_spelling(key: str) -> None:
    assert read({key: "Bells", **with_chunks({"id": "a"})}).plan.title == "Bells"


@pytest.mark.parametrize("value", ["first", 1])
@pytest.mark.parametrize("key", ["id", "phase_id", "phaseId", "phase"])
def test_the_id_of_a_phase_in_every_spelling(key: str, value: Json) -> None:
    document = {
        "phases": [
            {key: value, "chunks": [{"id": "a"}]},
            {key: "second", "depends_on": [value], "chunks": [{"id": "b"}]},
        ]
    }
    plan = read(document).plan
    assert plan.phases[0].id == str(value)
    assert plan.phases[1].depends_on == (str(value),)


@pytest.mark.parametrize("key", ["name", "title", "phase_name", "phaseName", "phaseTitle"])
def test_the_name_of_a_phase_in_every_spelling(key: str) -> None:
    assert read(with_chunks({"id": "a"}, **{key: "Bells"})).plan.phases[0].name == "Bells"


@pytest.mark.parametrize("key", ["parallel_safe", "parallelSafe"])
def test_whether_chunks_may_run_side_by_side_in_every_spelling(key: str) -> None:
    assert not read(with_chunks({"id": "a"}, **{key: False})).plan.phases[0].parallel_safe
    assert read(with_chunks({"id": "a"}, **{key: True})).plan.phases[0].parallel_safe
    assert read(with_chunks({"id": "a"})).plan.phases[0].parallel_safe


@pytest.mark.parametrize("key", ["id", "chunk_id", "chunkId", "subtask_id", "subtaskId"])
def test_the_id_of_a_chunk_in_every_spelling(key: str) -> None:
    assert list(read(with_chunks({key: "1.1"}, {key: 2})).plan.chunks) == ["1.1", "2"]


@pytest.mark.parametrize("key", ["depends_on", "dependencies", "dependsOn"])
def test_dependencies_in_every_spelling(key: str) -> None:
    document = {
        "phases": [
            {"id": "p", "chunks": [{"id": "a"}, {"id": "b", key: ["a"]}]},
            {"id": "q", key: "p", "chunks": [{"id": "c"}]},
        ]
    }
    plan = read(document).plan
    assert plan.chunks[ChunkId("b")].depends_on == ("a",)
    assert plan.phases[1].depends_on == ("p",)


@pytest.mark.parametrize("called", ["setup", 1, "1", "phase-1", "Setting up", 7])
def test_a_phase_may_be_called_by_any_of_its_ids_its_name_or_its_number(called: Json) -> None:
    document = {
        "phases": [
            {"id": "setup", "phase": 7, "name": "Setting up", "chunks": [{"id": "a"}]},
            {"id": "rest", "depends_on": [called], "chunks": [{"id": "b"}]},
        ]
    }
    assert read(document).plan.phases[1].depends_on == ("setup",)


def test_an_exact_id_wins_over_a_place_in_the_list() -> None:
    document = {
        "phases": [
            {"id": "2", "chunks": [{"id": "a"}]},
            {"id": "1", "chunks": [{"id": "b"}]},
            {"id": "3", "depends_on": ["2"], "chunks": [{"id": "c"}]},
        ]
    }
    assert read(document).plan.needs[ChunkId("c")] == {"a"}


def test_a_chunk_may_depend_on_a_phase() -> None:
    document = {
        "phases": [
            {"id": "p", "chunks": [{"id": "a"}, {"id": "b"}]},
            {"id": "q", "chunks": [{"id": "c", "depends_on": ["p"]}, {"id": "d"}]},
        ]
    }
    needs = read(document).plan.needs
    assert needs[ChunkId("c")] == {"a", "b"}
    assert needs[ChunkId("d")] == frozenset()


def test_phases_without_an_id_are_counted() -> None:
    document = {"phases": [{"chunks": [{"id": "a"}]}, {"chunks": [{"id": "b"}], "depends_on": [1]}]}
    plan = read(document).plan
    assert [phase.id for phase in plan.phases] == ["phase-1", "phase-2"]
    assert plan.phases[1].depends_on == ("phase-1",)


@pytest.mark.parametrize(
    "key",
    [
        "files_to_modify",
        "files_to_create",
        "files_to_delete",
        "files",
        "file",
        "file_path",
        "files_involved",
        "filesToModify",
        "filesToCreate",
    ],
)
def test_claims_in_every_spelling(key: str) -> None:
    assert claims(only_chunk(**{key: "src/a.py"})) == ["src/a.py"]
    assert claims(only_chunk(**{key: ["src/a.py", {"path": "docs/"}]})) == ["src/a.py", "docs/"]
    assert claims(only_chunk(**{key: None})) == []


@pytest.mark.parametrize(
    ("written", "claimed"),
    [
        ("`src/a.py`", "src/a.py"),
        ("./src//a.py", "src/a.py"),
        ("src\\a.py", "src/a.py"),
        ("src/a.py:10-20", "src/a.py"),
        ("src/a.py (new)", "src/a.py"),
        ("src/a.py - the model", "src/a.py"),
        ("tests/**/test_*.py", "tests/**/test_*.py"),
        ("app/[id]/page.tsx", "app/[id]/page.tsx"),
        ("docs/", "docs/"),
        (".", "**"),
    ],
)
def test_a_path_is_claimed_in_its_normal_form(written: str, claimed: str) -> None:
    assert claims(only_chunk(files=[written])) == [claimed]


def test_a_file_that_is_named_twice_is_claimed_once() -> None:
    assert claims(only_chunk(files_to_modify=["a.py"], files_to_create=["A.py", "b.py"])) == [
        "a.py",
        "b.py",
    ]


@pytest.mark.parametrize("key", ["title", "name"])
def test_the_title_of_a_chunk_in_every_spelling(key: str) -> None:
    chunk = only_chunk(**{key: "Ring"})
    assert (chunk.title, chunk.description) == ("Ring", "Ring")


def test_an_agent_is_told_everything_that_the_plan_says_of_a_chunk() -> None:
    chunk = only_chunk(
        description="Ring the bell.\nTwice.",
        details={"how": "softly"},
        acceptanceCriteria=["heard", "not broken"],
        notes="Ring the bell.\nTwice.",
    )
    assert chunk.title == "Ring the bell."
    assert chunk.description == ('Ring the bell.\nTwice.\n\n{"how": "softly"}\n\nheard\nnot broken')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"type": "command", "command": " make "}, "make"),
        ({"type": "command", "run": "make"}, "make"),
        ({"command": "make"}, "make"),
        ({"type": "Command", "command": "make"}, "make"),
        ({"type": "unit", "command": "make"}, "make"),
    ],
)
def test_a_command_in_every_spelling(written: Json, meant: str) -> None:
    found = only_chunk(verification=written).verification
    assert (found.kind, found.command) == (VerificationKind.COMMAND, meant)


@pytest.mark.parametrize("key", ["timeout", "timeout_s"])
def test_a_time_limit_in_every_spelling(key: str) -> None:
    written = {"type": "command", "command": "make", "expected": "OK", key: 90}
    assert only_chunk(verification=written).verification == Verification(
        kind=VerificationKind.COMMAND, command="make", expected="OK", timeout_s=90.0
    )


@pytest.mark.parametrize(
    ("written", "kind", "instructions"),
    [
        (None, "none", ""),
        ("", "none", ""),
        ({}, "none", ""),
        ([], "none", ""),
        ({"type": "none", "why": "a note"}, "none", ""),
        ("Look at it", "manual", "Look at it"),
        (["Look at it", "Smell it"], "manual", "Look at it\nSmell it"),
        ({"manual": "Look at it"}, "manual", "Look at it"),
        ({"type": "manual", "run": "Look at it"}, "manual", "Look at it"),
        ({"type": "manual", "instructions": "Look at it"}, "manual", "Look at it"),
        ({"type": "review", "instructions": "Look at it"}, "manual", "Look at it"),
        (
            {"type": "browser", "url": "/x", "checks": ["a", "b"]},
            "browser",
            "url: /x\nchecks: a\nb",
        ),
        ({"checks": ["a"]}, "browser", "checks: a"),
        ({"method": "GET", "url": "/x", "body": None}, "api", "method: GET\nurl: /x"),
        ({"steps": ["a", "b"]}, "e2e", "steps: a\nb"),
    ],
)
def test_what_no_command_can_check_is_kept_for_a_person(
    written: Json, kind: str, instructions: str
) -> None:
    found = only_chunk(verification=written).verification
    assert found == Verification(kind=VerificationKind(kind), instructions=instructions)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, FileStatus.PENDING),
        ("", FileStatus.PENDING),
        ("pending", FileStatus.PENDING),
        ("not_started", FileStatus.PENDING),
        ("Not Started", FileStatus.PENDING),
        ("todo", FileStatus.PENDING),
        ("backlog", FileStatus.PENDING),
        ("queued", FileStatus.PENDING),
        ("in_progress", FileStatus.IN_PROGRESS),
        ("in-progress", FileStatus.IN_PROGRESS),
        ("running", FileStatus.IN_PROGRESS),
        ("COMPLETED", FileStatus.COMPLETED),
        ("complete", FileStatus.COMPLETED),
        ("done", FileStatus.COMPLETED),
        ("landed", FileStatus.COMPLETED),
        ("failed", FileStatus.FAILED),
        ("error", FileStatus.FAILED),
        ("blocked", FileStatus.BLOCKED),
        ("skipped", FileStatus.SKIPPED),
    ],
)
def test_statuses_are_normalised(written: Json, meant: FileStatus) -> None:
    assert read(with_chunks({"id": "a", "status": written})).statuses == {"a": meant}


# --- dependencies that are not written -----------------------------------------------------------

THREE_PHASES = {
    "phases": [
        {"id": "p", "chunks": [{"id": "a", "files": ["a"]}]},
        {"id": "q", "chunks": [{"id": "b", "files": ["b"]}]},
        {"id": "r", "depends_on": [], "chunks": [{"id": "c", "files": ["c"]}]},
    ]
}


def test_a_silent_phase_depends_on_nothing_and_is_pointed_out() -> None:
    assert not any(read(THREE_PHASES).plan.needs.values())
    (told,) = hints(THREE_PHASES).items()
    assert told[0] == "$.phases[1]"
    assert "'q' name no depends_on" in told[1]
    assert "'r'" not in told[1]


def test_with_ordered_phases_a_silent_phase_comes_after_the_one_before_it() -> None:
    file = read(THREE_PHASES, ordered_phases=True)
    assert [phase.depends_on for phase in file.plan.phases] == [(), ("p",), ()]
    assert file.hints == ()


def test_a_silent_phase_whose_chunks_say_what_they_wait_for_is_not_pointed_out() -> None:
    document = {
        "phases": [
            {"id": "p", "chunks": [{"id": "a", "files": ["a"]}]},
            {"id": "q", "chunks": [{"id": "b", "files": ["b"], "depends_on": ["a"]}]},
        ]
    }
    assert hints(document) == {}


# --- hints ---------------------------------------------------------------------------------------


def test_a_plan_that_says_everything_needs_no_hint() -> None:
    document = with_chunks(
        {"id": "a", "files": ["a"], "verification": {"command": "make", "expected": "OK"}},
        {"id": "b", "files": ["b"]},
    )
    assert hints(document) == {}


def test_a_chunk_that_claims_nothing_is_pointed_out() -> None:
    found = hints({"phases": [{"id": "p", "subtasks": [{"id": "a", "file": None}]}]})
    assert found == {
        "$.phases[0].subtasks[0]": "claims no files: it will run alone within its phase"
    }


@pytest.mark.parametrize(
    "written", ["TBD - see the spec", "todo", "N/A", "", "various: all of them"]
)
def test_text_that_is_no_path_claims_nothing_and_is_pointed_out(written: str) -> None:
    document = with_chunks({"id": "a", "files": ["a.py", written]})
    assert claims(read(document).plan.chunks[ChunkId("a")]) == ["a.py"]
    assert "is no path" in hints(document)["$.phases[0].chunks[0].files[1]"]


@pytest.mark.parametrize("written", ["todo.md", "nano/x.py", "anything.py", "TODO/list.md"])
def test_a_file_whose_name_begins_like_such_a_word_is_a_path(written: str) -> None:
    assert claims(only_chunk(files=[written])) == [written]


def test_chunks_that_claim_one_file_are_pointed_out() -> None:
    document = with_chunks({"id": "a", "files": ["src/"]}, {"id": "b", "files": ["src/x.py"]})
    assert hints(document) == {
        "$.phases": "chunks 'a' and 'b' both claim src/ and src/x.py: they run one after the other"
    }


def test_chunks_that_follow_each_other_anyway_are_not() -> None:
    document = with_chunks(
        {"id": "a", "files": ["x.py"]}, {"id": "b", "files": ["x.py"], "depends_on": ["a"]}
    )
    assert hints(document) == {}


def test_a_sentence_under_expected_is_pointed_out() -> None:
    check = {"type": "command", "command": "make", "expected": "All tests pass"}
    found = hints(with_chunks({"id": "a", "files": ["a"], "verification": check}))
    assert list(found) == ["$.phases[0].chunks[0].verification.expected"]
    assert "the exit code alone will decide" in found.popitem()[1]


def test_a_type_of_verification_that_nobody_knows_is_pointed_out() -> None:
    check = {"type": "unit", "command": "make"}
    found = hints(with_chunks({"id": "a", "files": ["a"], "verification": check}))
    assert found == {"$.phases[0].chunks[0].verification.type": "'unit' is taken as 'command'"}


# --- problems ------------------------------------------------------------------------------------


def test_every_problem_is_told_at_once_in_the_spelling_of_the_file() -> None:
    found = refused(
        {
            "phases": [
                {
                    "phase_id": "one",
                    "subtasks": [
                        {"subtask_id": "1.1", "file_path": "/etc/hosts"},
                        {"subtask_id": "1.1", "status": "perhaps"},
                        {"subtask_id": "1.3", "dependencies": ["1.1", "2.l"]},
                    ],
                },
                {
                    "phase_id": "two",
                    "dependencies": ["oen"],
                    "parallelSafe": "yes",
                    "subtasks": [
                        {"subtask_id": "2.1", "filesToCreate": ["ok.py", "../up.py"]},
                        {"description": "nameless"},
                    ],
                },
            ]
        }
    )
    assert {path: (one.what, one.value, one.suggestion) for path, one in found.items()} == {
        "$.phases[0].subtasks[0].file_path": (
            "is absolute",
            "/etc/hosts",
            "write it from the repository's top: 'etc/hosts'",
        ),
        "$.phases[0].subtasks[1].status": (
            "is no known status",
            "perhaps",
            "write pending, in_progress, completed, failed, blocked, skipped",
        ),
        "$.phases[0].subtasks[1].subtask_id": (
            "chunk id is taken already, by phases[0] chunk 1",
            "1.1",
            "give each chunk an id of its own",
        ),
        "$.phases[0].subtasks[2].dependencies[1]": (
            "chunk depends on an unknown chunk",
            "2.l",
            "did you mean '2.1'?",
        ),
        "$.phases[1].parallelSafe": ("is not true or false", "yes", "write true"),
        "$.phases[1].subtasks[0].filesToCreate[1]": (
            "leaves the repository",
            "../up.py",
            "write it from the repository's top: 'up.py'",
        ),
        "$.phases[1].subtasks[1].id": ("is missing", "null", 'write "id": "2"'),
        "$.phases[1].dependencies[0]": (
            "phase depends on an unknown phase",
            "oen",
            "did you mean 'one'?",
        ),
    }


def test_a_problem_reads_as_one_line() -> None:
    problem = Problem("$.phases[0].id", "is no id", "[]", "write the id as text")
    assert str(problem) == "$.phases[0].id: is no id ([]). write the id as text"


def test_a_dependency_behind_one_on_a_whole_phase_keeps_its_place() -> None:
    document = {
        "phases": [
            {"id": "p", "chunks": [{"id": "a"}, {"id": "b"}]},
            {"id": "q", "chunks": [{"id": "c", "depends_on": ["p", None, "x"]}]},
        ]
    }
    found = refused(document)
    assert list(found) == [
        "$.phases[1].chunks[0].depends_on[1]",
        "$.phases[1].chunks[0].depends_on[2]",
    ]


def test_a_dependency_that_is_no_list_is_named_as_it_is_written() -> None:
    document = with_chunks({"id": "a", "dependsOn": "b"})
    assert list(refused(document)) == ["$.phases[0].chunks[0].dependsOn"]


def test_a_circle_is_printed() -> None:
    document = with_chunks({"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]})
    circle = refused(document)["$.phases"]
    assert circle.what == "the dependencies go in a circle"
    assert circle.value in {"a → b → a", "b → a → b"}


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("/srv/app/a.py", "'srv/app/a.py'"),
        ("/.github/ci.yml", "'.github/ci.yml'"),
        ("~/notes.md", "'notes.md'"),
        ("C:\\work\\a.py", "'work\\\\a.py'"),
        ("../a.py", "'a.py'"),
        ("a/../../b.py", "'src/file.py'"),
        ("/", "'src/file.py'"),
    ],
)
def test_a_path_outside_the_repository_is_refused_with_one_inside(
    written: str, advice: str
) -> None:
    (problem,) = refused(with_chunks({"id": "a", "files": [written]})).values()
    assert problem.suggestion == f"write it from the repository's top: {advice}"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "$.phases"),
        ({"phases": None}, "$.phases"),
        ({"phases": {}}, "$.phases"),
        ({"phases": []}, "$.phases"),
        ({"phases": [{"id": "p", "chunks": []}]}, "$.phases"),
        ({"phases": ["p"]}, "$.phases[0]"),
        ({"phases": [{"phaseId": {}, "chunks": [{"id": "a"}]}]}, "$.phases[0].phaseId"),
        ({"phases": [{"id": True, "chunks": [{"id": "a"}]}]}, "$.phases[0].id"),
        ({"phases": [{"id": "p", "chunks": {}}]}, "$.phases[0].chunks"),
        ({"phases": [{"id": "p", "subtasks": 3}]}, "$.phases[0].subtasks"),
        (with_chunks("a"), "$.phases[0].chunks[0]"),
        (with_chunks({"id": 1.5}), "$.phases[0].chunks[0].id"),
        (with_chunks({"chunk_id": ["a"]}), "$.phases[0].chunks[0].chunk_id"),
        (with_chunks({"id": "a", "status": 3}), "$.phases[0].chunks[0].status"),
        (with_chunks({"id": "a", "files": 3}), "$.phases[0].chunks[0].files"),
        (with_chunks({"id": "a", "files": [[]]}), "$.phases[0].chunks[0].files[0]"),
        (with_chunks({"id": "a", "depends_on": {}}), "$.phases[0].chunks[0].depends_on"),
        (with_chunks({"id": "a", "verification": 3}), "$.phases[0].chunks[0].verification"),
        (
            with_chunks({"id": "a", "verification": {"type": "command", "run": []}}),
            "$.phases[0].chunks[0].verification.run",
        ),
        (
            with_chunks({"id": "a", "verification": {"command": "make", "timeout": -1}}),
            "$.phases[0].chunks[0].verification.timeout",
        ),
        (
            with_chunks({"id": "a", "verification": {"command": "make", "timeout": 10**400}}),
            "$.phases[0].chunks[0].verification.timeout",
        ),
    ],
)
def test_the_wrong_kind_of_value_is_refused_where_it_stands(document: Json, path: str) -> None:
    assert path in refused(document)


def test_an_id_that_was_meant_as_text_is_offered_as_text() -> None:
    (problem,) = refused(with_chunks({"subtask_id": 1.1})).values()
    assert problem.suggestion == 'write "subtask_id": "1.1"'


# --- files that are no JSON ----------------------------------------------------------------------

CONFLICT = """{
  "phases": [
<<<<<<< HEAD
    {"id": "p"}
=======
    {"id": "q"}
>>>>>>> theirs
  ]
}
"""


@pytest.mark.parametrize(
    ("text", "what", "suggestion"),
    [
        (CONFLICT, "line 3, column 1", "git conflict markers"),
        ('{"phases": [{"id": "p"},]}', "line 1, column 25", "mend the JSON there"),
        ('{\n  "phases": [\n', "line 3, column 1", "cut off"),
        ('{\n  "phases": [{"id": "p', "line 2, column 21", "cut off"),
        ("phases:\n  - id: p\n", "line 1, column 1", "mend the JSON there"),
        ("", "is empty", "write a plan"),
        (" \n\t", "is empty", "write a plan"),
        ("\ufeff", "is empty", "write a plan"),
        ("[]", "is not a JSON object", "begin with"),
        ('"plan"', "is not a JSON object", "begin with"),
        ("null", "is not a JSON object", "begin with"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused_with_the_place(
    text: str, what: str, suggestion: str
) -> None:
    problem = refused_text(text)
    assert what in problem.what
    assert suggestion in problem.suggestion


def test_a_byte_order_mark_does_no_harm() -> None:
    text = json.dumps(with_chunks({"id": "a"}))
    assert read_plan("\ufeff" + text) == read_plan(text)


@pytest.mark.parametrize(
    "value",
    ["1" * 5000, "[" * 200 + "]" * 200, "[" * 100_000 + "]" * 100_000, '"\\ud800"', "NaN", "1e999"],
    ids=[
        "a number without end",
        "deep",
        "very deep",
        "half a character",
        "not a number",
        "infinite",
    ],
)
def test_what_could_not_be_written_back_is_refused(value: str) -> None:
    refused_text(f'{{"note": {value}, "phases": [{{"id": "p", "chunks": [{{"id": "a"}}]}}]}}')


# --- writing -------------------------------------------------------------------------------------

THEIRS = """{
  "title": "Glöckchen",
  "phases": [
    {
      "colour": null,
      "subtasks": [
        {
          "status": "not_started",
          "subtaskId": 1,
          "effort": 2.5,
          "file": "a.py"
        },
        {
          "subtaskId": "b",
          "done_by": [
            "me",
            {}
          ]
        }
      ],
      "phaseId": 7
    }
  ],
  "qa": {
    "z": 1,
    "a": 2
  }
}
"""


def note(status: str, **more: Json) -> dict[str, Json]:
    return {"status": status, **more}


def chunks_of(text: str) -> list[Json]:
    return [chunk for phase in json.loads(text)["phases"] for chunk in phase["subtasks"]]


def test_a_file_that_nothing_is_noted_of_stays_as_it_is() -> None:
    assert write_statuses(load_document(THEIRS), {}) == THEIRS


def test_writing_changes_statuses_and_keeps_all_else_in_its_spelling_and_order() -> None:
    notes = {ChunkId("1"): note("completed", commit="c0ffee"), ChunkId("b"): note("failed")}
    written = write_statuses(load_document(THEIRS), notes)
    assert written == THEIRS.replace('"status": "not_started"', '"status": "completed"').replace(
        '"file": "a.py"',
        '"file": "a.py",\n          "auto_build": {\n            "status": "completed",\n'
        '            "commit": "c0ffee"\n          }',
    ).replace(
        "            {}\n          ]",
        '            {}\n          ],\n          "status": "failed",\n'
        '          "auto_build": {\n            "status": "failed"\n          }',
    )
    assert write_statuses(load_document(written), notes) == written


def test_writing_does_not_touch_the_document_it_was_given() -> None:
    document = load_document(THEIRS)
    write_statuses(document, {ChunkId("1"): note("failed")})
    assert document == json.loads(THEIRS)


def test_what_the_tool_wrote_itself_is_no_edit() -> None:
    written = write_statuses(load_document(THEIRS), {ChunkId("1"): note("failed")})
    file = read_plan(written)
    assert file.statuses == {"1": FileStatus.FAILED, "b": FileStatus.PENDING}
    assert file.edited == frozenset()


def edited(ours: str, theirs: str) -> str:
    written = write_statuses(load_document(THEIRS), {ChunkId("1"): note(ours)})
    return written.replace(f'"status": "{ours}"', f'"status": "{theirs}"', 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("failed", "pending"),
        ("failed", "Not Started"),
        ("pending", "done"),
        ("blocked", "skipped"),
        ("completed", "pending"),
    ],
)
def test_a_status_that_differs_from_the_note_was_edited_and_is_not_overwritten(
    ours: str, theirs: str
) -> None:
    text = edited(ours, theirs)
    assert read_plan(text).edited == {"1"}
    again = write_statuses(load_document(text), {ChunkId("1"): note("in_progress")})
    assert chunks_of(again)[0]["status"] == theirs
    assert read_plan(again).edited == {"1"}


def test_an_edit_that_has_come_true_is_one_no_more() -> None:
    text = edited("failed", "done")
    again = write_statuses(load_document(text), {ChunkId("1"): note("completed")})
    assert chunks_of(again)[0]["status"] == "completed"
    assert read_plan(again).edited == frozenset()


@pytest.mark.parametrize("theirs", ["in_progress", "failed", "blocked"])
def test_a_status_that_nobody_can_wish_for_is_written_over(theirs: str) -> None:
    text = edited("completed", theirs)
    assert read_plan(text).edited == frozenset()
    again = write_statuses(load_document(text), {ChunkId("1"): note("completed")})
    assert chunks_of(again)[0]["status"] == "completed"


def test_a_status_that_was_never_noted_is_no_edit() -> None:
    assert read_plan(THEIRS.replace("not_started", "done")).edited == frozenset()


# --- any value at all ----------------------------------------------------------------------------

no_hurry = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.text(st.characters(categories=["Cs", "Cc"]), min_size=1, max_size=3)
    | st.sampled_from(["../x", "/x", "C:x", "**", "[{", "a" * 300, "TBD", "1", "a", "p"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
VALID: Json = {
    "feature": "Bells",
    "phases": [
        {
            "id": "p",
            "name": "Ring",
            "depends_on": [],
            "parallel_safe": True,
            "chunks": [
                {
                    "id": "a",
                    "title": "One",
                    "description": "Two",
                    "files_to_modify": ["a.py", "docs/"],
                    "verification": {
                        "type": "command",
                        "command": "make",
                        "expected": "OK",
                        "timeout": 5,
                    },
                    "status": "pending",
                    "auto_build": {"status": "pending"},
                }
            ],
        },
        {
            "phase_id": "q",
            "dependencies": ["p"],
            "subtasks": [
                {"subtask_id": "b", "depends_on": ["a"], "file": None, "verification": ["look"]}
            ],
        },
    ],
}


def places(value: Json, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to each value inside `value`."""
    match value:
        case dict():
            inside = list(value.items())
        case list():
            inside = list(enumerate(value))
        case _:
            inside = []
    return [here, *(way for key, one in inside for way in places(one, (*here, key)))]


def put(document: Json, way: tuple[str | int, ...], value: Json) -> Json:
    if not way:
        return value
    first, *rest = way
    fresh = document.copy()
    fresh[first] = put(document[first], tuple(rest), value)
    return fresh


def read_or_refuse(document: Json) -> None:
    """Read any document; what is read can be written, and what is refused can be told."""
    try:
        file = read_plan(json.dumps(document))
    except PlanRefused as error:
        told = str(error)
    else:
        told = write_statuses(file.document, {one: note("failed") for one in file.plan.chunks})
        assert read_plan(told).plan == file.plan
    assert told.encode()


@no_hurry
@given(JSON)
def test_any_value_is_read_or_refused(document: Json) -> None:
    read_or_refuse(document)


@no_hurry
@given(JSON)
def test_any_phases_are_read_or_refused(phases: Json) -> None:
    read_or_refuse({"phases": phases})


@no_hurry
@given(st.lists(st.tuples(st.sampled_from(places(VALID)), JSON), min_size=1, max_size=2))
def test_a_plan_with_a_value_replaced_is_read_or_refused(
    changes: list[tuple[tuple[str | int, ...], Json]],
) -> None:
    document = VALID
    for way, value in changes:
        if way in places(document):
            document = put(document, way, value)
    read_or_refuse(document)


@no_hurry
@given(st.dictionaries(st.sampled_from(["phases", "x"]), JSON) | JSON)
def test_statuses_can_be_written_into_whatever_somebody_made_of_the_file(document: Json) -> None:
    try:
        now = load_document(json.dumps(document))
    except PlanRefused:
        return
    written = write_statuses(now, {ChunkId("a"): note("failed")})
    assert json.loads(written).keys() == now.keys()


@no_hurry
@given(st.text() | st.text(st.sampled_from('{}[]":,ab1 \n<>=')))
def test_text_at_random_is_refused(text: str) -> None:
    with pytest.raises(PlanRefused):
        read_plan(text)
