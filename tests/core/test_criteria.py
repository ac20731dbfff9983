"""What a plan asks of the finished build is read in every shape, and never refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_build.core.acceptance import Acceptance, ApiRequest, Item, Page
from auto_build.core.criteria import MOST_CRITERIA, MOST_ITEMS, read_acceptance
from auto_build.core.planfile import read_plan
from auto_build.core.verification import reads_like_command
from tests.core.test_real_plans import ACCEPTED, text_of


def acceptance(*verifications: Any, **document: Any) -> Acceptance:
    """Read a plan with a chunk for each verification, and further keys of its own."""
    chunks = [
        {"id": f"c{n}", "description": "do it", "verification": one}
        for n, one in enumerate(verifications or [None], start=1)
    ]
    file = read_plan(json.dumps({"phases": [{"id": "p", "chunks": chunks}], **document}))
    return read_acceptance(file.document, file.plan)


def in_short(items: tuple[Item, ...]) -> list[tuple[str, str, object]]:
    """Return the id of each item, its kind, and what is tried, or the words for people."""
    return [
        (item.id, item.kind.value, item.command or item.request or item.page or item.steps)
        for item in items
    ]


def test_verifications_of_chunks_become_items() -> None:
    found = acceptance(
        {"type": "command", "command": "make test", "expected": "All tests pass"},
        {"type": "api", "method": "post", "url": "/x", "body": {"a": 1}, "expected_status": "201"},
        {"type": "api", "url": "/y", "expected_response": {"ok": True}, "contains": "yes"},
        {"type": "browser", "url": "http://localhost:1/", "checks": ["renders"]},
        {"type": "browser", "scenario": "Open http://localhost:1/a and look."},
        {"type": "browser", "scenario": "Open the settings", "checks": ["a switch"]},
        {"type": "e2e", "steps": ["log in", "log out"]},
        {"type": "manual", "instructions": "read it"},
        {"manual": "try it"},
        {"type": "none"},
        {"type": "e2e", "command": "npm run e2e", "timeout": 90, "steps": ["log in"]},
        {"type": "api", "command": "curl -f localhost", "expected": "OK"},
        {"type": "api", "method": "GET", "url": "/z", "expected": "HTTP 204", "notes": "empty"},
        {"type": "api", "url": "/z", "status": "200 or 201"},
        {"type": "browser", "command": "Visit http://localhost:1/b", "expected": "a list"},
        "look at it",
    )
    assert in_short(found.items) == [
        ("c1", "command", "make test"),
        ("c2", "api", ApiRequest("POST", "/x", 201, body={"a": 1})),
        ("c3", "api", ApiRequest("GET", "/y", contains=("yes",), json_body={"ok": True})),
        ("c4", "browser", Page("http://localhost:1/", ("renders",))),
        ("c5", "browser", Page("http://localhost:1/a", ())),
        ("c6", "browser", ("Open the settings", "a switch")),
        ("c7", "e2e", ("log in", "log out")),
        ("c8", "manual", ("read it",)),
        ("c9", "manual", ("try it",)),
        ("c11", "command", "npm run e2e"),
        ("c12", "command", "curl -f localhost"),
        ("c13", "api", ApiRequest("GET", "/z", 204)),
        ("c14", "api", ApiRequest("GET", "/z")),
        ("c15", "browser", Page("http://localhost:1/b", ("a list",))),
        ("c16", "manual", ("look at it",)),
    ]
    by_id = {item.id: item for item in found.items}
    assert by_id["c11"].timeout_s == 90
    assert (by_id["c13"].steps, by_id["c14"].steps) == (("empty",), ("200 or 201",))
    assert {item.chunk for item in found.items} == {item.id for item in found.items}


def test_what_the_plan_itself_asks_becomes_criteria_and_items_each_once() -> None:
    found = acceptance(
        {"type": "command", "command": "npm test"},
        verification_strategy={
            "acceptance_criteria": ["it works", "it is quick", ""],
            "verification_steps": [
                {"name": "Units", "command": "npm test", "expected_outcome": "All tests pass"},
                {"name": "Lint", "command": "npm run lint", "required": True, "blocking": False},
                {
                    "name": "See",
                    "command": "Manual: open http://localhost:1/a, http://localhost:1/b",
                },
                {"name": "Log", "command": "Check the log", "expected_outcome": "quiet"},
            ],
        },
        qa_acceptance={
            "unit_tests": {"required": True, "commands": ["npm run lint"], "minimum_coverage": 80},
            "e2e_tests": {"required": False, "commands": ["manual"], "flows": ["buy"]},
            "browser_verification": {"pages": [{"url": "http://localhost:1/", "checks": ["ok"]}]},
            "database_verification": {"required": True, "checks": ["migrated", "filled"]},
            "odd": {"what": "ever"},
            "more": ["npm audit", 5, {"command": "npm ls", "name": "x"}],
            "none": {"required": False, "commands": []},
        },
        final_acceptance=["it works", "it is small"],
    )
    assert found.criteria == (
        "it works",
        "it is small",
        "it is quick",
        "unit tests cover at least 80 %",
    )
    assert in_short(found.items) == [
        ("c1", "command", "npm test"),
        ("Lint", "command", "npm run lint"),
        ("See", "browser", Page("http://localhost:1/a")),
        ("See (2)", "browser", Page("http://localhost:1/b")),
        ("Log", "manual", ("Check the log", "expected_outcome: quiet")),
        ("e2e tests", "e2e", ("buy",)),
        ("browser verification", "browser", Page("http://localhost:1/", ("ok",))),
        ("database verification", "manual", ("migrated",)),
        ("database verification (2)", "manual", ("filled",)),
        ("odd", "manual", ('{"what": "ever"}',)),
        ("more", "command", "npm audit"),
        ("more (2)", "manual", ("5",)),
        ("more (3)", "command", "npm ls"),
    ]
    assert [item.id for item in found.items if not item.required] == ["e2e tests"]


def test_what_is_more_than_fits_is_counted() -> None:
    many = [f"criterion {n}" for n in range(MOST_CRITERIA + 3)]
    commands = [f"test {n}" for n in range(MOST_ITEMS + 4)]
    found = acceptance(final_acceptance=many, qa_acceptance={"unit_tests": {"commands": commands}})
    assert (len(found.criteria), len(found.items)) == (MOST_CRITERIA, MOST_ITEMS)
    assert found.left_out == 7


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        ("cd frontend && npm test", True),
        ("./gradlew lint", True),
        ("NODE_ENV=test npm run e2e", True),
        ("test -f app.apk && echo 'APK exists'", True),
        ("check-jsonschema a.json", True),
        ("Rscript tests.R", True),
        ("open-api-lint x", True),
        ("Navigate to http://localhost:3000/sync-1c", False),
        ("Manual: Open http://localhost:5173", False),
        ("manual", False),
        ("N/A", False),
        ("", False),
        ("verify that it works", False),
        ("open the settings page", False),
        ("http://localhost:3000", False),
        ("1. Configure it", False),
        ("Run the tests", False),
    ],
)
def test_a_command_is_told_from_a_sentence(text: str, is_command: bool) -> None:
    assert reads_like_command(text) is is_command


KINDS = {  # how many criteria, and items of each kind, some real plans come to
    "AndyMik90__Auto-Claude__001-git-integration-for-template-storage": (7, 9, 2, 4, 6, 3),
    "Roughriver74__west_rashod__003-you-ve-hit-your-limit-resets-4pm-europe-moscow@b24ccd6a": (
        (6, 2, 0, 6, 0, 0)
    ),
    "dislovelhl__acgs2__004-set-up-your-teams": (6, 0, 0, 0, 0, 9),
    "sipsyai__claude_agent_ui__009-fix-api-errors-and-react-router-deprecation-warnin@74dbd296": (
        (8, 9, 3, 13, 3, 0)
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_real_plans_say_what_they_ask(name: str) -> None:
    file = read_plan(text_of(name))
    found = read_acceptance(file.document, file.plan)
    kinds = [item.kind.value for item in found.items]
    counted = [kinds.count(kind) for kind in ("command", "api", "browser", "e2e", "manual")]
    assert len({item.id for item in found.items}) == len(found.items)
    assert found.left_out == 0
    assert (len(found.criteria), *counted) == KINDS.get(name, (len(found.criteria), *counted))


KEYS = st.sampled_from(
    [
        *("type", "name", "required", "blocking", "command", "run", "expected"),
        *("method", "url", "body", "status", "headers", "expected_status", "contains", "json"),
        *("scenario", "instructions", "checks", "steps", "pages", "commands", "flows"),
        *("acceptance_criteria", "verification_steps", "minimum_coverage", "unit_tests"),
    ]
)
WORDS = st.sampled_from(["api", "browser", "manual", "command", "http://a/{b}", "GET", "200"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(), inner, max_size=5)
    ),
    max_leaves=12,
)
PLAN = read_plan(
    json.dumps(
        {"phases": [{"chunks": [{"id": "c1", "verification": {"type": "api", "url": "x"}}]}]}
    )
).plan


@settings(max_examples=40)
@given(VALUES, VALUES, VALUES, VALUES)
def test_no_shape_is_too_odd(strategy: Any, acceptance: Any, criteria: Any, own: Any) -> None:
    document = {
        "verification_strategy": strategy,
        "qa_acceptance": acceptance,
        "final_acceptance": criteria,
        "verification_steps": own,
        "phases": [{"chunks": [{"id": "c1", "verification": own}]}],
    }
    found = read_acceptance(document, PLAN)
    assert len({item.id for item in found.items}) == len(found.items)
