"""Claims: two chunks may wait for each other without need, but never write one file at once."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from auto_build.core.claims import BadClaim, Claim, covers, first_overlap, overlap, touches

E_ACUTE, E_AND_ACCENT = "\u00e9", "e\u0301"


def joined(*names: str) -> SearchStrategy[str]:
    """Draw up to three of the names with slashes between them: few enough to meet often."""
    return st.lists(st.sampled_from(names), min_size=1, max_size=3).map("/".join)


paths = joined("a", "b", "ab", "A", "[ab]")
claims = st.builds(
    lambda text, end: Claim.parse(text + end),
    joined("a", "b", "ab", "A", "[ab]", "{a,b}", "?", "*", "a*", "*b", "**"),
    st.sampled_from(("", "/")),
)


# --- normal form ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("src/a.py", "src/a.py"),
        ("  src/a.py ", "src/a.py"),
        ("./src//a.py", "src/a.py"),
        ("src/./a.py", "src/a.py"),
        ("src\\deep\\a.py", "src/deep/a.py"),
        ("src/old/../a.py", "src/a.py"),
        ("src/", "src/"),
        ("src//", "src/"),
        ("src/.", "src/"),
        (".\\src\\", "src/"),
        (".", "**"),
        ("./", "**"),
        ("src/..", "**"),
        (".github/x.yml", ".github/x.yml"),
        ("..a/b", "..a/b"),
        ("**/../b", "**/b"),
        (f"caf{E_AND_ACCENT}.py", f"caf{E_ACUTE}.py"),
    ],
)
def test_a_claim_is_kept_in_one_normal_form(written: str, meant: str) -> None:
    assert Claim.parse(written).text == meant
    assert Claim.parse(meant).text == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("\\etc", "is absolute"),
        ("~/notes", "is absolute"),
        ("C:\\repo\\a.py", "is absolute"),
        ("c:a.py", "is absolute"),
        ("..", "leaves the repository"),
        ("../other/a.py", "leaves the repository"),
        ("src/../../a.py", "leaves the repository"),
        ("src/\0a", "holds a control character"),
        ("a\nb", "holds a control character"),
        ("x" * 256, "holds a name of more than 255 characters"),
        ("x/" * 101, "lies more than 100 folders deep"),
    ],
)
def test_what_names_no_path_in_the_repository_is_refused(written: str, why: str) -> None:
    with pytest.raises(BadClaim, match=why):
        Claim.parse(written)


# --- covering ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "path"),
    [
        ("src/a.py", "src/a.py"),
        ("src/a.py", "SRC/A.PY"),
        ("src/", "src/deep/a.py"),
        ("src", "src/a.py"),
        ("*.py", "a.py"),
        ("*.py", "src/deep/a.py"),
        ("src/*.py", "src/a.py"),
        ("src/**", "src/deep/a.py"),
        ("src/**/a.py", "src/a.py"),
        ("src/**/a.py", "src/x/y/a.py"),
        ("**", "any/thing"),
        (".", "any/thing"),
        ("src/?.py", "src/a.py"),
        ("src/[ab].py", "src/a.py"),
        ("src/[!x].py", "src/a.py"),
        ("src/[a-c].py", "src/b.py"),
        ("src/[]x].py", "src/].py"),
        ("app/[id]/page.tsx", "app/[id]/page.tsx"),
        ("app/[id]/page.tsx", "app/i/page.tsx"),
        ("app/[id]/[ab].tsx", "app/[id]/a.tsx"),
        ("app/[...all]/page.tsx", "app/[...all]/page.tsx"),
        ("app/[a][b][c][d][e].ts", "app/[a]b[c]d[e].ts"),
        ("src/a.{ts,tsx}", "src/a.tsx"),
        ("src/{a,{b,c}}.py", "src/c.py"),
        ("src/{a,b/c}.py", "src/b/c.py"),
        ("src/{id}/x.ts", "src/{id}/x.ts"),
        ("src/{open/x.ts", "src/{open/x.ts"),
        (f"caf{E_ACUTE}", f"CAF{E_AND_ACCENT}/x"),
        ("Stra\u00dfe", "STRASSE"),
    ],
)
def test_a_claim_covers_what_may_be_written_under_it(claim: str, path: str) -> None:
    assert covers(Claim.parse(claim), path)


@pytest.mark.parametrize(
    ("claim", "path"),
    [
        ("src/a.py", "src/b.py"),
        ("src/a.py", "src"),
        ("src", "src2/a.py"),
        ("src/*.py", "src/deep/a.py"),
        ("src/?.py", "src/ab.py"),
        ("src/[ab].py", "src/c.py"),
        ("app/[id]/page.tsx", "app/x/page.tsx"),
        ("src/**/a.py", "src/x/b.py"),
        ("*.py", "a.ts"),
    ],
)
def test_a_claim_does_not_cover_the_rest(claim: str, path: str) -> None:
    assert not covers(Claim.parse(claim), path)


def test_a_file_touches_what_is_claimed_letter_by_letter() -> None:
    assert touches(Claim.parse("app/[id]/"), "app/[id]/page.tsx")
    assert touches(Claim.parse("src/a/b.py"), "src/a")  # a file where the other needs a folder
    assert touches(Claim.parse("**"), "~odd name\\")
    assert not touches(Claim.parse("app/i/page.tsx"), "app/[id]/page.tsx")


# --- overlapping ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("src/a.py", "SRC/A.py"),
        ("src/", "src/a.py"),
        ("src/a", "src/a/b"),
        ("src/*.py", "src/a*"),
        ("*.py", "src/**"),
        ("src/[ab].py", "src/[bc].py"),
        ("src/[ab].py", "src/b.py"),
        ("app/[id]/x.ts", "app/[id]/[xy].ts"),
        ("src/{a,{b,c}}", "src/c"),
        ("**/x", "a/**"),
        (".", "a"),
    ],
)
def test_two_claims_overlap_where_one_file_fits_both(one: str, other: str) -> None:
    assert overlap(Claim.parse(one), Claim.parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("src/a.py", "src/b.py"),
        ("src/", "tests/"),
        ("src/*.py", "src/*.ts"),
        ("src/[ab].py", "src/[cd].py"),
        ("app/[id]/x.ts", "app/[slug]/x.ts"),
        ("src/a/**", "src/b/**"),
    ],
)
def test_two_claims_do_not_overlap_where_no_file_fits_both(one: str, other: str) -> None:
    assert not overlap(Claim.parse(one), Claim.parse(other))


def test_the_first_pair_that_overlaps_is_told() -> None:
    a, b, folder = map(Claim.parse, ("a.py", "src/b.py", "src/"))
    assert first_overlap((a, b), (folder,)) == (b, folder)
    assert first_overlap((a,), (folder,)) is None


def test_the_longest_names_are_compared_without_running_out_of_stack() -> None:
    one, other = Claim.parse("x" * 255), Claim.parse("x" * 254 + "*")
    deep = Claim.parse("/".join("x" * 100))
    assert overlap(one, other)
    assert overlap(deep, Claim.parse("**/x/" + "/".join("x" * 90)))


@given(claims, claims)
def test_overlap_is_symmetric(one: Claim, other: Claim) -> None:
    assert overlap(one, other) == overlap(other, one)


@given(claims)
def test_every_claim_overlaps_itself_whatever_its_case(claim: Claim) -> None:
    assert overlap(claim, claim)
    assert overlap(claim, Claim.parse(claim.text.swapcase()))


@given(paths)
def test_a_path_is_covered_by_itself_and_by_every_folder_above_it(path: str) -> None:
    parts = path.split("/")
    for size in range(1, len(parts) + 1):
        assert covers(Claim.parse("/".join(parts[:size])), path)


@given(claims, paths)
def test_case_makes_no_difference(claim: Claim, path: str) -> None:
    assert covers(claim, path) == covers(claim, path.swapcase())


@given(claims, claims, paths)
@example(Claim("[ab]/[ab]"), Claim("[ab]/a"), "[ab]/a")
@example(Claim("{a,b}/**"), Claim("*b"), "a/ab")
def test_overlap_never_misses(one: Claim, other: Claim, path: str) -> None:
    if covers(one, path) and covers(other, path):
        assert overlap(one, other)
    if covers(one, path):
        assert touches(one, path)
