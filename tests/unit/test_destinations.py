"""What can be said of the servers that a test reaches."""

import pytest

from pytest_isolate._config.destinations import Destination, Forward, format_forward, forward


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("fixtures", Forward()),
        (["fixtures"], Forward()),
        (None, Forward(fixtures=False)),
        ("none", Forward(fixtures=False)),
        (["none"], Forward(fixtures=False)),
        (5432, Forward(others=(Destination("tcp", "", 5432),))),
        (["5432", 5432, "fixtures"], Forward(others=(Destination("tcp", "", 5432),))),
        ("db.internal:5432", Forward(others=(Destination("tcp", "db.internal", 5432),))),
        (
            ("[::1]:80", "127.0.0.1:80/tcp"),
            Forward(others=(Destination("tcp", "::1", 80), Destination("tcp", "127.0.0.1", 80))),
        ),
        ("53/udp", Forward(others=(Destination("udp", "", 53),))),
        (
            "/run/postgresql/.s.PGSQL.5432",
            Forward(others=(Destination("unix", "/run/postgresql/.s.PGSQL.5432", 0),)),
        ),
        ("@bus", Forward(others=(Destination("abstract", "bus", 0),))),
    ],
    ids=str,
)
def test_values(value, expected):
    """One or a list; the same twice is once; what is shown can be typed again."""
    assert forward(value) == expected
    assert forward(format_forward(expected).split(", ")) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"db", "it must be 'fixtures'"), (True, "it must be"), ([1.5], "it must be"),
        (["db"], "'db' is none of these"),
        ("", "it must be"), (0, "from 1 to 65535"), ("db:70000", "from 1 to 65535"),
        (["none", 1], "stands alone"),
        ("/" + "x" * 200, "at most 107 bytes"),
        ("::1:80", "none of these"), ({"a": 1}, "it must be"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_values_are_said(value, said):
    """With what is allowed."""
    with pytest.raises(ValueError, match=said):
        forward(value)
