"""Options and ini values of pytest, from the table of keywords and that of settings.

Loaded in every run of pytest, isolated tests or not: nothing dear is imported here. What merges
them is in ``_config.spec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_isolate._config import settings
from pytest_isolate._config.keywords import KEYWORDS

if TYPE_CHECKING:
    import pytest

#: Options that need something to be read or written, by their names in ``config.option``.
REPORTING = tuple(each.name for each in settings.SETTINGS if each.reports)


def add_options(parser: pytest.Parser) -> None:
    """Register options and ini values."""
    group = parser.getgroup("isolate", "isolated tests (pytest-isolate-ns)")
    group.addoption(
        "--isolate-doctor",
        action="store_true",
        help="say what this machine can isolate, why not, and the command that fixes it",
    )
    settings.add(parser, group)
    for keyword in KEYWORDS.values():
        group.addoption(
            keyword.option, dest=keyword.dest, default=None, metavar="VALUE",
            action="append" if keyword.several else "store",
            help=f"default for all isolated tests; {keyword.help_with_unit}",
        )  # fmt: skip
        kind: Any = "linelist" if keyword.several else settings.SCALAR
        parser.addini(keyword.dest, keyword.help, type=kind, default=None)


def complete(config: pytest.Config) -> None:
    """Before pytest 9, options of a plugin that a test module loads are missing: the command line
    has been read.
    """
    for name in (
        "isolate_doctor",
        *(each.name for each in settings.SETTINGS),
        *(each.dest for each in KEYWORDS.values()),
    ):
        if not hasattr(config.option, name):
            setattr(config.option, name, None)


def given(config: pytest.Config) -> bool:
    """Whether the command line or the ini file sets any keyword."""
    return any(
        config.getoption(keyword.dest) is not None or settings.ini(config, keyword.dest) is not None
        for keyword in KEYWORDS.values()
    )
