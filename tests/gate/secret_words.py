"""Made-up secrets, put together when the tests run: no scanner is to find them in this file."""

from typing import Final

_LETTERS: Final = "aZ3kQ9xWm7Rt2Lp8Vb5Nc1Hd6Jf4Gs0YuEiOwTq"


def made_up(salt: int = 0) -> str:
    """Return what looks like a token of a code host; another one for each `salt`."""
    turned = _LETTERS[salt % 7 :] + _LETTERS[: salt % 7]
    return f"gh{'p_'}{turned[:36]}"


def assigned(salt: int = 0) -> str:
    """Return a line of Python with such a token."""
    return f'TOKEN = "{made_up(salt)}"\n'
