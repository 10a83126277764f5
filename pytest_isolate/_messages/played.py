"""Hooks of those who remember across tests, called in pytest as well, for a test that ran
elsewhere.

A child calls everybody's hooks, and forgets with its end what they noted. Conftests, other modules
of the project and a few plugins keep in such hooks what a later test or the end of the run needs:
which step failed, which test a test depends on, a file of failures. Theirs are called again here,
with a copy of the child's report and with its exception as far as it can be made again from texts.
"""

from __future__ import annotations

import builtins
import copy
import functools
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_isolate._messages import mend, reading
from pytest_isolate._pytest import fixtures, hook_calls
from pytest_isolate._pytest.plugins import AROUND_SHARED, MARKS, REMEMBERING
from pytest_isolate._sandbox.salvage import Reader

_HOOKS = ("pytest_runtest_makereport", "pytest_exception_interact")
_TOLD = ("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish")
#: By which a test can be skipped, expected to fail or run otherwise. What a fixture does with it
#: nobody can know before.
_DECIDING = (
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_pyfunc_call",
    "pytest_fixture_setup",
)
_OUTCOMES = "_pytest.outcomes"


class UnknownError(Exception):
    """In the place of an exception whose class this process does not know."""


class Played:
    """The players of a run, and the innermost of their hooks."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._report: pytest.TestReport | None = None
        self._plugins = 0  # how many there were when what follows was found
        self._callers: dict[frozenset[object], dict[str, Any]] = {}
        self._found: dict[tuple[object, ...], frozenset[object]] = {}  # by hooks and a test's file
        self._said: set[str] = set()
        self._used: dict[str, bool] = {}  # marks, in this session
        config.pluginmanager.register(self, "isolate-played")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_makereport(self) -> pytest.TestReport | None:
        """Give the report that is there; nobody comes here in a call of pytest's own."""
        return self._report

    def is_around_shared(self, plugin: object) -> bool:
        """Whether hooks of a plugin are called around pytest's part of a set-up or teardown too:
        those of the project, and a few more.
        """
        return is_around_teardown(plugin) or self.is_projects_own(plugin)

    def is_projects_own(self, plugin: object) -> bool:
        """Whether a plugin is a module of the project."""
        return _is_projects_own(plugin, str(self._config.rootpath))

    def is_wanted(self, item: pytest.Item) -> bool:
        """Whether anybody plays for a test.

        Makes the callers, which a child could not make any more.
        """
        if not self._players(item):
            return False
        for name in (*_HOOKS, *_TOLD):
            self.caller(item, name)
        return True

    def deciders(self, item: pytest.Item) -> list[str]:
        """Whose hooks may decide about a test by how the tests before it ended, as the steps of
        pytest's manual do; files, or modules.

        They are unknown in what they remember, of which tests and where: in an attribute of the
        class, in a module that others of the project read. So it is enough that somebody hears of
        tests and somebody has a hook before one; and all before it count.
        """
        hearing, deciding = (self._those(item, names) for names in ((*_HOOKS, *_TOLD), _DECIDING))
        return sorted(map(self._name, deciding)) if hearing else []

    def _is_used(self, plugin: object, session: pytest.Session) -> bool:
        """Whether a plugin has a say in the tests of this session, and is not only installed."""
        known = MARKS.get(hook_calls.module_of(plugin).partition(".")[0])
        if known is None:
            return True
        mark, for_all = known
        if mark not in self._used:
            self._used[mark] = bool(self._config.getini(for_all)) or any(
                item.get_closest_marker(mark) for item in session.items
            )
        return self._used[mark]

    def _name(self, plugin: object) -> str:
        path = getattr(plugin, "__file__", None)
        root = self._config.rootpath
        return (
            os.path.relpath(path, root)
            if path and self.is_projects_own(plugin)
            else hook_calls.module_of(plugin)
        )

    def call(
        self,
        report: pytest.TestReport,
        raised: dict[str, Any] | None,
        reader: Reader | None,
        *,
        strict: bool,
    ) -> pytest.CallInfo[None]:
        """Return the call behind a child's report, with what the child said of an exception."""
        call: pytest.CallInfo[None] = pytest.CallInfo.from_call(
            lambda: None, when=report.when or "call"
        )
        if raised is not None:
            call.excinfo = pytest.ExceptionInfo.from_exception(
                _exception(raised, reader, strict=strict)
            )
        call.duration = report.duration
        call.start, call.stop = (
            getattr(report, "start", call.start),
            getattr(report, "stop", call.stop),
        )
        return call

    def play(
        self,
        item: pytest.Item,
        report: pytest.TestReport,
        call: pytest.CallInfo[None],
        unsaid: Sequence[str],
        *,
        made_here: bool,
    ) -> str | None:
        """Call their ``pytest_runtest_makereport``.

        Returns a sentence for what went wrong in it, once.

        What they do to a report they have done to the child's in there, so they get a copy, but of
        one that was made here.
        """
        self._report = report if made_here else copy.deepcopy(report)
        try:
            self.caller(item, _HOOKS[0])(item=item, call=call)
        except fixtures.NotHereError:
            return None
        except Exception as error:  # noqa: BLE001 - what of the test it wanted is not here: no internal error of pytest's
            return self._trouble(_HOOKS[0], error)
        finally:
            made, self._report = self._report, None
        for name in unsaid:  # objects that they gave to the report
            if name in vars(made):
                setattr(report, name, vars(made)[name])
        return None

    def interact(
        self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]
    ) -> str | None:
        """Call their ``pytest_exception_interact``, where pytest would have: for what is no skip
        and was not expected.
        """
        if call.excinfo is None or report.outcome == "skipped" or hasattr(report, "wasxfail"):
            return None
        try:
            self.caller(item, _HOOKS[1])(node=item, call=call, report=report)
        except fixtures.NotHereError:
            return None
        except Exception as error:  # noqa: BLE001 - as above
            return self._trouble(_HOOKS[1], error)
        return None

    def _trouble(self, hook: str, error: Exception) -> str | None:
        at = traceback.extract_tb(error.__traceback__)[-1]
        text = (
            f"isolate: {hook} at {at.filename}:{at.lineno} was called in pytest for a test that ran"
            f" in a sandbox, and there it raised {type(error).__name__}: {error}; values of"
            " fixtures of function scope and attributes of the test are in the sandbox only"
        )
        if f"{hook}{at.filename}" in self._said:
            return None
        self._said.add(f"{hook}{at.filename}")
        return text

    def _players(self, item: pytest.Item) -> frozenset[object]:
        return self._those(item, _HOOKS)

    def _those(self, item: pytest.Item, names: tuple[str, ...]) -> frozenset[object]:
        """Who remembers across tests, is used, and has one of these hooks."""
        self._look()
        if (known := self._found.get((names, item.path))) is not None:
            return known
        hooks = item.ihook
        plugins = {impl.plugin for name in names for impl in getattr(hooks, name).get_hookimpls()}
        found = frozenset(
            plugin
            for plugin in plugins
            if self._remembers(plugin) and self._is_used(plugin, item.session)
        )
        self._found[names, item.path] = found
        return found

    def _look(self) -> set[Any]:
        """All plugins that there are. What was found among others is forgotten."""
        plugins = self._config.pluginmanager.get_plugins()
        if self._plugins != len(plugins):
            self._plugins, self._callers, self._found = len(plugins), {}, {}
        return plugins

    def _remembers(self, plugin: object) -> bool:
        return hook_calls.module_of(plugin).partition(".")[
            0
        ] in REMEMBERING or self.is_projects_own(plugin)

    def caller(self, item: pytest.Item, name: str) -> Any:  # noqa: ANN401 - a caller's class cannot be named
        """Return the caller of a hook of those who play for a test, and of no others."""
        manager, players = self._config.pluginmanager, self._players(item)
        callers = self._callers.setdefault(players, {})
        if name not in callers:
            others = [each for each in self._look() if each not in players and each is not self]
            callers[name] = manager.subset_hook_caller(name, others)
        return callers[name]


def is_around_teardown(plugin: object) -> bool:
    """Whether its hook is called around pytest's part of a teardown too."""
    return hook_calls.module_of(plugin).partition(".")[0] in AROUND_SHARED


@functools.lru_cache(maxsize=256)
def _is_projects_own(plugin: object, root: str) -> bool:
    """Whether it is a module of the project, a conftest above all, or an object of a
    class in one.
    """
    module = plugin if hasattr(plugin, "__file__") else sys.modules.get(type(plugin).__module__)
    path = getattr(module, "__file__", None) or ""
    if Path(path).name == "conftest.py":
        return True
    return (
        Path(root) in Path(path).parents
        and "site-packages" not in path
        and not path.startswith(sys.prefix)
    )


def _exception(raised: dict[str, Any], reader: Reader | None, *, strict: bool) -> BaseException:
    """Return what the child's phase raised: of the same class where this process has it, with the
    same text and the same stack.
    """
    error = _instance(raised, strict=strict)
    try:
        mend.raise_at(reading.places(raised["stack"], reader), error)
    except BaseException as found:  # noqa: BLE001 - the one that was raised here
        while (
            found.__traceback__ is not None
            and found.__traceback__.tb_next is not None
            and _is_ours(found)
        ):
            found = found.with_traceback(found.__traceback__.tb_next)
        return found


def _is_ours(error: BaseException) -> bool:
    assert error.__traceback__ is not None
    return error.__traceback__.tb_frame.f_code.co_filename in {__file__, mend.__file__}


def _class(module: str, name: str, *, strict: bool) -> type[BaseException] | None:
    """Find the class of a name; nothing is imported for a child, and no code of a module's runs.

    A strict test names those of Python.
    """
    if strict and module not in {"builtins", _OUTCOMES}:
        return None
    if module == "builtins" and name not in vars(builtins):
        module = _OUTCOMES  # pytest's exceptions say that they are Python's own
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = (
            vars(found).get(part) if isinstance(found, type) or hasattr(found, "__dict__") else None
        )
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _instance(raised: dict[str, Any], *, strict: bool) -> BaseException:
    """One that is of the class, or of the nearest that is known here, and says the text; made
    without a class's own code.
    """
    (module, name), message = raised["classes"][0], raised["message"]
    known = (_class(module, name, strict=strict) for module, name in raised["classes"])
    cls = next((each for each in known if each is not None), UnknownError)
    if (module, name) == ("builtins", cls.__name__) and cls in _OF_OUTCOMES:
        return cls(message)
    base = next(
        each
        for each in cls.__mro__
        if each.__module__ == "builtins" and not each.__flags__ & _HEAP_TYPE
    )
    arguments = tuple(raised["arguments"] or (message,))
    if _GROUP is not None and issubclass(cls, _GROUP):
        arguments = (
            message.rpartition(" (")[0],
            [_instance(each, strict=strict) for each in raised["exceptions"]]
            or [UnknownError(message)],
        )
    said: Any = type(
        name.rpartition(".")[2] or "UnknownError",
        (cls,),
        {"__str__": lambda _: message, "__module__": module, "__qualname__": name},
    )
    new: Any = base.__new__
    made: BaseException = new(said, *arguments)
    made.args = arguments[:2] if isinstance(made, OSError) and raised["arguments"] else arguments
    return made


_OF_OUTCOMES = {
    pytest.fail.Exception,
    pytest.skip.Exception,
    pytest.xfail.Exception,
    pytest.exit.Exception,
}
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)  # from Python 3.11 on
_HEAP_TYPE = 1 << 9  # of a class that was made by a class statement: Py_TPFLAGS_HEAPTYPE
