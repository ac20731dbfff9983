"""`plan draft` and `spec new` as a user types them: what is shown, asked, written and left."""

import json
import os
import pty
import signal
import subprocess  # noqa: TID251 - what the user types is a process of its own
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auto_build.journal import RunLock
from tests.e2e.commands import LIMIT_S, Typed, auto_build
from tests.e2e.project import SPEC, Json, Project, Step, chunk, hang, phase, shell, spend, write
from tests.stubs import acts
from tests.stubs.server import BAD_KEY, ModelStub

PLAN: Json = {
    "feature": "Text statistics",
    "phases": [
        phase(
            "p1",
            chunk("words", files=["words.py"], verify="test -e words.py"),
            chunk("lines", files=["lines.py"], verify="test -e lines.py"),
        )
    ],
}
CYCLE: Json = {
    "feature": "Text statistics",
    "phases": [phase("p1", chunk("a", after=["b"]), chunk("b", after=["a"]))],
}


def answer(value: Any) -> Step:
    return {"do": "answer", "value": value}


def spec_answer(text: str, *questions: str) -> Step:
    told = {"title": "Count words", "slug": "count-words", "spec_markdown": text}
    return answer({**told, "questions": list(questions)})


@pytest.fixture
def specified(project: Project) -> Project:
    """Return a project with a spec that has no plan, whose builders know what to do."""
    project.remembers = True
    project.write(f"auto-build/specs/{SPEC}/spec.md", "# Text statistics\nCount words, lines.\n")
    project.agent("words", write("words.py"))
    project.agent("lines", write("lines.py"))
    return project


def kept(project: Project) -> list[Path]:
    return sorted((project.path / ".git" / "auto-build" / "drafts").glob("*"))


def at_a_terminal(
    project: Project, *args: str, said: str, env: dict[str, str] | None = None
) -> Typed:
    """Type a command at a terminal, and then what it asks for; `^D` stands for having enough."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, said.replace("^D", "\x04").encode())  # kept until it is read
        return Typed(
            subprocess.run(
                (sys.executable, "-m", "auto_build", *args),
                cwd=project.path,
                env={**os.environ, **(env or {})},
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        )
    finally:
        os.close(ours)
        os.close(theirs)


def begin_drafting(project: Project) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        (sys.executable, "-m", "auto_build", "plan", "draft", "001", "--yes"),
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def planner_of(project: Project) -> Path:
    return project.path / ".worktrees" / "auto-build-planner"


# --- plan draft -----------------------------------------------------------------------------------


def test_a_drafted_plan_is_shown_with_what_it_gains_and_cost_and_can_be_run(
    specified: Project,
) -> None:
    specified.agent("plan", spend(0.25, tokens=900), answer(PLAN))
    specified.watch()

    drafted = auto_build(specified, "plan", "draft", "001", "--yes")

    assert drafted.code == 0, drafted.err
    assert "verify  command: test -e words.py" in drafted.out
    assert "2 workers 2.00x" in drafted.out
    assert "drafted by scripted in 1 round: $0.25, 900 tokens (as the agents say)" in drafted.out
    assert "auto-build run 001" in drafted.out
    assert kept(specified) == []
    assert auto_build(specified, "plan", "check", "001").code == 0
    ran = auto_build(specified, "run", "001", "--json")
    assert ran.code == 0, ran.out
    assert specified.plan_document()["drafted_by"]["cost_usd"] == 0.25


def test_nobody_to_ask_writes_nothing_and_loses_nothing(specified: Project) -> None:
    specified.agent("plan", answer(PLAN))
    specified.watch()

    drafted = auto_build(specified, "plan", "draft", "001")

    assert drafted.code == 2
    assert "no terminal" in drafted.err
    assert not specified.plan_path().exists()
    _, _, way = drafted.err.partition("to take this one: ")
    subprocess.run(("sh", "-c", way.strip()), check=True, timeout=LIMIT_S)
    assert specified.plan_document()["feature"] == "Text statistics"
    assert auto_build(specified, "plan", "check", "001").code == 0


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("n\n", 1), ("^D", 130)])
def test_a_person_decides_at_the_terminal(specified: Project, said: str, code: int) -> None:
    specified.agent("plan", answer(PLAN))
    specified.watch()

    drafted = at_a_terminal(specified, "plan", "draft", "001", said="maybe\n" + said)

    assert drafted.code == code, drafted.err
    assert specified.plan_path().exists() == (code == 0)
    assert bool(kept(specified)) == (code != 0)
    if code:
        assert str(kept(specified)[0]) in drafted.out + drafted.err


def test_a_program_is_told_everything_in_one_value(specified: Project) -> None:
    specified.agent("plan", write("stray.txt"), answer(PLAN))
    specified.watch()

    asked = auto_build(specified, "plan", "draft", "001", "--json")
    assert asked.code == 2
    assert (asked.value["written"], asked.value["kept"]) == (False, str(kept(specified)[0]))
    assert "--yes" in asked.value["hint"]
    assert not specified.plan_path().exists()

    drafted = auto_build(specified, "plan", "draft", "001", "--json", "--yes")
    assert drafted.code == 0
    assert drafted.value["written"]
    assert drafted.value["speedups"]["2"] == 2.0
    assert drafted.value["drafted_by"]["agent"] == "scripted"
    (warning,) = drafted.value["warnings"]
    assert "stray.txt" in warning
    assert drafted.err == ""


def test_a_plan_that_is_there_is_seen_before_anything_is_paid(specified: Project) -> None:
    specified.plan_of(chunk("mine"))
    specified.agent("plan", answer(PLAN))
    specified.watch()
    before = specified.plan_path().read_text()

    refused = auto_build(specified, "plan", "draft", "001", "--yes")

    assert refused.code == 2
    assert "--force" in refused.err
    assert specified.plan_path().read_text() == before
    assert not (specified.path / ".git/auto-build/logs" / SPEC / "drafting").exists()
    assert auto_build(specified, "plan", "draft", "001", "--yes", "--force").code == 0
    assert specified.plan_document()["feature"] == "Text statistics"


def test_no_plan_is_drafted_while_the_spec_is_built(specified: Project) -> None:
    specified.agent("plan", answer(PLAN))
    with RunLock.acquire(specified.path / ".git/auto-build", SPEC):
        refused = auto_build(specified, "plan", "draft", "001", "--yes", "--force")
    assert refused.code == 4
    assert "is building 001-demo" in refused.err


def test_a_run_that_began_meanwhile_keeps_its_plan_and_the_draft_is_kept(
    specified: Project,
) -> None:
    specified.agent("plan", shell("touch begun; while ! test -e go; do sleep 0.05; done"))
    specified.agent("plan", answer(PLAN), round=1)
    drafting = begin_drafting(specified)
    specified.wait_until_exists(planner_of(specified) / "begun")
    with RunLock.acquire(specified.path / ".git/auto-build", SPEC):
        (planner_of(specified) / "go").touch()
        out, err = drafting.communicate(timeout=LIMIT_S)
    assert drafting.returncode == 4, out + err
    assert f"the draft is kept: {kept(specified)[0]}" in err
    assert not specified.plan_path().exists()


def test_three_bad_rounds_write_nothing(specified: Project) -> None:
    for number in range(3):
        specified.agent("plan", answer(CYCLE), round=number)
    specified.watch()

    drafted = auto_build(specified, "plan", "draft", "001", "--yes")

    assert drafted.code == 1
    assert "go in a circle" in drafted.err
    assert not specified.plan_path().exists()
    assert kept(specified) == []


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [
        ({"do": "ask", "text": "Which database?"}, 1, "the agent asks: Which database?"),
        ({"do": "stop", "stop": "auth", "text": "401"}, 3, "log in again"),
        ({"do": "limit", "reset_in_s": 60}, 1, "until "),
        ({"do": "raise", "text": "a bug"}, 1, "agent.log"),
    ],
)
def test_a_planner_that_does_not_answer_ends_with_a_word_and_a_code(
    specified: Project, step: Step, code: int, said: str
) -> None:
    specified.agent("plan", step)
    specified.watch()
    drafted = auto_build(specified, "plan", "draft", "001", "--yes")
    assert (drafted.code, said in drafted.err) == (code, True), drafted.err
    assert not specified.plan_path().exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_planner_that_is_broken_off_leaves_nothing(
    specified: Project, number: signal.Signals
) -> None:
    specified.agent("plan", shell("touch begun"), hang())
    specified.watch()
    drafting = begin_drafting(specified)
    specified.wait_until_exists(planner_of(specified) / "begun")
    drafting.send_signal(number)
    _, err = drafting.communicate(timeout=LIMIT_S)
    assert drafting.returncode == 130, err
    assert "interrupted" in err
    assert not (specified.path / ".worktrees").exists()


def test_after_a_kill_the_next_draft_finds_a_clean_place(specified: Project) -> None:
    specified.agent("plan", shell("touch begun; sleep 300 & sleep 300"))
    specified.watch()
    drafting = begin_drafting(specified)
    specified.wait_until_exists(planner_of(specified) / "begun")
    drafting.kill()
    drafting.communicate(timeout=LIMIT_S)

    specified.agent_forgets()
    specified.agent("plan", shell("ls > seen; ! grep begun seen && rm seen"), answer(PLAN))
    drafted = auto_build(specified, "plan", "draft", "001", "--yes")

    assert drafted.code == 0, drafted.err
    assert "undone" not in drafted.err
    assert not (specified.path / ".worktrees").exists()
    specified.wait_until_processes_are_gone()


def test_who_drafts_writes_no_refs_of_the_users(specified: Project) -> None:
    specified.agent("plan", shell("! git branch stray"), answer(PLAN))
    before = specified.git("for-each-ref")

    drafted = auto_build(specified, "plan", "draft", "001", "--yes")

    assert drafted.code == 0, drafted.err
    assert specified.git("for-each-ref") == before


def test_prompts_of_the_projects_own_are_looked_at_before_anything_is_paid(
    specified: Project,
) -> None:
    specified.write("auto-build/prompts/plan.md", "Plan it, $spek\n")
    specified.agent("plan", answer(PLAN))
    refused = auto_build(specified, "plan", "draft", "001", "--yes")
    assert refused.code == 2
    assert "auto-build/prompts/plan.md:1: $spek stands for nothing" in refused.err


# --- spec new -------------------------------------------------------------------------------------


@pytest.fixture
def wished(project: Project) -> Project:
    """Return a project without any spec; its agent plays a script at the project's top."""
    settings = (project.path / "auto-build.toml").read_text()
    project.write("auto-build.toml", settings.replace("{spec_dir}/script.json", "script.json"))
    return project


def script(project: Project, *rounds: list[Step]) -> None:
    turns = [
        {"chunk": "spec", "round": number, "steps": steps} for number, steps in enumerate(rounds)
    ]
    project.write("script.json", json.dumps({"remembers": True, "turn": turns}))


def spec_of(project: Project) -> str:
    return (project.path / "auto-build/specs/001-count-words/spec.md").read_text()


def test_a_sentence_becomes_a_spec_whose_questions_are_open(wished: Project) -> None:
    script(wished, [spend(0.1), spec_answer("# Count words", "Which words?")])
    with wished.user_acts():
        made = auto_build(wished, "spec", "new", "count the words")
    assert made.code == 0, made.err
    assert "open     Which words?" in made.out
    assert "$0.10" in made.out
    assert "auto-build plan draft 001-count-words" in made.out
    assert spec_of(wished) == "# Count words\n\n## Open points\n\n- Which words?\n"


def test_questions_are_answered_at_the_terminal(wished: Project) -> None:
    script(
        wished,
        [spec_answer("# Count words", "Which words?", "How fast?")],
        [spec_answer("# Count all words")],
    )
    with wished.user_acts():
        made = at_a_terminal(wished, "spec", "new", "count the words", said="all\n\n")
    assert made.code == 0, made.err
    assert spec_of(wished) == "# Count all words\n\n## Open points\n\n- How fast?\n"
    assert kept(wished) == []


def test_a_first_draft_is_kept_where_the_questions_are_broken_off(wished: Project) -> None:
    script(wished, [spec_answer("# Count words", "Which words?")])
    wished.watch()
    made = at_a_terminal(wished, "spec", "new", "count the words", said="^D")
    assert made.code == 130
    (path,) = kept(wished)
    assert str(path) in made.err
    assert path.read_text().startswith("# Count words")


def test_a_spec_can_be_begun_without_any_model(project: Project) -> None:
    project.write("auto-build.toml", "")
    with project.user_acts():
        made = auto_build(project, "spec", "new", "Count words", "--no-agent", "--json")
    assert made.code == 0, made.err
    assert made.value["spec"] == "001-count-words"
    assert made.value["drafted_by"] is None
    assert spec_of(project).startswith("# Count words\n\nCount words\n")
    with project.user_acts():
        again = auto_build(project, "spec", "new", "Count words", "--no-agent")
    assert "002-count-words" in again.out
    assert "skeleton" not in again.err


def test_an_empty_sentence_is_no_wish(project: Project) -> None:
    refused = auto_build(project, "spec", "new", "  ")
    assert refused.code == 2
    assert not (project.path / "auto-build").exists()


# --- the real Claude Code, with a model that plays a scenario ------------------------------------

_CLAUDE = """
[run]
agent = "claude"
[agents.claude]
kind = "claude"
"""


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    pytest.importorskip("claude_agent_sdk")
    with ModelStub() as models:
        yield models


def asking(url: str) -> dict[str, str]:
    """Return the environment in which Claude asks the models at an address, and nobody else."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
    }


def test_claude_mends_its_plan_in_one_conversation(specified: Project, stub: ModelStub) -> None:
    specified.write("auto-build.toml", _CLAUDE)
    specified.watch()
    url = stub.play("plan", acts.Say("I look."), acts.Answer(CYCLE), acts.Answer(PLAN))

    drafted = auto_build(specified, "plan", "draft", "001", "--yes", "--json", env=asking(url))

    assert drafted.code == 0, drafted.out + drafted.err
    assert specified.plan_document()["feature"] == "Text statistics"
    assert drafted.value["drafted_by"]["rounds"] == 2
    assert drafted.value["drafted_by"]["cost_usd"] > 0
    first, *_, last = stub.served("plan")
    assert not {"Write", "Edit", "Bash"} & set(first.talk.tools), "it could write"
    assert "go in a circle" in last.prompt
    assert "Count words, lines." in last.talk.prompts[0]
    assert stub.requests_other == ()


def test_claude_goes_on_with_the_answers_in_a_new_process(
    project: Project, stub: ModelStub
) -> None:
    project.write("auto-build.toml", _CLAUDE)
    told = {"title": "Count words", "slug": "count-words"}
    url = stub.play(
        "spec",
        acts.Answer({**told, "spec_markdown": "# Count words", "questions": ["Which words?"]}),
        acts.Answer({**told, "spec_markdown": "# Count all words", "questions": []}),
    )

    with project.user_acts():
        made = at_a_terminal(
            project, "spec", "new", "count the words", said="all\n", env=asking(url)
        )

    assert made.code == 0, made.err
    assert spec_of(project) == "# Count all words\n"
    *_, last = stub.served("spec")
    assert "Which words?\n  all" in last.prompt
    assert any("count the words" in one for one in last.talk.prompts), "it was begun anew"
    assert "count the words" not in last.prompt


def test_claude_without_a_login_is_an_error_before_anything_is_asked(
    specified: Project, stub: ModelStub
) -> None:
    specified.write("auto-build.toml", _CLAUDE)
    specified.watch()
    env = {**asking(stub.play("plan", acts.Answer(PLAN))), "ANTHROPIC_API_KEY": BAD_KEY}

    drafted = auto_build(specified, "plan", "draft", "001", "--yes", env=env)

    assert drafted.code == 3, drafted.out + drafted.err
    assert not specified.plan_path().exists()


# --- a run without a plan -------------------------------------------------------------------------


def test_a_run_without_a_plan_has_one_drafted_and_builds_it(specified: Project) -> None:
    specified.agent("plan", answer(PLAN))
    with specified.user_acts():
        typed = auto_build(specified, "run", "001", "--yes")
    assert typed.code == 0, typed.err
    assert "written to" in typed.out
    assert sorted(specified.landings()) == ["lines", "words"]


def test_a_run_without_a_plan_and_without_anybody_to_ask_builds_nothing(
    specified: Project,
) -> None:
    specified.agent("plan", answer(PLAN))
    typed = auto_build(specified, "run", "001")
    assert typed.code == 2
    assert "--yes" in typed.err
    assert not specified.plan_path().exists()


def test_a_run_without_a_plan_tells_programs_one_value_a_line(specified: Project) -> None:
    specified.agent("plan", answer(PLAN))
    with specified.user_acts():
        typed = auto_build(specified, "run", "001", "--yes", "--json")
    told = [json.loads(line) for line in typed.out.splitlines()]
    assert told[0]["written"]
    assert told[-1]["finished"]
