"""What users can type: one table of keywords drives options, ini values, checking, error sentences and the documentation.

Loaded in every run of pytest, isolated tests or not: nothing dear is imported here. What merges them is in ``_config.spec``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pytest_isolate._config import destinations, settings, values

if TYPE_CHECKING:
    import pytest

    from pytest_isolate._config.values import Parser

_ON_MISSING = "error" if sys.platform == "linux" else "skip"


class Keyword:
    """One keyword of ``@isolate``, of ``--isolate-...`` and of the ini file."""

    def __init__(self, name: str, parse: Parser, default: object, text: str, *, several: bool = False, takes_none: bool = False) -> None:
        self.name = name
        self.parse = parse
        self.default = default
        self.help = text
        self.several = several
        self.takes_none = takes_none  # as a value of its own; else it is the default, against a wider level
        self.option = "--isolate-" + name.replace("_", "-")
        self.dest = "isolate_" + name  # in config.option and in the ini file


_SIZE_HELP = "a size such as 64M"
KEYWORDS = {
    keyword.name: keyword
    for keyword in (
        Keyword("net", values.network, True, "own network with loopback only; host: the machine's; deny: an attempt to leave fails"),
        Keyword(
            "forward", destinations.forward, destinations.Forward(), "servers reached at their address: fixtures', others too, or none",
            several=True, takes_none=True,
        ),
        Keyword("memory", values.size(8 << 20), None, f"{_SIZE_HELP}: what the process tree may use, swap included"),
        Keyword("cpu", values.cores, None, "cores: bandwidth quota of the process tree, such as 0.5"),
        Keyword("cpu_time", values.duration, None, "seconds of processor time of the tree, past which it is killed"),
        Keyword("timeout", values.duration, None, "seconds or '250ms', '2m': wall time of setup, call and teardown inside"),
        Keyword("pids", values.count(1, "the test itself is one"), None, "processes and threads of the tree"),
        Keyword("disk", values.size(1 << 16), None, f"{_SIZE_HELP}: what the test may write to its private file systems"),
        Keyword("files", values.count(16, "Python and pytest hold some themselves"), None, "open file descriptors per process"),
        Keyword("io_read", values.size(4096), None, f"{_SIZE_HELP} a second: what the tree may read from block devices"),
        Keyword("io_write", values.size(4096), None, f"{_SIZE_HELP} a second: what the tree may write to block devices"),
        Keyword("fs", values.choice("overlay", "readonly", "host"), "overlay", "what / is: overlay, readonly or host"),
        Keyword("bind", values.binds, (), "host paths that stay shared, PATH or PATH:ro", several=True),
        Keyword("hostname", values.hostname, "isolate", "the host name inside"),
        Keyword("user", values.user, None, "who the test runs as: a name, a uid or 'root'; as the caller by default"),
        Keyword("env", values.environment, {}, "variables added, NAME=VALUE, or 'clean'", several=True),
        Keyword("fixtures", values.fixtures, "shared", "shared: wider scopes set up once, in pytest; fresh: inside; names: these inside"),
        Keyword("scope", values.choice("function", "class", "module"), "function", "how many tests share one sandbox"),
        Keyword("serial", values.boolean, False, "with --isolate-jobs: nothing else runs beside it"),
        Keyword("leaks", values.choice("error", "warn", "ignore"), "warn", "what processes left behind are: error, warn or ignore"),
        Keyword("on_missing", values.choice("error", "skip", "warn"), _ON_MISSING, "when this machine cannot give it: error, skip, warn"),
        Keyword("profile", values.text, None, "'strict' (see security.md), or a set of these from [tool.pytest_isolate.profiles.NAME]"),
    )
}  # fmt: skip


#: Options that need something to be read or written, by their names in ``config.option``.
REPORTING = ("isolate_report", "isolate_html", "isolate_top", "isolate_budgets", "isolate_update_budgets")


def add_options(parser: pytest.Parser) -> None:
    """Register options and ini values."""
    group = parser.getgroup("isolate", "isolated tests (pytest-isolate-ns)")
    group.addoption(
        "--isolate-doctor", action="store_true", help="say what this machine can isolate, why not, and the command that fixes it"
    )
    settings.add(parser, group)
    for keyword in KEYWORDS.values():
        group.addoption(
            keyword.option, dest=keyword.dest, default=None, metavar="VALUE",
            action="append" if keyword.several else "store", help=f"default for all isolated tests; {keyword.help}",
        )  # fmt: skip
        kind: Any = "linelist" if keyword.several else settings.SCALAR
        parser.addini(keyword.dest, keyword.help, type=kind, default=None)


def complete(config: pytest.Config) -> None:
    """Before pytest 9, options of a plugin that a test module loads are missing: the command line has been read."""
    for name in ("isolate_doctor", *(each.name for each in settings.SETTINGS), *(each.dest for each in KEYWORDS.values())):
        if not hasattr(config.option, name):
            setattr(config.option, name, None)


def given(config: pytest.Config) -> bool:
    """Whether the command line or the ini file sets any keyword."""
    return any(
        config.getoption(keyword.dest) is not None or settings.ini(config, keyword.dest) is not None for keyword in KEYWORDS.values()
    )
