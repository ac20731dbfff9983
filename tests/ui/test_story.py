"""The story of a build on a terminal."""

from io import StringIO

from rich.console import Console
from tests.stories import HOSTILE, WAYS, mended_build, reviewed_build

from auto_build.ui.marks import Sheet
from auto_build.ui.story import chapter_sheet, story_sheet


def printed(sheet: Sheet) -> str:
    console = Console(file=StringIO(), width=100, highlight=False, emoji=False)
    console.print(sheet)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_story_says_what_was_made_found_and_not_verified_and_how_to_go_on() -> None:
    text = printed(story_sheet(mended_build().story(), WAYS))
    parts = (
        "001-greet",
        "fixing",
        "1-1  Take a name",
        "src/app.py  +2 -1",
        "$ pytest -q",
        "left out: src/app.py",
        "mends what review 1 found",
        "review 1  rejected  claude, an agent",
        "major: a name of blanks is greeted",
        "blanks are refused",
        "what nobody has verified",
        "nobody has reviewed this very commit",
        "1-2: look at the page; for you",
        "/there/.worktrees/auto-build",
        "auto-build approve 001",
        "auto-build merge 001",
    )
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


def test_one_chunk_is_shown_with_its_diff() -> None:
    text = printed(chapter_sheet(mended_build().story().chapters[0]))
    assert '-print("hello")\n+name = sys.argv[1]\n' in text
    assert "12 passed" in text


def test_nothing_that_anybody_wrote_reaches_the_terminal_as_more_than_text() -> None:
    story = reviewed_build(say=HOSTILE).story()
    text = printed(story_sheet(story, WAYS)) + printed(chapter_sheet(story.chapters[1]))
    assert "owned" in text
    assert not {char for char in text if char in "\x1b\x00\x07\u202e\u200b\udcff"}
