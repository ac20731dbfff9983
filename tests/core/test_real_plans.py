"""Plans that users of such tools committed to public repositories, read as they are.

The files are not part of this project; where they are absent, these tests are skipped.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auto_build.core.dialects import CHUNKS, FileStatus
from auto_build.core.document import PlanRefused
from auto_build.core.estimate import simulate
from auto_build.core.planfile import MARK, PlanFile, read_plan, write_statuses

FOLDER = Path(__file__).parents[3] / "shared" / "plans"


@dataclass(frozen=True)
class Facts:
    """What a plan holds; `at_once` chunks can start with as many workers as one likes."""

    phases: int
    chunks: int
    claims: int
    dependencies: int
    at_once: int


ACCEPTED = {
    "AndyMik90__Auto-Claude__001-git-integration-for-template-storage": Facts(5, 18, 20, 5, 4),
    "AndyMik90__Auto-Claude__003-bug-on-manual-tasks@c0fe5a4e": Facts(1, 2, 2, 0, 2),
    "AndyMik90__Auto-Claude__023-fix-overlapping-close-button-styling": Facts(1, 2, 2, 0, 2),
    "Roughriver74__west_rashod__003-you-ve-hit-your-limit-resets-4pm-europe-moscow@b24ccd6a": (
        Facts(2, 8, 6, 1, 1)
    ),
    "SmolaGen__TMS__002-wait-time-analytics": Facts(5, 9, 9, 4, 1),
    "SmolaGen__TMS__003-customer-notification-system": Facts(4, 6, 7, 3, 2),
    "afilimets-ai__inventory-apk__001-initialize-project-scaffolding-with-standard-andro": (
        Facts(6, 19, 29, 5, 5)
    ),
    "ajianaz__glm-proxy__001-admin-api-for-crud-operations@f182714b": Facts(8, 41, 0, 0, 8),
    "ajianaz__glm-proxy__002-web-dashboard-for-api-key-management": Facts(5, 27, 55, 0, 14),
    "appbieger__rita-tomforde__002-ich-m-chte-das-die-seite-eine-tintcolor-die-ich-ze@9a2a298d": (
        Facts(1, 1, 1, 0, 1)
    ),
    "dislovelhl__acgs2__004-set-up-your-teams": Facts(3, 5, 0, 2, 1),
    "dislovelhl__acgs2__039-add-consistent-focus-ring-styles-to-all-interactiv": (
        Facts(6, 18, 18, 28, 1)
    ),
    "dustsucker__thunderbird-email-ai-assistant__008-implement-bayes-classifier-for-llm-credit-"
    "optimiza": Facts(6, 17, 19, 6, 3),
    "sipsyai__claude_agent_ui__003-create-architecture-documentation-with-system-diag@4d89e600": (
        Facts(3, 13, 8, 0, 9)
    ),
    "sipsyai__claude_agent_ui__009-fix-api-errors-and-react-router-deprecation-warnin@74dbd296": (
        Facts(7, 15, 12, 13, 2)
    ),
    "sipsyai__claude_agent_ui__010-flows-sayfas-n-n-react-flow-ile-s-r-kle-b-rak-ve-a@a77c1cee": (
        Facts(5, 22, 22, 0, 22)
    ),
    "suigenerisde__suigen-website__005-unify-hero-buttons-to-use-button-component-instead"
    "@b2f00554": Facts(3, 9, 8, 0, 2),
    "taskmasterpeace__directors-palette-v2__009-search-functionality-for-wildcard-sidebar": (
        Facts(5, 10, 8, 0, 7)
    ),
    "tfunk1030__pips__005-add-image-stats-diagnostic-endpoint@c55529e4": Facts(4, 7, 5, 6, 1),
    "tfunk1030__pips__009-ai-verification-modal-lacks-keyboard-accessibility@0d65114b": (
        Facts(3, 6, 4, 0, 3)
    ),
}
REFUSED = {
    "ajianaz__glm-proxy__003-integration-test-suite": ("line 6, column 1", "conflict markers"),
    "pankajhirway__authdemo__001-create-demo-ordering-interface@bfbc1c23": (
        "line 958, column 1",
        "cut off",
    ),
}

accepted = pytest.mark.parametrize("name", ACCEPTED)


def text_of(name: str) -> str:
    if not FOLDER.is_dir():
        pytest.skip("the folder with the real plans is not there")
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def facts(file: PlanFile) -> Facts:
    chunks = file.plan.chunks.values()
    return Facts(
        phases=len(file.plan.phases),
        chunks=len(chunks),
        claims=sum(len(chunk.claims) for chunk in chunks),
        dependencies=sum(len(phase.depends_on) for phase in file.plan.phases)
        + sum(len(chunk.depends_on) for chunk in chunks),
        at_once=len(simulate(file.plan, slots=len(chunks)).waves()[0]),
    )


def without_ours(document: Any) -> Any:
    """Return the document without what the tool may write, keys in their order."""
    if isinstance(document, dict):
        return [
            (key, without_ours(value) if key == "phases" or key in CHUNKS else value)
            for key, value in document.items()
            if key not in {"status", MARK}
        ]
    return [without_ours(one) for one in document]


def test_the_table_names_every_plan_there_is() -> None:
    if not FOLDER.is_dir():
        pytest.skip("the folder with the real plans is not there")
    assert {path.stem for path in FOLDER.glob("*.json")} == ACCEPTED.keys() | REFUSED.keys()


@accepted
def test_a_real_plan_means_what_it_says(name: str) -> None:
    assert facts(read_plan(text_of(name))) == ACCEPTED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_file_is_refused_with_the_place_and_the_reason(name: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        read_plan(text_of(name))
    (problem,) = refused.value.problems
    place, reason = REFUSED[name]
    assert problem.what.endswith(f"at {place}")
    assert reason in problem.suggestion


@accepted
@pytest.mark.parametrize("slots", [1, 3])
def test_a_real_plan_can_be_played_to_its_end(name: str, slots: int) -> None:
    plan = read_plan(text_of(name)).plan
    schedule = simulate(plan, slots=slots)
    assert sorted(span.chunk for span in schedule.spans) == sorted(plan.chunks)
    assert schedule.makespan <= len(plan.chunks)


@pytest.mark.parametrize("name", [name for name, of in ACCEPTED.items() if not of.dependencies])
def test_ordered_phases_make_a_plan_without_dependencies_begin_with_its_first(name: str) -> None:
    plan = read_plan(text_of(name), ordered_phases=True).plan
    first = simulate(plan, slots=len(plan.chunks)).waves()[0]
    assert {plan.phase_of[chunk].id for chunk in first} == {plan.phases[0].id}


@accepted
def test_writing_the_statuses_keeps_everything_else(name: str) -> None:
    text = text_of(name)
    file = read_plan(text)
    notes = {chunk: {"status": FileStatus.FAILED.value} for chunk in file.plan.chunks}
    written = write_statuses(file.document, notes)
    assert without_ours(json.loads(written)) == without_ours(json.loads(text))
    again = read_plan(written)
    assert again.plan == file.plan
    assert set(again.statuses.values()) == {FileStatus.FAILED}
    assert not again.edited
