"""Inputs: a check is left out only if nothing that its command can read has changed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auto_build.core.inputs import inputs_of, untouched

MANIFEST = "app/src/main/AndroidManifest.xml"
STRINGS = "app/src/main/res/values/strings.xml"
FLOW_API = "src/web/manager/services/flow-api.ts"


# --- what planners write -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("test -d app/src/main/java/com && echo 'OK'", {"app/src/main/java/com"}),
        (f"grep -q 'MainActivity' {MANIFEST} && echo 'OK'", {MANIFEST}),
        ("grep -q 'class App : Application' app/App.kt && echo 'OK'", {"app/App.kt"}),
        ("test -f app/res/layout/main.xml && echo 'OK'", {"app/res/layout/main.xml"}),
        (f"grep -q 'app_name' {STRINGS} && echo 'OK'", {STRINGS}),
        ("grep -q 'build/' .gitignore && echo 'OK'", {".gitignore"}),
        ("test -f build/apk/app-debug.apk && echo 'APK exists'", {"build/apk/app-debug.apk"}),
        ("grep '@thomaschampagne/naive-bayes' package.json", {"package.json"}),
        ("grep 'unlimitedStorage' manifest.json", {"manifest.json"}),
        ('grep -n "localhost:3001" app/main.py', {"app/main.py"}),
        (f"grep -A 5 'if (!response.ok)' {FLOW_API} | head -30", {FLOW_API}),
        ("cat README.md docs/guide.md | grep -c '## '", {"README.md", "docs/guide.md"}),
        ("bash -n scripts/run.sh", {"scripts/run.sh"}),
        ("grep -rn 'TODO' src tests/ | wc -l", {"src", "tests"}),
        ('! grep -rq "console\\.log" src/', {"src"}),
        ("grep -E '(zustand|axios)' web/package.json", {"web/package.json"}),
        ("grep -e one -e two --ignore-case notes.txt", {"notes.txt"}),
        ("cat a.txt 2>&1 | grep -qe one", {"a.txt"}),
        ("grep -rnA5 foo src", {"src"}),
        ("grep -- -x notes.txt", {"notes.txt"}),
        ("grep one a.txt | grep -v two", {"a.txt"}),
        ("egrep 'a|b' x.txt; fgrep '$' y.txt;", {"x.txt", "y.txt"}),
        ("[ -f a.txt ] && [ ! -d b ]", {"a.txt", "b"}),
        ("[[ -s a.txt ]] || echo missing", {"a.txt"}),
        ("test -f a.txt -a -x run.sh", {"a.txt", "run.sh"}),
        ("test -f a.txt&&test -f b.txt", {"a.txt", "b.txt"}),
        ("head -n 20 a.txt; tail -5 b.txt; head -c100 c.txt", {"a.txt", "b.txt", "c.txt"}),
        ("wc -l a.txt 2>/dev/null", {"a.txt"}),
        ("cat old.txt new.txt &> /dev/null", {"old.txt", "new.txt"}),
        ("sort -t: -k 2,2 -u names.txt | uniq -c", {"names.txt"}),
        ("true", set()),
        ('false || echo "for \\$5"', set()),
        ("  test -f a.txt\n", {"a.txt"}),
        ("cat ./src//a.py", {"src/a.py"}),
        ("cat 'my notes.txt' my\\ list.txt", {"my notes.txt", "my list.txt"}),
        ("cat 'cafe\u0301.txt'", {"cafe\u0301.txt"}),  # another file than with U+00E9, to some
        ("cat 'app/[id]/page.tsx'", {"app/[id]/page.tsx"}),
        ("""grep "say \\"hi\\" to '&&'" a.txt""", {"a.txt"}),
        ("grep '&& rm' a.txt", {"a.txt"}),
        ("grep foo\\;bar a.txt", {"a.txt"}),
    ],
)
def test_a_command_that_reads_only_what_it_names_depends_on_that(
    command: str, files: set[str]
) -> None:
    assert inputs_of(command) == frozenset(files)


@pytest.mark.parametrize(
    "command",
    [
        "cd backend && mvn compile",
        "cd frontend && npm run build 2>&1 | head -20",
        "cd frontend && grep -E '(zustand|axios)' package.json",
        "npm test",
        "alembic upgrade head",
        "pytest tests/test_order_workflow.py",
        "python -c \"from src.config import settings; print('OK')\"",
        "./gradlew assembleDebug",
        "curl -s http://localhost:8000/health | head -20",
        "git diff HEAD~1 | grep -E 'password'",
        "bash -c 'test -f a.txt'",
        "Check that DialogContent accepts hideCloseButton prop",
        "find src -name '*.py' | wc -l",
        "python3 -m json.tool package.json > /dev/null",
        "python -m py_compile src/a.py",
        "node --check app.js",
        "jq -r '.version' package.json",
        "cat package.json | jq -e '.scripts.build'",
        "rg -q foo src",
        "ls docs/ | wc -l",
        "stat -c %s a.bin",
        "diff -u old.txt new.txt",
        "cmp -s a.bin b.bin",
        "test -f a.txt && npm test",
        "npm test || test -f a.txt",
        "cat a.txt | xargs cat",
        "",
        "   ",
    ],
)
def test_a_command_that_runs_any_other_program_may_depend_on_anything(command: str) -> None:
    assert inputs_of(command) is None


@pytest.mark.parametrize(
    "command",
    [
        "cat $FILE",
        'cat "$FILE"',
        'cat "${FILE}"',
        "cat $(ls)",
        'cat "`ls`"',
        "cat `ls`",
        "cat *.txt",
        "cat a?.txt",
        "cat [ab].txt",
        "cat {a,b}.txt",
        "cat ~/a.txt",
        "cat a.txt # and more",
        "cat < a.txt",
        "cat <<EOF\nEOF",
        "cat a.txt > b.txt",
        "cat a.txt >> /dev/null",
        "cat a.txt > /dev/nullify",
        "cat a.txt 3>/dev/null",
        "cat 12>/dev/null",
        "cat a.txt & cat b.txt",
        "cat a.txt |& cat",
        "(cat a.txt)",
        "{ cat a.txt; }",
        "X=1 cat a.txt",
        "cat a.txt\ncat b.txt",
        "cat a.txt \\\n b.txt",
        "cat a.txt\rb.txt",
        "cat 'a.txt",
        'cat "a.txt',
        "cat a.txt \\",
        "cat a\0b",
        "cat 'a\0b'",
        "cat caf\u00e9.txt",
        "cat $'a.txt'",
        "; cat a.txt",
        "cat a.txt ;; cat b.txt",
        "cat a.txt |",
        "cat a.txt &&;",
        "cat a.txt \\;",
        "!",
        "if test -f a.txt; then echo yes; fi",
        "[[ a.txt -nt b.txt && -f c.txt ]]",
    ],
)
def test_what_the_shell_itself_would_work_on_may_depend_on_anything(command: str) -> None:
    assert inputs_of(command) is None


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../a.txt", "src/../a.txt", ".", "./", "''", "'~'/../x", "-", "-- -x"),
        *("'/etc/passwd'", "src/..", "/dev/null", "-f", "'-'", "//a.txt"),
    ],
)
def test_a_path_that_is_not_plainly_inside_the_repository_may_be_anything(path: str) -> None:
    assert inputs_of(f"cat {path}") is None
    assert inputs_of(f"test -f {path}") is None


@pytest.mark.parametrize(
    "command",
    [
        "grep foo",
        "grep -r foo",
        "cat a.txt | grep -r foo",
        "grep --exclude-from=skip.txt -r foo src",
        "grep --fil=words.txt notes.txt",
        "grep --quiet=yes foo notes.txt",
        "grep -f words.txt notes.txt",
        "grep -qf words.txt notes.txt",
        "grep foo notes.txt -f words.txt",
        "grep foo notes.txt -m 1",
        "grep foo -r",
        "grep -A",
        "cat",
        "cat -n a.txt",
        "cat a.txt | cat -",
        "tail -f a.txt",
        "cat a.txt | head -5c b.txt",
        "head a.txt -n 5",
        "wc --files0-from=list.txt",
        "sort a.txt -o b.txt",
        "sort -ob.txt a.txt",
        "uniq a.txt b.txt",
        "bash a.sh",
        "bash -n",
        "bash -nx a.sh",
        "bash -n -c 'cat a.txt'",
        "test",
        "test a.txt",
        "test -f",
        "test -f a.txt b.txt",
        "test -f a.txt -a",
        "test a.txt -nt b.txt",
        "test -v HOME",
        "test -t 1",
        "[ -f a.txt",
        "[",
        "[ ]",
        "[[ -f a.txt ]",
        "[ ! ]",
    ],
)
def test_what_a_known_program_is_told_must_be_known_too(command: str) -> None:
    assert inputs_of(command) is None


# --- what has changed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("src/a.py", "src/a.py"),
        ("src/a.py", "SRC/A.py"),
        ("src/", "src/deep/a.py"),
        ("src", "src/deep/a.py"),
        ("src/", "src"),
        ("src/a.py", "src"),
        ("src/deep/a.py", "src/"),
        ("src/a.py", "src/a.py/b"),
        ("caf\u00e9.txt", "cafe\u0301.txt"),
        ("a.py", ""),
    ],
)
def test_a_change_in_above_or_beneath_an_input_touches_it(file: str, changed: str) -> None:
    assert not untouched(frozenset({"z.txt", file}), ["other.txt", changed])


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("src/a.py", "src/b.py"),
        ("src/a.py", "src/a.pyi"),
        ("src/a.py", "a.py"),
        ("src/", "src2/a.py"),
        ("src", "lib/src/a.py"),
        ("src/a.py", "sr"),
    ],
)
def test_a_change_beside_an_input_does_not_touch_it(file: str, changed: str) -> None:
    assert untouched(frozenset({"z.txt", file}), ["other.txt", changed])


def test_what_reads_no_file_is_touched_by_nothing() -> None:
    assert untouched(frozenset(), ["src/a.py", ""])
    assert untouched(frozenset({"src/a.py"}), [])


# --- whatever is written -------------------------------------------------------------------------

PIECES = (
    *("cat", "grep", "head", "uniq", "test", "[", "[[", "]", "]]", "!", "true", "bash", "npm"),
    *("-f", "-n", "-r", "-e", "-m", "-5", "--", "--file", "--quiet", "=", "-a", "-d"),
    *("a.txt", "src/", "..", "'", '"', "\\", "$x", "*", " ", "&&", "||", ";", "|", "&", "\n", "#"),
    *("> /dev/null", "2>&1", "<", "-", "'a b'", '"a b"', "\0"),
)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map(" ".join)))
@example("cat \ud800")
@example("grep " + "-A" * 5)
def test_whatever_is_written_is_answered(command: str) -> None:
    found = inputs_of(command)
    for path in found or ():
        parts = path.split("/")
        assert not {".", ".."} & set(parts)
        assert "" not in parts
        assert not untouched(frozenset({path}), [path])


@given(st.lists(st.sampled_from(PIECES), max_size=4).map(" ".join))
def test_what_follows_never_makes_a_command_depend_on_less(more: str) -> None:
    found = inputs_of(f"cat first.txt && {more}")
    assert found is None or "first.txt" in found


@given(st.text(st.characters(exclude_characters="'\0"), min_size=1))
def test_in_single_quotes_nothing_is_read_by_the_shell(pattern: str) -> None:
    assert inputs_of(f"grep -e '{pattern}' a.txt") == frozenset({"a.txt"})
