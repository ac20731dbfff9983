"""What a browser can decide of what a plan says must be seen on a page. Pure.

A quoted text that is to be visible, a page that loads, a console without errors: these are decided.
All else is for whoever looks at the picture, and is told so.
"""

import re
from collections.abc import Sequence
from typing import Final

from auto_build.core.acceptance import ItemState
from auto_build.tryout.outcome import Outcome
from auto_build.tryout.visit import Sight

_QUOTED: Final = re.compile(
    r"(?:(?:the|a)\s+)?(?:(?:text|heading|title|button|link|label|message)\s+)?"
    r"[\"\u201c](?P<text>[^\"\u201c\u201d]{1,200})[\"\u201d]"
    r"(?:\s+(?:text|heading|title|button|link|label|message))?"
    r"(?:\s+(?:is|are))?(?:\s+(?:visible|shown|displayed|present|appears|renders|there))?\.?",
    re.IGNORECASE,
)
_LOADS: Final = re.compile(
    r"(?:(?:the\s+)?page\s+)?(?:loads|renders|opens)(?:\s+successfully)?\.?", re.IGNORECASE
)
_NO_ERRORS: Final = re.compile(
    r"no[\s-]+(?:browser[\s-]+)?(?:js[\s-]+|javascript[\s-]+)?console[\s-]+errors?\.?",
    re.IGNORECASE,
)


def texts_in(checks: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that checks want to be visible."""
    found = (_QUOTED.fullmatch(check.strip()) for check in checks)
    return tuple(dict.fromkeys(one["text"] for one in found if one))


def judge(checks: Sequence[str], sight: Sight, asked: str) -> Outcome:
    """Say what a page comes to; `asked` is the address at which it was opened."""
    evidence = (sight.picture,) if sight.picture else ()
    if sight.lacks:
        return Outcome(ItemState.UNVERIFIED, sight.lacks)
    if sight.left_for:
        why = f"opened {asked}: it leads on to {sight.left_for}, which is no service of this build"
        return Outcome(ItemState.UNVERIFIED, why)
    output = "\n".join(
        [
            *(f"console error: {one}" for one in sight.errors),
            *(f"request failed: {one}" for one in sight.failed),
        ]
    )
    if sight.status is None or sight.status >= 400:
        how = f"status {sight.status}" if sight.status else sight.why
        return Outcome(ItemState.FAILED, f"opened {asked}: {how}", output, evidence)
    decided = {check: _decide(check.strip(), sight) for check in checks}
    bad = [check for check, holds in decided.items() if holds is False]
    left = [check for check, holds in decided.items() if holds is None]
    good = [check for check, holds in decided.items() if holds]
    told = [
        f"opened {asked}: status {sight.status}",
        f"does not hold: {'; '.join(bad)}" if bad else "",
        f"holds: {'; '.join(good)}" if good else "",
        f"to be looked at: {'; '.join(left)}" if left else "",
    ]
    state = ItemState.FAILED if bad else ItemState.UNVERIFIED if left else ItemState.PASSED
    return Outcome(state, ". ".join(filter(None, told)), output, evidence)


def _decide(check: str, sight: Sight) -> bool | None:
    """Say whether a check holds; None where a browser cannot tell."""
    if quoted := _QUOTED.fullmatch(check):
        return sight.seen.get(quoted["text"], False)
    if _LOADS.fullmatch(check):
        return True
    if _NO_ERRORS.fullmatch(check):
        return not sight.errors
    return None
