"""Options that are no keywords: each can also stand in the ini file, where the command
line wins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_isolate._config import values
from pytest_isolate._config.values import Parser

#: pytest 9.2 takes numbers and booleans of its native TOML table where an option has several types;
#: before, text alone.
SCALAR: Any = str | bool | int | float if pytest.version_tuple >= (9, 2) else "string"


#: A variable of the pytest that a bundle runs: its container is the sandbox.
IN_BUNDLE = "PYTEST_ISOLATE_IN_BUNDLE"


class Setting:
    """One option, by its name in ``config.option`` and in the ini file.

    Without a metavar it is a flag.
    """

    def __init__(
        self,
        name: str,
        parse: Parser,
        default: object,
        text: str,
        metavar: str | None = None,
        *,
        is_path: bool = False,
        reports: bool = False,
    ) -> None:
        self.name = name
        self.parse = parse
        self.default = default
        self.help = text
        self.metavar = metavar
        self.is_path = is_path
        self.reports = reports  # something is to be read or written for it at the end
        self.option = "--" + name.replace("_", "-")


def _word(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError("it must be a number or some text")
    return str(value)


SETTINGS = (
    Setting("isolate_all", values.boolean, False, "isolate every test, marked or not"),
    Setting("isolate_off", values.boolean, False, "run marked tests as plain tests"),
    Setting(
        "isolate_jobs",
        _word,
        "1",
        "how many isolated tests may run at once: a number, or auto",
        "N",
    ),
    Setting(
        "isolate_report",
        _word,
        None,
        "write a JSON report of every isolated test",
        "PATH",
        is_path=True,
        reports=True,
    ),
    Setting(
        "isolate_keep",
        values.choice("failed", "all", "none"),
        "none",
        "keep all that tests wrote: of failed ones, of all, or of none",
        "WHICH",
        reports=True,
    ),
    Setting(
        "isolate_artifacts", _word, "isolate-artifacts", "where --isolate-keep keeps it", "DIR"
    ),
    Setting(
        "isolate_shell",
        values.boolean,
        False,
        "open a shell in the sandbox of a test that fails, then go on",
    ),
    Setting(
        "isolate_oci",
        _word,
        None,
        "write tests' sandboxes as bundles for runc and crun (OCI)",
        "DIR",
        is_path=True,
        reports=True,
    ),
    Setting(
        "isolate_oci_of",
        values.choice("failed", "all"),
        "all",
        "of which tests --isolate-oci writes them: failed or all",
        "WHICH",
    ),
    Setting(
        "isolate_html",
        _word,
        None,
        "write one self-contained page; needs the packages jinja2 and bokeh",
        "PATH",
        is_path=True,
        reports=True,
    ),
    Setting(
        "isolate_trace",
        _word,
        None,
        "write when each test ran, as a trace for Perfetto and Chrome",
        "PATH",
        is_path=True,
        reports=True,
    ),
    Setting(
        "isolate_top",
        _word,
        None,
        "show the N heaviest isolated tests by memory, cpu and wall time",
        "N",
        reports=True,
    ),
    Setting(
        "isolate_budgets",
        _word,
        None,
        "fail a test that uses more than a budget file (TOML) says",
        "PATH",
        is_path=True,
        reports=True,
    ),
    Setting(
        "isolate_update_budgets",
        values.boolean,
        False,
        "write what the tests use to --isolate-budgets instead",
        reports=True,
    ),
)


_FROM_INI = pytest.StashKey[set[str]]()  # names of what the ini file says


def add(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Register them. No default hides what the ini file says."""
    for each in SETTINGS:
        if each.metavar is None:
            group.addoption(each.option, action="store_true", default=None, help=each.help)
        else:
            group.addoption(each.option, metavar=each.metavar, default=None, help=each.help)
        parser.addini(each.name, each.help, type=SCALAR, default=None)


def ini(config: pytest.Config, name: str) -> object:
    """Read an ini value, None without one. Raises ``pytest.UsageError``."""
    try:
        value: object = config.getini(name)
    except (TypeError, ValueError) as error:
        # Before pytest 9.2: its own sentence, which names file and value
        raise pytest.UsageError(str(error)) from None
    return None if value in ([], "") else value


def place(config: pytest.Config) -> str:
    """Name the ini file, for sentences."""
    return config.inipath.name if config.inipath else "the ini file"


def written(config: pytest.Config, name: str) -> str:
    """Name an option as it was written: on the command line, or in the ini file."""
    if name in config.stash.get(_FROM_INI, ()):
        return f"{place(config)}: {name}"
    return "--" + name.replace("_", "-")


def settle(config: pytest.Config) -> None:
    """Give every option its value: that of the command line, the ini file, or its default.

    Raises ``pytest.UsageError``.
    """
    typed = {each.name for each in SETTINGS if getattr(config.option, each.name) is not None}
    from_ini = config.stash[_FROM_INI] = set[str]()
    for each in SETTINGS:
        if each.name in typed:
            # Who reads the others says what is wrong with them
            if each.name in {"isolate_keep", "isolate_oci_of"}:
                _check(config, each, getattr(config.option, each.name))
            continue
        value = ini(config, each.name)
        if value is not None:
            from_ini.add(each.name)
            value = _check(config, each, value)
            if each.is_path:  # what the ini file says does not depend on where pytest was started
                value = os.path.join(
                    config.inipath.parent if config.inipath else config.rootpath, str(value)
                )
        setattr(config.option, each.name, each.default if value is None else value)
    if config.option.isolate_all and config.option.isolate_off:
        if "isolate_all" in typed and "isolate_off" not in typed:
            config.option.isolate_off = False
        elif not typed & {"isolate_all", "isolate_off"}:
            raise pytest.UsageError(
                f"isolate: isolate_all and isolate_off in {place(config)} contradict each other:"
                " leave one out"
            )


def _check(config: pytest.Config, setting: Setting, value: object) -> object:
    try:
        return setting.parse(value)
    except ValueError as error:
        origin = written(config, setting.name)
        raise pytest.UsageError(f"isolate: {origin}={value!r}: {error}") from None


def typed(config: pytest.Config) -> list[str]:
    """Return what a person typed: not the ini file's addopts, which are the same in every run."""
    return [*map(str, config.invocation_params.args), *os.environ.get("PYTEST_ADDOPTS", "").split()]


def without_partner(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """Yield options that were typed, and what they do nothing without."""
    names = {each.partition("=")[0] for each in typed(config)}
    if "--isolate-oci-of" in names and config.getoption("isolate_oci") is None:
        yield "--isolate-oci-of", "--isolate-oci=DIR"
    if "--isolate-artifacts" in names and config.getoption("isolate_keep") == "none":
        yield "--isolate-artifacts", "--isolate-keep=failed or --isolate-keep=all"


def why_one(config: pytest.Config) -> str | None:
    """Find the option by which tests talk to a terminal while they run: then one runs at a time."""

    def given(option: str) -> object:
        return config.getoption(option, None)  # its plugin may be off

    talking = {
        "-s": given("capture") == "no",
        "--pdb": given("usepdb"),
        "--trace": given("trace"),
        "--setup-show": given("setupshow"),
        "log_cli": (
            given("log_cli_level") is not None
            or (config.pluginmanager.hasplugin("logging") and config.getini("log_cli"))
        ),
    }
    return next((name for name, given in talking.items() if given), None)
