import pytest

from auto_build.core.claims import Claim, overlap


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [("src/a.py", "SRC/A.py", True), ("src/", "src/a.py", True), ("src/a.py", "src/b.py", False)],
)
def test_two_claims_overlap_where_one_file_fits_both(one: str, other: str, meet: bool) -> None:
    assert overlap(Claim.parse(one), Claim.parse(other)) is meet
