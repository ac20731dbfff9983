"""What of a verification is for programs, and what is a sentence for people.

Planners write both as `expected`: `BUILD SUCCESS` and `All tests pass`. Only what reads like output
is searched for; a sentence is left to the exit code, and the verdict says so. They also write both
as a command: `npm test` and `Navigate to the page`.
"""

import re
from typing import Final

_SPOKEN: Final = re.compile(
    r"\b(?:no|not|without|all|should|must|shows?|exists?|pass(?:es|ed)?|succeeds?|success(?:ful(?:ly)?)?"
    r"|works?|errors?|warnings?|valid|visible|available|present|or|and|returns?|compiles?|builds?"
    r"|is|are|has|have|with|than|least|contains?|includes?|displays?|prints?|outputs?|lists?"
    r"|starts?|runs?|running|loads?|renders?|created|updated|generated|removed|found|match(?:es)?)\b"
)
_COMPARED: Final = re.compile(r"[<>≤≥]=?\s*\d|^\d+\+$")  # more than 80, 3+
_WORDS_OF_OUTPUT: Final = frozenset({"true", "false", "none", "null", "yes", "no", "ok"})
_VERSION: Final = re.compile(r"\b\d+\.\d+")
_CODE: Final = re.compile(r"[_={}<>@/\\$#;|*\[\]]|\(\)|[a-z][A-Z]|['\"`]")


def reads_like_output(expected: str, command: str) -> bool:
    """Say whether `expected` is meant to be found in what `command` prints."""
    text = expected.strip()
    if not text:
        return False
    if text in command:  # echo OK, grep name file
        return True
    if _COMPARED.search(text):
        return False
    if " " not in text:
        return _token_is_output(text)
    if text == text.upper() and any(letter.isalpha() for letter in text):
        return True
    if _SPOKEN.search(text.casefold()):
        return False
    return bool(_VERSION.search(text) or _CODE.search(text))


def _token_is_output(token: str) -> bool:
    if token.casefold() in _WORDS_OF_OUTPUT:
        return True
    if token == token.upper() or any(letter.isdigit() for letter in token):
        return True
    return bool(_CODE.search(token))


_SAYS_NOTHING: Final = re.compile(r"(?:manual(?:ly)?|n/?a|none|tbd|todo|-+)?[.:]?", re.IGNORECASE)
_TOLD: Final = re.compile(
    r"(?:manual(?:ly)?|n/?a|none|tbd|todo|browser|navigate|visit|verify|check|confirm|ensure"
    r"|inspect|review|click|compare|look|view|observe|see|wait|(?:go|log ?in)\s+to|log ?in"
    r"|make sure|open\s+(?:the|a|https?:\S*)|(?:run|use|start|load|test)\s+(?:the|that|all|a))"
    r"(?=[\s:,.]|$)|https?://|\d+[.)]\s",
    re.IGNORECASE,
)
_CAPITAL: Final = re.compile(r"[A-Z][a-z]+[:,.]?(?=\s|$)")  # how a sentence begins, few programs
_PROGRAMS: Final = frozenset({"Rscript", "Xvfb"})


def says_nothing(text: str) -> bool:
    """Say whether a command is only a word for there being none."""
    return bool(_SAYS_NOTHING.fullmatch(text.strip()))


def reads_like_command(text: str) -> bool:
    """Say whether `text` is meant for a shell, and not for a person."""
    line = text.strip()
    if says_nothing(line) or _TOLD.match(line):
        return False
    capital = _CAPITAL.match(line)
    return capital is None or capital[0] in _PROGRAMS
