"""The published schema, the examples, and the reader: three tellings of one format."""

import copy
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auto_build.core import dialects
from auto_build.core.dialects import FileStatus
from auto_build.core.document import PlanRefused
from auto_build.core.plan import VerificationKind
from auto_build.core.planfile import MARK, read_plan, write_statuses
from auto_build.schemas import load_plan_schema

Json = Any
PROJECT = Path(__file__).parent.parent
PLANS = {
    "the demo's": files("auto_build.demo").joinpath("spec/implementation_plan.json"),
    "the first spec's": PROJECT / "auto-build/specs/001-text-statistics/implementation_plan.json",
}


def in_the_docs() -> str:
    text = (PROJECT / "docs/plan-format.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(example)


def misfits(document: Json) -> list[str]:
    found = Draft202012Validator(load_plan_schema()).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(load_plan_schema())


def test_every_example_in_the_schema_fits_what_it_explains() -> None:
    schema = load_plan_schema()
    parts = [("", schema), *schema["$defs"].items()]
    for name in ("phase", "chunk", "claims", "verification"):
        parts.extend(schema["$defs"][name].get("properties", {}).items())
    shown = 0
    for name, part in parts:
        narrowed = {"$schema": schema["$schema"], "$defs": schema["$defs"], **part}
        for example in part.get("examples", ()):
            shown += 1
            assert list(Draft202012Validator(narrowed).iter_errors(example)) == [], name
    assert shown > 10


def test_the_schema_and_the_reader_know_the_same_words() -> None:
    definitions = load_plan_schema()["$defs"]
    assert definitions["chunk"]["properties"]["status"]["enum"] == list(FileStatus)
    assert set(definitions["verification"]["properties"]["type"]["enum"]) == set(VerificationKind)
    assert MARK in definitions["chunk"]["properties"]


@pytest.mark.parametrize(
    ("part", "spellings"),
    [
        ("phase", dialects.PHASE_IDS),
        ("phase", dialects.PHASE_NAME),
        ("phase", dialects.DEPENDS),
        ("phase", dialects.PARALLEL_SAFE),
        ("phase", dialects.CHUNKS),
        ("chunk", dialects.CHUNK_IDS),
        ("chunk", dialects.CHUNK_TITLE),
        ("chunk", dialects.CHUNK_TEXT),
        ("chunk", dialects.DEPENDS),
        ("chunk", dialects.FILES),
        ("verification", dialects.TIMEOUT),
    ],
)
def test_the_schema_has_the_first_spelling_of_each_key(
    part: str, spellings: tuple[str, ...]
) -> None:
    assert spellings[0] in load_plan_schema()["$defs"][part]["properties"]


@pytest.mark.parametrize("whose", PLANS)
def test_our_own_plans_fit_the_schema_and_can_be_read(whose: str) -> None:
    text = PLANS[whose].read_text(encoding="utf-8")
    assert misfits(json.loads(text)) == []
    assert read_plan(text).plan.chunks


def test_the_example_in_the_docs_fits_the_schema_and_means_what_they_say() -> None:
    text = in_the_docs()
    assert misfits(json.loads(text)) == []
    plan = read_plan(text).plan
    needs = {str(chunk): {str(one) for one in above} for chunk, above in plan.needs.items()}
    assert needs == {
        "words": set(),
        "lines": set(),
        "summary": {"words", "lines"},
        "guide": {"words", "lines", "summary"},
        "tidy": {"words", "lines", "summary", "guide"},
    }


def test_a_plan_still_fits_the_schema_after_the_tool_wrote_into_it() -> None:
    text = in_the_docs()
    notes = {
        chunk: {"status": "completed", "commit": "c0ffee"} for chunk in read_plan(text).plan.chunks
    }
    written = write_statuses(json.loads(text), notes)
    assert misfits(json.loads(written)) == []


@pytest.mark.parametrize(
    "spellings",
    [
        dialects.PLAN_TITLE,
        dialects.PHASE_IDS,
        dialects.PHASE_NAME,
        dialects.DEPENDS,
        dialects.PARALLEL_SAFE,
        dialects.CHUNKS,
        dialects.CHUNK_IDS,
        dialects.CHUNK_TITLE,
        dialects.CHUNK_TEXT,
        dialects.FILES,
    ],
)
def test_the_docs_list_every_spelling_that_is_read(spellings: tuple[str, ...]) -> None:
    text = (PROJECT / "docs/plan-format.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{one}`" for one in spellings) in text


def first_phase(document: Json) -> Json:
    return document["phases"][0]


def first_chunk(document: Json) -> Json:
    return document["phases"][0]["chunks"][0]


MISTAKES: dict[str, Callable[[Json], object]] = {
    "no phases": lambda plan: plan.pop("phases"),
    "phases by name": lambda plan: plan.update(phases={"counting": first_phase(plan)}),
    "no chunk at all": lambda plan: plan.update(phases=[]),
    "only empty phases": lambda plan: plan.update(phases=[{"id": "1", "chunks": []}]),
    "a phase that is text": lambda plan: plan["phases"].append("testing"),
    "chunks that are text": lambda plan: first_phase(plan).update(chunks="words, lines"),
    "a chunk that is text": lambda plan: first_phase(plan)["chunks"].append("count"),
    "parallel_safe as text": lambda plan: first_phase(plan).update(parallel_safe="yes"),
    "a chunk without an id": lambda plan: first_chunk(plan).pop("id"),
    "a chunk with an empty id": lambda plan: first_chunk(plan).update(id=" "),
    "a chunk whose id is a list": lambda plan: first_chunk(plan).update(id=["words"]),
    "a phase whose id is a list": lambda plan: first_phase(plan).update(id=["counting"]),
    "a status of its own": lambda plan: first_chunk(plan).update(status="perhaps"),
    "an absolute path": lambda plan: first_chunk(plan).update(files_to_modify=["/etc/hosts"]),
    "a path in a home": lambda plan: first_chunk(plan).update(files_to_modify=["~/notes.md"]),
    "a path on a drive": lambda plan: first_chunk(plan).update(files_to_create=["C:\\a.py"]),
    "a path outside": lambda plan: first_chunk(plan).update(files_to_create=["../other/a.py"]),
    "a number as a path": lambda plan: first_chunk(plan).update(files_to_modify=[1]),
    "a dependency that is null": lambda plan: first_chunk(plan).update(depends_on=[None]),
    "a command without command": lambda plan: first_chunk(plan)["verification"].pop("command"),
    "an empty command": lambda plan: first_chunk(plan)["verification"].update(command=" "),
    "a time limit of nothing": lambda plan: first_chunk(plan)["verification"].update(timeout=0),
    "a time limit in words": lambda plan: first_chunk(plan)["verification"].update(timeout="2m"),
    "a time limit for ever": lambda plan: first_chunk(plan)["verification"].update(timeout=10**9),
    "a verification that is a number": lambda plan: first_chunk(plan).update(verification=1),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_schema_and_the_reader_refuse_the_same_mistakes(mistake: str) -> None:
    plan = copy.deepcopy(json.loads(in_the_docs()))
    MISTAKES[mistake](plan)
    assert misfits(plan)
    with pytest.raises(PlanRefused):
        read_plan(json.dumps(plan))
