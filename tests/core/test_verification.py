"""What planners write under `expected`: output to look for, or a sentence about it."""

import pytest

from auto_build.core.verification import reads_like_output

GRADLE = "./gradlew tasks"


@pytest.mark.parametrize(
    ("expected", "command"),
    [
        ("OK", "python -c 'import app'"),
        ("True", "python -c 'import app; print(app.ready)'"),
        ("null", "jq .error out.json"),
        ("200", "curl -s -o /dev/null -w '%{http_code}' localhost"),
        ("200200200", "for page in a b c; do curl -s -w '%{http_code}' $page; done"),
        ("BUILD SUCCESS", "mvn -q package"),
        ("BUILD SUCCESSFUL", GRADLE),
        ("Gradle 8.2", "./gradlew --version"),
        ("Root project 'inventory-apk'", GRADLE),
        ("compileClasspath", "./gradlew dependencies"),
        ("{1,2,3,4,5}", "shelf rate --help"),
        ("[words ...]", "shelf search --help"),
        ("# Shelf", "shelf export"),
        ("0/24", "shelf goal 24"),
        ("export default App", "grep 'export default App' src/App.tsx"),
        ("all good", "make test && echo all good"),
    ],
)
def test_what_reads_like_output_is_looked_for(expected: str, command: str) -> None:
    assert reads_like_output(expected, command)


@pytest.mark.parametrize(
    "expected",
    [
        "All tests pass",
        "Tests pass",
        "0 errors",
        "0 errors (exit code 0)",
        "No errors",
        "No TypeScript errors",
        "Build succeeds",
        "Build successful",
        "Build tasks available",
        "HTTP 200 or valid JSON response (not 403)",
        "Valid JSON with statistics (not error)",
        "Error throwing pattern present",
        "Command should print index.ts",
        "success",
        "",
        "   ",
    ],
)
def test_a_sentence_is_left_to_the_exit_code(expected: str) -> None:
    assert not reads_like_output(expected, "npm test")


def test_a_word_is_output_where_the_command_prints_it_itself() -> None:
    assert not reads_like_output("finished", "make test")
    assert reads_like_output("finished", "make test && echo finished")
