"""The table of keywords: what users can ask for, and all that is known of each.

Everything else about a keyword comes from its row, or is held against it by
``tests/unit/test_keywords.py``: options and ini values, checks and their sentences, ``pytest
--markers``, the fields of ``Spec``, the limits, the cache of plans; and, by ``python
tools/build_docs.py``, docs/configuration.md and the marker's type with what editors show
(``_typing``).

Loaded in every run of pytest, isolated tests or not: nothing dear is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_isolate._config import destinations, networking, paths, roots, values

if TYPE_CHECKING:
    from pytest_isolate._config.values import Parser

#: The profile that is built in: it sets no keyword, it closes the walls that a hostile test would
#: have to climb.
STRICT = "strict"
_ON_MISSING = "error" if sys.platform == "linux" else "skip"


class Keyword:
    """One keyword of ``@isolate``, of ``--isolate-...`` and of the ini file.

    - ``parse`` makes a value of what was typed, or raises ``ValueError`` with what is allowed;
      ``show`` writes a value for people.
    - ``type`` is the marker's, for type checkers, ``unit`` that of a number, ``help`` one line for
      people.
    - ``is_limit``: its value is a number that the test may not go above, or None.
    - ``recipe``: what of its value the plan of a sandbox is made from; without, tests that differ
      in it can have the same sandbox.
    - ``several``: the option may be given several times.
    - ``takes_none``: None is a value of its own; else it is the default, against a wider level.
    """

    def __init__(
        self, name: str, parse: Parser, default: object, help: str, *, type: str, unit: str = "",  # noqa: A002
        show: Callable[[Any], str] = str,
        is_limit: bool = False, recipe: Callable[[Any], object] | None = None,
        several: bool = False, takes_none: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.parse = parse
        self.default = default
        self.help = help
        self.type = type
        self.unit = unit
        self.show = show
        self.is_limit = is_limit
        self.recipe = recipe
        self.several = several
        self.takes_none = takes_none
        self.option = "--isolate-" + name.replace("_", "-")
        self.dest = "isolate_" + name  # in config.option and in the ini file

    @property
    def help_with_unit(self) -> str:
        """The line of help behind what a plain number counts."""
        return f"{self.unit}: {self.help}" if self.unit else self.help


def _itself(value: object) -> object:
    return value


def _is_given(value: object) -> bool:
    return value is not None


def _is_strict(value: object) -> bool:
    return value == STRICT


def _limit(name: str, parse: Parser, help: str, **known: Any) -> Keyword:  # noqa: A002, ANN401 - of several types
    return Keyword(name, parse, None, help, is_limit=True, **known)


_SIZE: dict[str, Any] = {
    "type": "Size",
    "unit": "bytes",
    "show": values.format_size,
    "recipe": _itself,
}
_RATE: dict[str, Any] = _SIZE | {"unit": "bytes a second", "show": values.format_rate}
_DURATION: dict[str, Any] = {"type": "Duration", "unit": "seconds", "show": values.format_duration}
_NUMBER: dict[str, Any] = {"type": "int", "show": values.format_number}

KEYWORDS = {
    keyword.name: keyword
    for keyword in (
        Keyword(
            "net", networking.parse, True,
            "own network, loopback only; host or False: the machine's; deny: attempts to leave "
            "fail; "
            "internet: a way out; Network: hosts",
            type='bool | Network | Internet | Literal["host", "deny", "internet"]',
            show=networking.show, recipe=networking.in_recipe,
        ),
        Keyword(
            "forward", destinations.forward, destinations.Forward(),
            "servers reached at their address: fixtures', others too, or none",
            type="int | str | Sequence[int | str]", show=destinations.format_forward, several=True,
            takes_none=True,
        ),
        _limit("memory", values.size(8 << 20),
               "what the process tree may use, swap included, such as 64M", **_SIZE),
        _limit(
            "cpu", values.cores, "bandwidth quota of the process tree, such as 0.5",
            type="float", unit="cores", show=values.format_number, recipe=_itself,
        ),
        _limit(
            "cpu_time", values.duration,
            "processor time of the process tree, past which it is killed", **_DURATION,
            recipe=_is_given
        ),
        _limit("timeout", values.duration,
               "wall time of setup, call and teardown inside, such as 250ms or 2m", **_DURATION),
        _limit(
            "pids", values.count(1, "the test itself is one"),
            "how many the process tree may have at once", **_NUMBER,
            unit="processes and threads", recipe=_itself,
        ),
        _limit("disk", values.size(1 << 16),
               "what the test may write to its private file systems, such as 64M", **_SIZE),
        _limit(
            "files", values.count(16, "Python and pytest hold some themselves"),
            "how many a process may have open", **_NUMBER,
            unit="file descriptors",
        ),
        _limit("io_read", values.size(4096),
               "what the process tree may read from block devices, such as 64M", **_RATE),
        _limit("io_write", values.size(4096),
               "what the process tree may write to block devices, such as 64M", **_RATE),
        Keyword(
            "fs", values.choice("overlay", "readonly", "host"), "overlay",
            "what / is: overlay, readonly or host",
            type='Literal["overlay", "readonly", "host"]', recipe=_itself,
        ),
        Keyword(
            "rootfs", roots.parse, None,
            "another root directory: a directory, oci:DIR[:TAG], or an archive of docker save",
            type="str | os.PathLike[str]", show=roots.show, recipe=_itself,
        ),
        Keyword(
            "layers", values.layers, (), "read-only layers over /, the lowest first",
            type="Sequence[str | os.PathLike[str] | Layer] | str | Layer",
            show=values.format_layers, several=True,
        ),
        Keyword(
            "fs_allow", paths.allowed, None,
            "all that a test may change: patterns such as build/**, and tmp_path",
            type="Sequence[str | os.PathLike[str]] | str", show=paths.show, several=True,
        ),
        Keyword(
            "fs_hide", paths.hidden, (), "paths that are not there, such as ~/.ssh or .env",
            type="Sequence[str | os.PathLike[str]] | str", show=paths.show,
            recipe=_itself, several=True,
        ),
        Keyword(
            "bind", paths.binds, (), "host paths that stay shared: PATH[:ro] or SRC:DST[:ro]",
            type="Sequence[str | os.PathLike[str]] | str", show=paths.show,
            recipe=_itself, several=True,
        ),
        Keyword("hostname", values.hostname, "isolate", "the host name inside", type="str",
                recipe=_itself),
        Keyword(
            "user", values.user, None,
            "who the test runs as: a name, a uid or 'root'; as the caller by default",
            type="str | int", recipe=_itself,
        ),
        Keyword(
            "env", values.environment, {}, "variables added, NAME=VALUE, or 'clean'",
            type='Mapping[str, str | None] | Literal["clean"]', several=True,
        ),
        Keyword(
            "fixtures", values.fixtures, "shared",
            "shared: wider scopes set up once, in pytest; fresh: inside; names: these inside",
            type='Literal["shared", "fresh"] | Sequence[str]', show=paths.show,
        ),
        Keyword(
            "scope", values.choice("function", "class", "module"), "function",
            "how many tests share one sandbox",
            type='Literal["function", "class", "module"]',
        ),
        Keyword("serial", values.boolean, False, "with --isolate-jobs: nothing else runs beside it",
                type="bool"),
        Keyword(
            "leaks", values.choice("error", "warn", "ignore"), "warn",
            "what processes left behind are: error, warn or ignore",
            type='Literal["error", "warn", "ignore"]',
        ),
        Keyword(
            "on_missing", values.choice("error", "skip", "warn"), _ON_MISSING,
            "when this machine cannot give it: error, skip, warn",
            type='Literal["error", "skip", "warn"]',
        ),
        Keyword(
            "profile", values.text, None,
            "'strict' (see security.md), or a set of these from "
            "[tool.pytest_isolate.profiles.NAME]",
            type="str", recipe=_is_strict,
        ),
    )
}  # fmt: skip

#: The keywords that are limits, in the order in which they are shown.
LIMITS = tuple(keyword for keyword in KEYWORDS.values() if keyword.is_limit)


def marker_help() -> str:
    """Say what ``pytest --markers`` shows."""
    lines = (f"    {each.name}: {each.help_with_unit}" for each in KEYWORDS.values())
    return "\n".join(
        (
            (
                "isolate(**keywords): run the test in namespaces, limits and an overlay of its own."
                " Keywords:"
            ),
            *lines,
        )
    )
