"""Every use of what pytest does not promise, each with its reason. Tested on pytest 8.4, 9.0, 9.1 and 9.2.

Nothing else in this package may import ``_pytest`` or touch a name of pytest's that starts with an underscore.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import sys
import types
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

import pluggy
import pytest
from _pytest.fixtures import SubRequest
from _pytest.logging import caplog_records_key
from _pytest.runner import SetupState
from _pytest.scope import Scope
from _pytest.skipping import evaluate_skip_marks, evaluate_xfail_marks, xfailed_key

from pytest_isolate._sandbox.mirror import Mirror

Finalizers = list[Callable[[], object]]


_FORGOTTEN: list[object] = []  # in the child: what must not be collected


def _forget_finalizers(definition: Any) -> None:  # noqa: ANN401 - mypy knows no private attribute of it
    """In the child: a fixture's are the parent's to run. They hold its generator, whose end would run what stands behind its yield."""
    _FORGOTTEN.extend(definition._finalizers)
    definition._finalizers.clear()


def forget_parents_finalizers(item: pytest.Item) -> None:
    """In the child: keep the set-up nodes that the test is below, but none of their finalizers.

    ``SetupState.stack`` maps each active node to its finalizers. They are the parent's to run; a child runs only those
    that it adds itself. There is no public way to see or empty them.
    """
    for finalizers, _ in item.session._setupstate.stack.values():
        finalizers.clear()
    info: Any = getattr(item, "_fixtureinfo", None)
    for definitions in info.name2fixturedefs.values() if info is not None else ():
        for definition in definitions:  # of one with another parameter, which a rehearsal finds, pytest runs its own
            if definition.cached_result is not None:
                _forget_finalizers(definition)
    item.session._setupstate.teardown_exact(item)  # of an attempt after the loop has gone on to other collectors


def forget_shared_fixtures(item: pytest.Item, known: Iterable[pytest.FixtureDef[Any]]) -> None:
    """In the child, for ``fixtures="fresh"``: nothing counts as set up, so that everything is set up again, inside."""
    item.session._setupstate.stack.clear()
    forget_fixtures(known)


def forget_fixtures(known: Iterable[pytest.FixtureDef[Any]]) -> None:
    """In the child: some count as not set up."""
    for definition in known:
        definition.cached_result = None
        _forget_finalizers(definition)


def knows_fixture(item: pytest.Item, name: str) -> bool:
    """Whether a test could have a fixture of a name."""
    return bool(item.session._fixturemanager.getfixturedefs(name, item))


def with_dependents(item: pytest.Item, names: Iterable[str], known: Iterable[pytest.FixtureDef[Any]]) -> frozenset[str]:
    """Names of fixtures, and of those of a test, or ``known`` otherwise, that need one of them."""
    definitions = [*fixtures_of(item), *known]
    found, more = set(names), True
    while more:
        needing = {definition.argname for definition in definitions if not found.isdisjoint(definition.argnames)}
        more = not needing <= found
        found |= needing
    return frozenset(found)


def tear_down_rest(session: pytest.Session) -> None:
    """In the child: finalize what it set up itself on wider nodes, which the next item (in the parent) would keep alive."""
    session._setupstate.teardown_exact(None)


def leaves_shared_fixtures(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether something of a wider scope is finalized when ``nextitem`` follows ``item``.

    ``SetupState.stack`` has each active node with its finalizers, the first of which is the node's own, empty ``teardown``.
    """
    stays = set(nextitem.listchain()) if nextitem is not None else set()
    stack = item.session._setupstate.stack
    return any(
        len(finalizers) > 1 or not _is_pytests_own(node, "teardown")
        for node, (finalizers, _) in stack.items()
        if node is not item and node not in stays
    )


def _is_pytests_own(node: object, name: str) -> bool:
    method: Any = getattr(type(node), name, None)
    return str(method.__module__).startswith("_pytest.")


def leaves_nothing(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether nothing of anybody's is finalized between two tests; then the collectors that only the first is below are taken down."""
    if nextitem is None or leaves_shared_fixtures(item, nextitem):
        return False
    item.session._setupstate.teardown_exact(nextitem)
    return True


def set_up_shared(item: pytest.Item, fresh: Container[str], asked: str | None = None) -> None:
    """In pytest: set up the collectors of a test and, in pytest's order, every fixture of its closure that is wider and not ``fresh``.

    Behind these the one that was ``asked`` for while the test ran, by whatever name; one that is not wider is not for pytest to set up.

    What raises here stays in the fixture's or the collector's result, for the test to meet. A wide fixture can stand behind one of the
    same name that overrides it for functions. There is no public way to set up a part of what a test needs.
    """
    if not hasattr(item, "_request"):  # an item without fixtures, of a conftest's collector, say
        type(item.session._setupstate).setup(item.session._setupstate, item.parent)  # type: ignore[arg-type] # of which a node is enough
        return
    state = item.session._setupstate
    try:
        type(state).setup(state, item.parent)  # type: ignore[arg-type]
        state.stack[item] = ([], None)  # pytest 9.2 takes a request of an item that is not there for one during its teardown
        for name in _names(item):
            if name in fresh:
                continue
            request: Any = item._request
            for fixturedef in reversed(item._fixtureinfo.name2fixturedefs.get(name, ())):  # type: ignore[attr-defined]
                if is_shared(item, fixturedef):
                    request._get_active_fixturedef(name)
                elif name in fixturedef.argnames:
                    request = SubRequest(request, Scope.Function, None, 0, fixturedef, _ispytest=True)
                    continue
                break
        if asked is not None and (found := asked_fixture(item, asked)) is not None and is_shared(item, found):
            item._request._get_active_fixturedef(asked)
    finally:
        state.stack.pop(item, None)
        item._initrequest()  # type: ignore[attr-defined]


def asked_fixture(item: pytest.Item, name: str) -> Any:  # noqa: ANN401 - of which only the scope is public
    """The fixture that a test gets by ``getfixturevalue`` of a name."""
    found = item.session._fixturemanager.getfixturedefs(name, item)
    return found[-1] if found else None


@dataclass(frozen=True)
class Said:
    """What was captured and logged of a part of a phase."""

    streams: tuple[tuple[str, str], ...]  # by name
    records: tuple[logging.LogRecord, ...]


def say_at_setup(item: pytest.Item) -> None:
    """In the child: say what was captured of what pytest has set up, where its runner would set it up among everybody's hooks."""
    sections, state = item._report_sections, item.session._setupstate
    records = item.stash.get(caplog_records_key, {}).get("setup") or ()
    said = Said(tuple((kind, text) for _, kind, text in sections if kind in {"stdout", "stderr"}), tuple(records))
    sections.clear()

    def setup(each: pytest.Item) -> None:
        __tracebackhide__ = True
        del state.setup
        _say(item.config, said)
        state.setup(each)

    if said.streams or said.records:
        state.setup = setup  # type: ignore[method-assign, assignment]


def say_when_asked(item: pytest.Item, asked: Mapping[str, Said]) -> None:
    """In the child: the first time that the test asks for a fixture that is there by now, say what it said. No hook is called then."""
    for name, said in asked.items():
        if (fixturedef := asked_fixture(item, name)) is not None:
            fixturedef.execute = functools.partial(_say_and_execute, fixturedef, fixturedef.execute, item.config, said)


def _say_and_execute(fixturedef: Any, execute: Callable[..., object], config: pytest.Config, said: Said, *args: Any, **more: Any) -> object:  # noqa: ANN401
    __tracebackhide__ = True
    fixturedef.execute = execute
    _say(config, said)
    return execute(*args, **more)


@contextlib.contextmanager
def apart(item: pytest.Item, into: Callable[[Said], object]) -> Iterator[None]:
    """While a part of a set-up runs that another process has to tell of: keep what is captured and logged apart from what was before."""
    sections, kept = item._report_sections, item.stash.get(caplog_records_key, {})
    before, records = len(sections), kept.get("setup")
    try:
        yield
    finally:
        said = tuple((kind, text) for _, kind, text in sections[before:] if kind in {"stdout", "stderr"})
        del sections[before:]
        kept = item.stash.get(caplog_records_key, {})
        into(Said(said, tuple(kept.get("setup") or ())))
        if records is None:
            kept.pop("setup", None)
        else:
            kept["setup"] = records


def _say(config: pytest.Config, said: Said) -> None:
    """Say it again, to whatever captures and logs now."""
    for name, text in said.streams:
        stream = getattr(sys, name)
        if hasattr(stream, "_other"):  # --capture=tee-sys, which has let it be heard
            super(type(stream), stream).write(text)
        else:
            stream.write(text)
    plugin: Any = config.pluginmanager.getplugin("logging-plugin")
    for record in said.records:
        for handler in (plugin.caplog_handler, plugin.report_handler):
            if record.levelno >= handler.level:
                handler.handle(record)


def _names(item: pytest.Item) -> list[str]:
    info = getattr(item, "_fixtureinfo", None)
    return [] if info is None else list(info.names_closure)


def fixtures_of(item: pytest.Item) -> list[Any]:
    """All that a test could have of the fixtures that it needs, also those that another of the same name hides."""
    info: Any = getattr(item, "_fixtureinfo", None)
    return [each for found in info.name2fixturedefs.values() for each in found] if info is not None else []


def set_up_nodes(session: pytest.Session) -> tuple[object, ...]:
    """The collectors that are set up."""
    return tuple(session._setupstate.stack)


def has_shared(item: pytest.Item, fresh: Container[str]) -> bool:
    """Whether all that ``set_up_shared`` would set up is there, or has failed."""
    stack = item.session._setupstate.stack
    if any(node not in stack and not _is_pytests_own(node, "setup") for node in item.listchain()[:-1]):
        return False
    info: Any = getattr(item, "_fixtureinfo", None)
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    for name in info.names_closure if info is not None else ():
        for fixturedef in reversed(() if name in fresh else info.name2fixturedefs.get(name, ())):
            if is_shared(item, fixturedef):
                if fixturedef.cached_result is None or fixturedef.cached_result[1] is not parameters.get(name):
                    return False
            elif name in fixturedef.argnames:
                continue
            break
    return True


Cut = Callable[[types.TracebackType | None], types.TracebackType | None]


def raise_whole(error: BaseException, cut: Cut) -> None:
    """In the child of the first test that meets a wider fixture's or collector's error: it comes by all the hooks that it passed in pytest.

    Pytest keeps an ``Exception`` of a fixture and of a collector. Of what else there is (``SystemExit``, what its own hook of a fixture's
    set-up says) it keeps nothing, and a second set-up would fail otherwise, or not at all. Only frames tell through which of them it came.
    """
    step = error.__traceback__
    while step is not None and step.tb_next is not None:  # what such a frame itself raised is of no set-up, and comes again by itself
        code, found = step.tb_frame.f_code, step.tb_frame.f_locals
        if code is pytest.FixtureDef.execute.__code__:
            found["self"].cached_result = (None, found["self"].cache_key(found["request"]), (error, cut(step.tb_next)))
        elif code is SetupState.setup.__code__:
            stack, node = found["self"].stack, found["col"]
            stack[node] = (stack[node][0], (error, cut(step.tb_next)))
        step = step.tb_next


def is_skipped(item: pytest.Item) -> bool:
    """Whether a mark skips a test before anything of it runs. There is no public way to ask; what asking raises, the test will say."""
    if not _knows_marks(item):
        return False
    try:
        return evaluate_skip_marks(item) is not None
    except Exception:  # noqa: BLE001 - pytest fails such a test, whatever a condition raised
        return False
    except pytest.fail.Exception:
        return False


def _knows_marks(item: pytest.Item) -> bool:
    """Whether pytest's own plugin for ``skip`` and ``xfail`` is there (-p no:skipping)."""
    return item.config.pluginmanager.hasplugin("skipping")


def is_not_run(item: pytest.Item) -> bool:
    """Whether ``xfail(run=False)`` ends a test before its fixtures, or its condition cannot be known."""
    if not _knows_marks(item):
        return False
    try:
        xfailed = evaluate_xfail_marks(item)
    except pytest.fail.Exception:
        return True
    return xfailed is not None and not xfailed.run


def is_shared(item: pytest.Item, fixturedef: Any) -> bool:  # noqa: ANN401 - of which only the scope is public
    """Whether a fixture is wider than a test: one of class scope is a function's own outside of classes.

    The fixture that pytest makes of a unittest class's own set-up and teardown counts if the class has one of them.
    """
    scope = fixturedef._scope
    if scope is Scope.Function or (scope is Scope.Class and item.getparent(pytest.Class) is None):
        return False
    return not (fixturedef.argname.startswith(_OF_UNITTEST_CLASSES) and _does_nothing(getattr(item, "cls", None)))


_OF_UNITTEST_CLASSES = "_unittest_setUpClass_fixture_"  # pytest 8.4 to 9.2; under another name a class is a barrier for jobs


def _does_nothing(cls: Any) -> bool:  # noqa: ANN401 - whatever the item says
    """Whether setUpClass and tearDownClass of a unittest class are those of unittest itself."""
    base: Any = getattr(sys.modules.get("unittest"), "TestCase", None)
    if base is None or not isinstance(cls, type) or not issubclass(cls, base) or getattr(cls, "_class_cleanups", None):
        return False
    names = ("setUpClass", "tearDownClass")
    return all(getattr(getattr(cls, name), "__func__", None) is getattr(base, name).__func__ for name in names)


def is_in_closure(item: pytest.Item, name: str) -> bool:
    """Whether a test needs a fixture by its signature, marks or another fixture's, and not only by ``getfixturevalue``."""
    return name in _names(item)


def forget_request(item: pytest.Item) -> None:
    """What pytest does at the end of a test's protocol, so that values of fixtures go with it."""
    if hasattr(item, "_request"):
        item._request = False
        item.funcargs = None  # type: ignore[attr-defined]


def before_setup_of_collectors(item: pytest.Item, tell: Callable[[str], object]) -> None:
    """In a child that rehearses: have it tell when pytest would set up somebody's own collector, which pytest has not."""
    for node in item.listchain()[:-1]:
        if node not in item.session._setupstate.stack and not _is_pytests_own(node, "setup"):
            node.setup = functools.partial(tell, node.nodeid)  # type: ignore[method-assign, assignment]


_OF_PHASES = frozenset({"capturemanager", "logging-plugin", "unraisableexception", "threadexception", "isolate-run", "runner"})


@contextlib.contextmanager
def only_shared(item: pytest.Item, fresh: Container[str], asked: str | None = None) -> Iterator[None]:
    """While the hook of a set-up is called: have pytest's runner set up what is shared, in its place among everybody's hooks.

    Of all that is captured and logged meanwhile, only what that does stays.
    """
    state, sections = item.session._setupstate, item._report_sections
    before, heard = len(sections), _Heard(item.config)

    def setup(_: pytest.Item) -> None:
        with heard.listening():
            set_up_shared(item, fresh, asked)

    state.setup = setup  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del state.setup
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        sections[before:] = [("setup", kind, text) for kind, text in heard.said.items() if text]
        heard.close()


class _Silence:
    """Without what Python prints while pytest's capture is suspended, as it is around its own hook of a phase, to streams that it keeps."""

    def __init__(self, config: pytest.Config) -> None:
        capturing = _capturing(config)
        found = [getattr(capturing, name, None) for name in ("out", "err")]
        streams: list[Any] = [getattr(stream, "syscapture", stream) for stream in found]
        self._kept = [(stream, stream._old) for stream in streams if hasattr(stream, "_old")]
        self._nowhere = io.StringIO()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        for stream, old in self._kept:
            self._turn(stream, old, self._nowhere)
        try:
            yield
        finally:
            for stream, old in self._kept:
                self._turn(stream, self._nowhere, old)

    @staticmethod
    def _turn(stream: Any, before: object, behind: object) -> None:  # noqa: ANN401 - of a class that cannot be named
        stream._old = behind
        if getattr(sys, stream.name) is before:
            setattr(sys, stream.name, behind)


class _Heard:
    """What was said while somebody listened, and nothing of what was said besides. Private are the streams of pytest's logging."""

    def __init__(self, config: pytest.Config) -> None:
        self.said: dict[str, str] = {}
        self._capture: Any = config.pluginmanager.getplugin("capturemanager") if captures(config) else None
        self._logging: Any = config.pluginmanager.getplugin("logging-plugin")
        self._silence = _Silence(config)
        self._quiet = contextlib.ExitStack()
        self._be_quiet()

    def _be_quiet(self) -> None:
        self._quiet.enter_context(quietly() if self._capture is None else self._silence.held())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        self._quiet.close()
        if self._capture is not None:
            self._capture.read_global_capture()
        if self._logging is not None:
            self._logging.caplog_handler.records.clear()
            self._logging.caplog_handler.stream.truncate(0)
            self._logging.report_handler.reset()
        try:
            yield
        finally:
            if self._capture is not None:
                self.said["stdout"], self.said["stderr"] = self._capture.read_global_capture()
            if self._logging is not None:
                self.said["log"] = self._logging.report_handler.stream.getvalue().strip()
            self._be_quiet()

    def close(self) -> None:
        self._quiet.close()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what Python prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def around_protocol(item: pytest.Item, projects: Callable[[object], bool] = lambda _: False) -> Iterator[None]:
    """What pytest's own plugins put around a test's protocol, for the parts of it that are pytest's: wider fixtures.

    Without it their warnings are lost, their assertions are not explained, and one that hangs shows no stack
    after ``faulthandler_timeout``. All do it in a wrapper of ``pytest_runtest_protocol``, which there is no public way to enter alone.
    """
    wrappers = []
    for name in ("warnings", "assertion", "faulthandler", "timeout"):
        plugin = item.config.pluginmanager.getplugin(name)
        if plugin is not None and hasattr(plugin, "pytest_runtest_protocol"):
            wrappers.append(plugin.pytest_runtest_protocol(item=item))
            next(wrappers[-1])
    impls = [
        impl for impl in item.ihook.pytest_runtest_protocol.get_hookimpls() if (impl.wrapper or impl.hookwrapper) and projects(impl.plugin)
    ]
    theirs: list[tuple[Any, Any]] = []
    given = {"item": item, "nextitem": None}
    with quietly():
        for impl in reversed(impls):
            theirs.append((impl, impl.function(*(given[name] for name in impl.argnames))))
            next(theirs[-1][1])
    try:
        yield
    finally:
        for impl, wrapper in reversed(theirs):
            with quietly(), contextlib.suppress(StopIteration):
                wrapper.send(pluggy.Result(True, None) if impl.hookwrapper else True)
        for wrapper in reversed(wrappers):
            with contextlib.suppress(StopIteration):
                wrapper.send(None)


def phase_of(item: pytest.Item, when: str, projects: Callable[[object], bool] = lambda _: False) -> Callable[..., Any]:
    """The hook of a phase, captured and logged, without what anybody but pytest, this plugin and ``projects`` does in it.

    The names of pytest's own plugins are not documented, nor is what its logging keeps of a set-up for the teardown.
    """
    manager = item.config.pluginmanager
    if when != "setup" and manager.hasplugin("logging-plugin"):
        item.stash.setdefault(caplog_records_key, {})
    name = f"pytest_runtest_{when}"
    callers = item.config.stash.setdefault(_PHASES, {})
    known = callers.get(name)
    if known is None or known[0] != len(manager.get_plugins()):
        others = [plugin for plugin in manager.get_plugins() if manager.get_name(plugin) not in _OF_PHASES and not projects(plugin)]
        known = callers[name] = (len(manager.get_plugins()), manager.subset_hook_caller(name, others))
    return known[1]


@contextlib.contextmanager
def without_stops(session: pytest.Session) -> Iterator[None]:
    """While hooks run here that may end the session inside, in their test. What is set cannot be unset in public."""
    stops = session._shouldstop, session._shouldfail
    try:
        yield
    finally:
        session._shouldstop, session._shouldfail = stops


def teardown_by(item: pytest.Item, projects: Callable[[object], bool]) -> Callable[..., Any]:
    """The hook of a teardown with ``projects`` alone."""
    manager = item.config.pluginmanager
    callers, plugins = item.config.stash.setdefault(_PHASES, {}), manager.get_plugins()
    known = callers.get("teardown of projects")
    if known is None or known[0] != len(plugins):
        others = [plugin for plugin in plugins if not projects(plugin)]
        known = callers["teardown of projects"] = (len(plugins), manager.subset_hook_caller("pytest_runtest_teardown", others))
    return known[1]


_PHASES = pytest.StashKey[dict[str, tuple[int, Any]]]()


class _Protocol:
    """Stands in the place of a hook's caller."""

    def __init__(self, original: Any, instead: Callable[..., object]) -> None:  # noqa: ANN401 - of a class that cannot be named
        self._original, self._instead = original, instead

    def __call__(self, *, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        return self._instead(item, nextitem)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._original, name)


@contextlib.contextmanager
def protocol_by(config: pytest.Config, instead: Callable[..., object]) -> Iterator[Callable[..., Any]]:
    """Have the protocol of every test begin with ``instead``, outside of everybody's wrappers; gives the caller of pytest's own.

    A wrapper of ours would not do: pluggy has it go on with the others, whose first halves would then run in pytest, for each test that
    runs elsewhere, and once more in there. That the hook relay is an object whose attributes can be set is not promised.
    """
    original = config.pluginmanager.hook.pytest_runtest_protocol
    _set_hooks(config, {"pytest_runtest_protocol": _Protocol(original, instead)})
    try:
        yield original
    finally:
        _set_hooks(config, {"pytest_runtest_protocol": original})


def give_back_protocol(config: pytest.Config) -> None:
    """In the child, which runs it as a plain run does."""
    stand_in = config.pluginmanager.hook.pytest_runtest_protocol
    if isinstance(stand_in, _Protocol):
        _set_hooks(config, {"pytest_runtest_protocol": stand_in._original})


def wide_parameters(item: pytest.Item) -> tuple[tuple[str, int], ...]:
    """Name and index of an item's parameters of wider scopes, for which pytest reorders and re-makes shared fixtures.

    ``callspec`` has no public description; ``_arg2scope`` is the one place that says which scope a parameter has.
    """
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return ()
    scopes = callspec._arg2scope
    return tuple((name, index) for name, index in sorted(callspec.indices.items()) if scopes[name].value != "function")


def _capturing(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    """The capture of the standard streams, which there is no public way to look at; None without one."""
    return getattr(config.pluginmanager.getplugin("capturemanager"), "_global_capturing", None)


def capture_files(config: pytest.Config) -> list[tuple[int, int]]:
    """The files behind pytest's global fd capture, as (captured descriptor, its file's descriptor). Between tests they are empty.

    A child must not share their offset with the parent, and the output of a killed child can be read only from a
    file that the parent holds too; there is no public way to say which file to capture to.
    """
    capturing = _capturing(config)
    found = []
    for stream in (getattr(capturing, "out", None), getattr(capturing, "err", None)):
        target = getattr(stream, "targetfd", None)
        if stream is not None and target is not None:
            found.append((target, stream.tmpfile.fileno()))
    return found


@contextlib.contextmanager
def overhearing(config: pytest.Config) -> Iterator[dict[str, str]]:
    """Capture what threads of this process say while a test runs elsewhere, as they would have been during the test.

    Between two tests, where pytest stands then, it captures nothing, and there is no public way to have it.
    """
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    said: dict[str, str] = {}
    if not captures(config):
        yield said
        return
    try:
        manager.resume_global_capture()
    except OSError:  # then it comes out uncaptured, which is no reason to lose a test
        manager.suspend_global_capture(in_=False)
        yield said
        return
    try:
        yield said
    finally:
        manager.suspend_global_capture(in_=False)
        said["stdout"], said["stderr"] = manager.read_global_capture()


def _live_logs(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    return getattr(config.pluginmanager.getplugin("logging-plugin"), "log_cli_handler", None)


def has_shown_live_logs(config: pytest.Config) -> bool:
    """Whether this process has shown the heading of live logs for the phase that it is in."""
    return bool(getattr(_live_logs(config), "_section_name_shown", False))


def continue_live_logs(config: pytest.Config, phase: str) -> None:
    """Have live logs of a phase go on below the heading that another process has shown for its part of it.

    The handler forgets at the beginning of a phase that it has shown one.
    """
    handler = _live_logs(config)
    if not hasattr(handler, "_section_name_shown"):
        return
    begin_phase = handler.set_when

    def set_when(when: str | None) -> None:
        begin_phase(when)
        handler._section_name_shown = when == phase
        handler.set_when = begin_phase

    handler.set_when = set_when


def captures(config: pytest.Config) -> bool:
    """Whether the standard streams are captured during a phase."""
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    return manager is not None and manager.is_globally_capturing()


def records_of(item: pytest.Item, phase: str) -> list[logging.LogRecord]:
    """What was logged in a phase, up to now: of a finished teardown its last part, of which pytest's plugin keeps the list alone."""
    handler: Any = getattr(item.config.pluginmanager.getplugin("logging-plugin"), "caplog_handler", None)
    known = item.stash.get(caplog_records_key, {})
    return list(known.get(phase, ()) if phase != "teardown" else getattr(handler, "records", ()))


class _Recorded(io.StringIO):
    """What pytest's handler of log records writes a phase's records to, with a second place for them."""

    def __init__(self, mirror: Mirror, text: str = "") -> None:
        super().__init__()
        self._mirror = mirror
        mirror.clear()
        if text:
            self.write(text)

    def write(self, text: str) -> int:
        self._mirror.write(text)
        return super().write(text)


def kept_in_memory(config: pytest.Config) -> dict[str, Any]:
    """What pytest captures into its own memory, by the name in a report's section ("log"), and the object that holds it.

    It is lost with the process, and there is no public way to have it kept elsewhere.
    """
    found = {}
    if (handler := getattr(config.pluginmanager.getplugin("logging-plugin"), "report_handler", None)) is not None:
        found["log"] = handler
    capturing = _capturing(config)
    for name, stream in (("stdout", getattr(capturing, "out", None)), ("stderr", getattr(capturing, "err", None))):
        if stream is not None and not hasattr(stream, "targetfd"):  # --capture=sys
            found[name] = stream.tmpfile
    return found


def mirror(config: pytest.Config, mirrors: Mapping[str, Mirror]) -> None:
    """In the child: have it written to these too, from what is there already on."""
    for name, holder in kept_in_memory(config).items():
        if name == "log":
            _mirror_records(holder, mirrors[name])
        else:
            _mirror_stream(holder, mirrors[name])


def _mirror_records(handler: Any, mirror: Mirror) -> None:  # noqa: ANN401 - of a class that cannot be named
    """``LogCaptureHandler.reset`` begins a phase, with a new stream."""
    reset = handler.reset

    def reset_both() -> None:
        reset()
        handler.stream = _Recorded(mirror)

    handler.stream = _Recorded(mirror, handler.stream.getvalue())
    handler.reset = reset_both


def _mirror_stream(stream: Any, mirror: Mirror) -> None:  # noqa: ANN401 - of a class that cannot be named
    """``SysCapture.snap`` ends a phase, and truncates its stream."""
    write, truncate = stream.write, stream.truncate

    def write_both(text: str) -> int:
        mirror.write(text)
        written: int = write(text)
        return written

    def truncate_both(*size: int) -> int:
        mirror.clear()
        left: int = truncate(*size)
        return left

    mirror.write(stream.getvalue())
    stream.write, stream.truncate = write_both, truncate_both


def capture_keeps(config: pytest.Config) -> set[int]:
    """Descriptors without which the capture of a child fails: where it restores the standard streams from."""
    capturing = _capturing(config)
    streams = [getattr(capturing, name, None) for name in ("out", "err")]
    saved = {stream.targetfd_save for stream in streams if stream is not None and hasattr(stream, "targetfd_save")}
    return saved | capture_input(config)


def capture_input(config: pytest.Config) -> set[int]:
    """Those of them that are pytest's standard input, and what stands in its place."""
    stdin = getattr(_capturing(config), "in_", None)
    return {stdin.targetfd_save, stdin.tmpfile.fileno()} if stdin is not None and hasattr(stdin, "targetfd") else set()


def has_terminal(config: pytest.Config) -> bool:
    """Whether a person can type to this run: its standard input, which capture has put aside, is a terminal."""
    stdin = getattr(_capturing(config), "in_", None)
    return os.isatty(getattr(stdin, "targetfd_save", 0))


def log_file_descriptors(config: pytest.Config) -> set[int]:
    """``--log-file``: the contract has log files go where plain pytest puts them, so its open file stays open."""
    plugin: Any = config.pluginmanager.getplugin("logging-plugin")
    stream = getattr(getattr(plugin, "log_file_handler", None), "stream", None)
    try:
        return {stream.fileno()} if stream is not None else set()
    except (OSError, ValueError, AttributeError):  # no real file behind it (os.devnull has one)
        return set()


def debug_trace(config: pytest.Config) -> list[TextIO]:
    """The file of ``pytest --debug``, which its hook keeps to itself: it stays open too, and has to be flushed before a fork.

    What is written of it in a child is what plain pytest writes there. pluggy has no public way to say where its trace goes.
    """
    file = getattr(getattr(config.trace.root, "_writer", None), "__self__", None)
    return [file] if isinstance(file, io.TextIOBase) and not file.closed else []  # type: ignore[list-item] # of open(), so text


def report_sections(item: pytest.Item) -> list[tuple[str, str, str]]:
    """What was captured so far, as (phase, kind, text): ``Item.add_report_section`` is public, reading back is not."""
    return item._report_sections


def restore_serialization(manager: pytest.PytestPluginManager) -> None:
    """For -p no:reports: that plugin is the way in which pytest itself takes a report from one process to another, and nothing else."""
    manager.register(sys.modules["_pytest.reports"], "isolate-reports")


def skip_where_the_test_is(why: str) -> NoReturn:
    """As ``pytest.mark.skip`` does: ``pytest.skip`` names the line that calls it, which is ours and tells nobody which test it was."""
    raise pytest.skip.Exception(why, _use_item_location=True)


def temporary_base(config: pytest.Config) -> Path:
    """The base of all ``tmp_path``, made by the parent so that forty children do not make forty of them."""
    factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    return factory.getbasetemp()


def keeps_failed_temporary(config: pytest.Config) -> bool:
    """Whether pytest's retention policy keeps the ``tmp_path`` of a failing test."""
    return config.getini("tmp_path_retention_policy") in {"all", "failed"}


def function_arguments(item: pytest.Item) -> dict[str, Any] | None:
    """``Item.funcargs``, which only functions have, and they only during their protocol."""
    return getattr(item, "funcargs", None)


@contextlib.contextmanager
def given_arguments(item: pytest.Item, more: Mapping[str, object]) -> Iterator[None]:
    """In pytest, for hooks that look at a test's fixtures: the values of the wider ones, and ``more``."""
    if not hasattr(item, "funcargs"):
        yield
        return
    before = item.funcargs
    item.funcargs = _Arguments({**_wide_values(item), **more}, _names(item))
    try:
        yield
    finally:
        item.funcargs = before


def _wide_values(item: pytest.Item) -> dict[str, object]:
    info: Any = getattr(item, "_fixtureinfo", None)
    last = {name: found[-1] for name, found in info.name2fixturedefs.items() if found} if info is not None else {}
    wide = {name: each.cached_result for name, each in last.items() if is_shared(item, each) and each.cached_result}
    return {name: result[0] for name, result in wide.items() if result[2] is None}


class _Arguments(dict[str, object]):
    """Values of fixtures, of which those of function scope are in the sandbox."""

    def __init__(self, there: Mapping[str, object], elsewhere: Iterable[str]) -> None:
        super().__init__(there)
        self._elsewhere = frozenset(elsewhere)

    def __missing__(self, name: str) -> object:
        raise NotHereError(name) if name in self._elsewhere else KeyError(name)


class NotHereError(KeyError):
    """A hook wants a value that only the test's own process has, where the same hook has had it."""


def own_makereport(item: pytest.Item) -> Any:  # noqa: ANN401 - a caller's class cannot be named
    """``pytest_runtest_makereport`` of pytest's own plugins alone. Only the package that they come from tells them from others.

    The one for ``xfail`` reads what pytest has found out in the set-up, which was the child's.
    """
    manager = item.config.pluginmanager
    if xfailed_key not in item.stash:
        item.stash[xfailed_key] = None
        with contextlib.suppress(pytest.fail.Exception):  # a condition that cannot be known: the child has said so
            item.stash[xfailed_key] = evaluate_xfail_marks(item)
    callers = item.config.stash.setdefault(_PHASES, {})
    plugins = manager.get_plugins()
    known = callers.get("pytest_runtest_makereport")
    if known is None or known[0] != len(plugins):
        others = [plugin for plugin in plugins if not module_of(plugin).startswith("_pytest.")]
        known = callers["pytest_runtest_makereport"] = (len(plugins), manager.subset_hook_caller("pytest_runtest_makereport", others))
    return known[1]


def module_of(plugin: object) -> str:
    """The name of a plugin's module, or of its class's."""
    return str(getattr(plugin, "__name__", None) or type(plugin).__module__)


def cache_directory(config: pytest.Config) -> Path | None:
    """Where pytest's cache is: the ini value is public, the rules by which it becomes a path are not."""
    directory: Path | None = getattr(getattr(config, "cache", None), "_cachedir", None)
    return directory


Pairs = list[tuple[str, str]]


def junit_said(item: pytest.Item, before: int) -> tuple[Pairs, Pairs]:
    """In the child: what ``record_testsuite_property`` said behind the first ``before`` ones, and ``record_xml_attribute`` of this item.

    Both write straight into the object behind ``--junitxml``, which has no public name; everything else of it travels in reports.
    """
    xml = _junit(item.config)
    if xml is None:
        return [], []
    mine = [reporter for key, reporter in xml.node_reporters.items() if str(key[0]) == item.nodeid]
    return xml.global_properties[before:], [pair for reporter in mine for pair in reporter.attrs.items()]


def junit_take(item: pytest.Item, properties: Pairs, attributes: Pairs) -> None:
    """In the parent: say them again."""
    xml = _junit(item.config)
    for name, value in properties if xml is not None else ():
        xml.add_global_property(name, value)
    for name, value in attributes if xml is not None else ():
        xml.node_reporter(item.nodeid).add_attribute(name, value)


def junit_properties(config: pytest.Config) -> int:
    """How many properties of the whole suite there are so far."""
    xml = _junit(config)
    return 0 if xml is None else len(xml.global_properties)


def _junit(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    if not getattr(config.option, "xmlpath", None):
        return None
    return next((plugin for plugin in config.pluginmanager.get_plugins() if type(plugin).__name__ == "LogXML"), None)


def take_identity(report: pytest.TestReport, item: pytest.Item) -> None:
    """A report from a child is the item's. pytest 9.2 parses the identity from its text, wrongly where a name has ``::``."""
    if hasattr(report, "_id") and hasattr(item, "id"):
        report._id = item.id


def _failed_subtests(item: pytest.Item) -> tuple[dict[object, int], object] | None:
    """Where pytest's subtests plugin (9.0 on) counts a test's failed parts, and under which key.

    By this count, in the config's stash under a key without a public name, a test that passed but for its parts becomes a failure.
    """
    key = getattr(item.config.pluginmanager.getplugin("subtests"), "failed_subtests_key", None)
    return None if key is None else (item.config.stash[key], getattr(item, "id", item.nodeid))


def count_failed_subtests(item: pytest.Item) -> int:
    """In the child: the count up to now (unittest's parts are not in it)."""
    found = _failed_subtests(item)
    return 0 if found is None else found[0][found[1]]


def take_in_subtest(item: pytest.Item, report: pytest.TestReport, data: dict[str, Any], count: object) -> None:
    """In the parent: the child's count, and the part's arguments as they were.

    Reading a report back writes each argument's text as the text of a text, ``i='1'`` for ``i=1``, from pytest 9.1 on; 9.0 has no texts
    there but the arguments, and writes them when it prints.
    """
    found = _failed_subtests(item)
    if found is not None and isinstance(count, int) and count > 0:
        found[0][found[1]] = count
    said = data.get("_subtest.context")
    arguments = said.get("kwargs") if isinstance(said, dict) else None
    context = getattr(report, "context", None)
    if isinstance(arguments, dict) and hasattr(context, "kwargs"):
        object.__setattr__(context, "kwargs", arguments)  # a frozen dataclass


_ALONE = pytest.StashKey[tuple[int, dict[str, object]]]()


def redirect_hooks(config: pytest.Config, receiver: object, names: Iterable[str]) -> None:
    """In the child: have some hooks call ``receiver`` alone, so that reports go to the parent and not to a copied terminal.

    ``subset_hook_caller`` is pluggy's public way to leave plugins out; that the hook relay is an object whose attributes can
    be set is not promised. It is set on the plugin manager's own relay, where those of single conftest folders read it, and on
    ``config.hook``, which keeps what it has read once.
    """
    _set_hooks(config, prepared_callers(config, receiver, names))


def _set_hooks(config: pytest.Config, callers: Mapping[str, object]) -> None:
    for name, caller in callers.items():
        setattr(config.pluginmanager.hook, name, caller)
        setattr(config.hook, name, caller)


def prepared_callers(config: pytest.Config, receiver: object, names: Iterable[str]) -> dict[str, object]:
    """The callers for it, made once in the parent (1 ms) and again only when plugins came or went."""
    manager = config.pluginmanager
    plugins = manager.get_plugins()
    known = config.stash.get(_ALONE, None)
    if known is None or known[0] != len(plugins):
        others = [plugin for plugin in plugins if plugin is not receiver]
        callers: dict[str, object] = {name: manager.subset_hook_caller(name, others) for name in names}
        known = config.stash[_ALONE] = (len(plugins), callers)
    return known[1]
