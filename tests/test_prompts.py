"""What agents are told, and a project's own words in place of ours."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auto_build.core.claims import Claim
from auto_build.core.plan import Chunk, ChunkId, Verification, VerificationKind
from auto_build.errors import UsageProblem
from auto_build.prompts import PLACEHOLDERS, Prompts, load_instructions

CHUNK = Chunk(
    id=ChunkId("words"),
    title="Count words",
    description="Write count_words.",
    claims=(Claim.parse("text/words.py"),),
    verification=Verification(kind=VerificationKind.COMMAND, command="pytest -q"),
)
HUMAN = "# What people have said"
INSTRUCTIONS = "# What this repository says to agents"


def implement(prompts: Prompts, **more: str) -> str:
    return prompts.implement(
        CHUNK,
        spec="001-text",
        spec_text="Count things.",
        held=[(ChunkId("lines"), (Claim.parse("text/lines.py"),))],
        checks=["make lint"],
        **more,
    )


ALL: dict[str, Callable[[Prompts], str]] = {
    "implement": implement,
    "repair": lambda prompts: prompts.repair(CHUNK, feedback="red", round_=1, rounds=2),
    "fix": lambda prompts: implement(prompts, request="QA_FIX_REQUEST.md"),
    "review": lambda prompts: prompts.review(
        round_=1,
        commit="c0ffee",
        spec="001",
        spec_text="Count.",
        criteria=["it counts"],
        items=["make: green"],
        chunks=["words"],
        stat="1 file",
        diff="+ a",
        patch="changes.diff",
    ),
    "review-again": lambda prompts: prompts.review_again(["there was no answer"]),
    "resume": lambda prompts: prompts.resume(CHUNK, why="rate-limit"),
    "together": lambda prompts: prompts.together([(CHUNK, "+ a"), (CHUNK, "+ b")]),
    "resolve": lambda prompts: prompts.resolve(
        CHUNK, paths=["a.py"], said="- both changed it", sides=[(CHUNK, "+ a"), (CHUNK, "+ b")]
    ),
    "conflict": lambda prompts: prompts.conflict_note(["a.py"], "refs/x"),
    "again": lambda prompts: prompts.again_note("crashed", "it broke", "refs/x"),
    "plan": lambda prompts: prompts.plan(spec="001", spec_text="Count.", form="{}"),
    "plan-again": lambda prompts: prompts.plan_again(["$.x: is missing"], valid=False),
    "spec": lambda prompts: prompts.spec("count words"),
    "spec-again": lambda prompts: prompts.spec_again([("Which?", "")]),
}


def own(project: Path, name: str, text: str) -> Path:
    path = project / "auto-build" / "prompts" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- ours -----------------------------------------------------------------------------------------


def test_every_prompt_has_a_template_with_a_version_and_all_its_placeholders(
    tmp_path: Path,
) -> None:
    for name in PLACEHOLDERS:
        text = (Path(_folder()) / f"{name}.md").read_text()
        assert text.startswith(f"<!-- auto-build prompt: {name}, version "), name
        assert all(f"${word}" in text for word in PLACEHOLDERS[name]), name
        own(tmp_path, name, text)  # what is copied as it stands can be used as it stands
    assert Prompts.load(tmp_path).outdated == ()


def _folder() -> str:
    return str(Path(__file__).parents[1] / "src/auto_build/prompts")


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_what_is_sent_has_no_version_line_and_no_placeholder(name: str) -> None:
    sent = ALL[name](Prompts.load())
    assert "auto-build prompt:" not in sent
    assert not any(f"${word}" in sent for word in PLACEHOLDERS[name])
    assert "\n\n\n" not in sent


def test_an_agent_is_told_its_whole_task() -> None:
    sent = implement(Prompts.load())
    assert "# Your chunk: words — Count words" in sent
    assert "Write count_words." in sent
    assert "- text/words.py" in sent
    assert "- text/lines.py (chunk lines)" in sent
    assert "- `pytest -q`\n- `make lint`" in sent
    assert "# The specification (001-text), for context\n\nCount things." in sent
    assert "`QUESTION:`" in sent


def test_what_nobody_said_leaves_no_heading() -> None:
    sent = implement(Prompts.load())
    assert HUMAN not in sent
    assert INSTRUCTIONS not in sent


def test_what_people_said_stands_before_the_work_itself() -> None:
    sent = implement(Prompts.load(), human="Use no regular expressions.")
    assert sent.index(HUMAN) < sent.index("Use no regular") < sent.index("# Your chunk")


@pytest.mark.parametrize("way", ["repair", "resume"])
def test_what_people_said_reaches_an_agent_that_goes_on(way: str) -> None:
    prompts = Prompts.load()
    sent = {
        "repair": prompts.repair(CHUNK, feedback="red", round_=1, rounds=2, human="Be quick."),
        "resume": prompts.resume(CHUNK, why="rate-limit", human="Be quick."),
    }[way]
    assert f"{HUMAN}: it comes before all else\n\nBe quick." in sent


def test_a_repair_names_its_chunk_its_round_and_what_is_red() -> None:
    sent = Prompts.load().repair(CHUNK, feedback="1 failed", round_=1, rounds=2)
    assert "on chunk words (Count words)" in sent
    assert "repair round 1 of 2" in sent
    assert "1 failed" in sent


def test_an_earlier_attempt_can_be_looked_at_where_it_left_something() -> None:
    prompts = Prompts.load()
    note = prompts.again_note("timeout", "stopped after 60 min", "refs/auto-build/attempts/a/b/1")
    assert note.startswith("# An earlier attempt\n")
    assert "(timeout)" in note
    assert "git show refs/auto-build/attempts/a/b/1" in note
    assert "git show" not in prompts.again_note("timeout", "stopped after 60 min", "")
    assert prompts.conflict_note(["a.py"], "refs/x").startswith("# An earlier attempt\n")


def test_a_long_specification_is_cut_and_says_so() -> None:
    sent = Prompts.load().plan(spec="001", spec_text="x" * 70_000, form="{}")
    assert "(cut here: the spec is longer)" in sent
    assert len(sent) < 70_000


def test_dollars_in_what_is_told_stay_as_they_are() -> None:
    sent = Prompts.load().repair(CHUNK, feedback="$title costs $5", round_=1, rounds=2)
    assert "$title costs $5" in sent


# --- the project's own ----------------------------------------------------------------------------


def test_a_project_says_it_in_its_own_words(tmp_path: Path) -> None:
    own(tmp_path, "conflict", "Again, because of\n$paths\nSee $pin. It costs $$5.\n")
    prompts = Prompts.load(tmp_path)
    assert prompts.conflict_note(["a.py"], "refs/x") == (
        "Again, because of\n- a.py\nSee refs/x. It costs $5.\n"
    )
    assert "# Your chunk" in implement(prompts), "the other prompts are no longer ours"


def test_everything_wrong_with_a_projects_prompts_is_said_at_once_with_its_place(
    tmp_path: Path,
) -> None:
    own(tmp_path, "conflict", "first line\nsee $pins and $paths\n")
    own(tmp_path, "plan-again", "$verdict $problems\n\nfor $5\n")
    own(tmp_path, "implment", "x\n")
    there = ", ".join(PLACEHOLDERS)

    with pytest.raises(UsageProblem) as found:
        Prompts.load(tmp_path)

    assert str(found.value).splitlines()[1:] == [
        "  auto-build/prompts/conflict.md:2: $pins stands for nothing (known: $paths, $pin)",
        "  auto-build/prompts/conflict.md: $pin is missing (known: $paths, $pin)",
        (
            f"  auto-build/prompts/implment.md: there is no such prompt (there are: {there});"
            " did you mean implement.md?"
        ),
        "  auto-build/prompts/plan-again.md:3: a $ that is meant as itself is written $$",
    ]


def test_a_project_may_leave_out_what_an_agent_can_read_by_itself(tmp_path: Path) -> None:
    words = set(PLACEHOLDERS["implement"]) - {"spec", "spec_text", "instructions"}
    own(tmp_path, "implement", " ".join(f"${word}" for word in sorted(words)))
    assert "Count things." not in implement(Prompts.load(tmp_path))


def test_a_prompt_made_from_an_older_one_is_pointed_out(tmp_path: Path) -> None:
    own(tmp_path, "conflict", "<!-- auto-build prompt: conflict, version 1 -->\n$paths $pin\n")
    prompts = Prompts.load(tmp_path)
    assert prompts.conflict_note(["a"], "p") == "- a p\n"
    (outdated,) = prompts.outdated
    assert outdated.startswith("auto-build/prompts/conflict.md was made from version 1")
    assert outdated.endswith("it is now at version 2")


def test_a_prompt_that_is_no_text_is_named(tmp_path: Path) -> None:
    own(tmp_path, "repair", "").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match=r"repair\.md cannot be read"):
        Prompts.load(tmp_path)


def test_a_readme_beside_the_prompts_is_none(tmp_path: Path) -> None:
    own(tmp_path, "README", "Our prompts.")
    assert Prompts.load(tmp_path).outdated == ()


# --- what the repository says ---------------------------------------------------------------------


def test_a_repository_that_says_nothing_adds_nothing(tmp_path: Path) -> None:
    assert load_instructions(tmp_path) == ""


def test_both_files_are_taken_along_each_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Use tabs.\n")
    (tmp_path / "CLAUDE.md").write_text("@AGENTS.md\nRun make.\n")
    assert load_instructions(tmp_path) == (
        '<file path="AGENTS.md">\nUse tabs.\n</file>\n\n<file path="CLAUDE.md">\nRun make.\n</file>'
    )


@pytest.mark.parametrize("other", ["@AGENTS.md", "@./AGENTS.md \n", "Use tabs."])
def test_the_same_is_not_said_twice(tmp_path: Path, other: str) -> None:
    (tmp_path / "AGENTS.md").write_text("Use tabs.\n")
    (tmp_path / "CLAUDE.md").write_text(other)
    assert load_instructions(tmp_path).count("<file") == 1


def test_what_a_repository_says_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "CLAUDE.md").write_text("x" * 30_000)
    told = load_instructions(tmp_path)
    assert len(told) < 20_200
    assert "(cut here: the file is longer)" in told
    assert INSTRUCTIONS in implement(Prompts.load(), instructions=told)
