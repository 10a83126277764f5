"""What is copied for a test where no overlay fits, and what is too much."""

from __future__ import annotations

import pytest

from pytest_isolate._sandbox import copies


@pytest.mark.parametrize(
    ("files", "size", "is_little"),
    [
        (1, copies.LARGEST, True),
        (1, copies.LARGEST + 1, False),
        (4, copies.LARGEST, True),
        (5, copies.LARGEST, False),
        (1999, 0, True),
        (2001, 0, False),
    ],
)
def test_a_directory_is_copied_whole_or_not_at_all(tmp_path, files, size, is_little):
    """By the size of each file, of all, and by how many names there are."""
    (below := tmp_path / "below").mkdir()
    with (tmp_path / "0").open("wb") as file:
        file.truncate(size)
    for number in range(1, files):
        (below / str(number)).hardlink_to(tmp_path / "0")
    assert copies.fits(str(tmp_path), copies.Budget()) is is_little


def test_what_goes_away_meanwhile_is_nothing(tmp_path):
    """As a directory that is not for us to list."""
    assert copies.fits(str(tmp_path / "gone"), copies.Budget())
