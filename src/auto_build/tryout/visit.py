"""What is asked of the program that opens pages, and what it says of each. Pure values."""

from typing import Final

from pydantic import BaseModel, ConfigDict

MARK: Final = "auto-build-page: "  # begins each line that is an answer


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Visit(_Value):
    """A page to be opened: `texts` are looked for, `picture` is where its screenshot goes."""

    url: str
    texts: tuple[str, ...] = ()
    picture: str = ""


class Tour(_Value):
    """Pages to be opened one after the other, in `browser` or else Playwright's own.

    `fallback` is a browser of the system, for where Playwright has none. A page that leads on to
    another place than the `origins` is not of this build.
    """

    visits: tuple[Visit, ...]
    origins: tuple[str, ...] = ()
    browser: str = ""
    fallback: str = ""
    page_s: float = 30.0
    text_s: float = 3.0


class Sight(_Value):
    """What was seen of a page.

    `status` is None where it did not answer, and `why` says why; `seen` tells of each text whether
    it is visible; `left_for` is where it led on to, out of the build. `lacks` says what is missing
    for a page to be opened at all.
    """

    status: int | None = None
    why: str = ""
    left_for: str = ""
    lacks: str = ""
    seen: dict[str, bool] = {}
    errors: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    picture: str = ""
