"""What differs between two commits, file by file, whatever the files are and git was told."""

from auto_build.core.patch import MOST_OF_FILE, FilePatch, Mark, read_patch
from auto_build.git.repo import Repo
from tests.e2e.project import run_git

ODD = ('quo"te.txt', "new\nline.txt", "tab\there.txt", "ü b.txt")


async def look(repo: Repo) -> dict[str, FilePatch]:
    """Commit all that is there and return what changed."""
    run_git(repo.project, "add", "-A")
    run_git(repo.project, "commit", "-q", "-m", "More")
    files = read_patch(*await repo.patch("HEAD^1", "HEAD"))
    return {file.path: file for file in files}


async def test_each_kind_of_change_is_told_of_its_file(repo: Repo) -> None:
    top = repo.project
    for name in ("gone.txt", "mode.sh", "link"):
        (top / name).write_text("one\ntwo\n")
    (top / "a.txt").write_text("1\n2\n\n3\n")
    await look(repo)
    (top / "a.txt").write_text("1\ntwo\n\n3")
    (top / "bytes").write_bytes(b"\0\1\2")
    (top / "empty").touch()
    (top / "gone.txt").unlink()
    (top / "mode.sh").chmod(0o755)
    (top / "link").unlink()
    (top / "link").symlink_to("a.txt")
    for name in ODD:
        (top / name).write_text("diff --git a/x b/x\n@@ -1 +1 @@\n--- a/x\n")
    for key, value in (
        ("diff.noprefix", "true"),
        ("diff.suppressBlankEmpty", "true"),
        ("color.ui", "always"),
        ("diff.renames", "copies"),
    ):
        run_git(top, "config", key, value)

    found = await look(repo)

    counts = {path: (file.added, file.removed) for path, file in found.items()}
    assert counts == {
        "a.txt": (2, 2),
        "bytes": (None, None),
        "empty": (0, 0),
        "gone.txt": (0, 2),
        "mode.sh": (0, 0),
        "link": (1, 2),
        **dict.fromkeys(ODD, (3, 0)),
    }
    (hunk,) = found["a.txt"].hunks
    assert [(one.mark, one.old, one.new, one.text) for one in hunk.numbered()] == [
        (Mark.SAME, 1, 1, "1"),
        (Mark.REMOVED, 2, None, "2"),
        (Mark.ADDED, None, 2, "two"),
        (Mark.SAME, 3, 3, ""),
        (Mark.REMOVED, 4, None, "3"),
        (Mark.ADDED, None, 4, "3"),
        (Mark.REMARK, None, None, " No newline at end of file"),
    ]
    assert [hunk.lines[0] for hunk in found["link"].hunks] == ["-one", "+a.txt"]
    assert {found[name].hunks[0].lines[0] for name in ODD} == {"+diff --git a/x b/x"}


async def test_what_is_too_long_is_cut_and_counted(repo: Repo) -> None:
    (repo.project / "long.txt").write_text("x\n" * (MOST_OF_FILE + 7))
    (repo.project / "wide.txt").write_text("y" * 100_000)

    found = await look(repo)

    long, wide = found["long.txt"], found["wide.txt"]
    assert (long.added, long.cut, len(long.hunks[0].lines)) == (MOST_OF_FILE + 7, 7, MOST_OF_FILE)
    assert len(wide.hunks[0].lines[0]) < 2_000


async def test_where_nothing_differs_nothing_is_told(repo: Repo) -> None:
    assert read_patch(*await repo.patch("HEAD", "HEAD")) == ()
