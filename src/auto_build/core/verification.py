"""Whether the `expected` text of a verification command is output to look for, or a sentence.

Planners write both: `BUILD SUCCESS` and `All tests pass`. Only what reads like output is searched
for; a sentence is left to the exit code, and the verdict says so.
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
