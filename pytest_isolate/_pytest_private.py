"""Every use of what pytest does not promise, each with its reason. Tested on pytest 8.4, 9.0, 9.1 and 9.2.

Nothing else in this package may import ``_pytest`` or touch a name of pytest's that starts with an underscore.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

import pytest

from pytest_isolate._sandbox.mirror import Mirror

Finalizers = list[Callable[[], object]]


def forget_parents_finalizers(session: pytest.Session) -> None:
    """In the child: keep the set-up nodes but none of their finalizers.

    ``SetupState.stack`` maps each active node to its finalizers. They are the parent's to run; a child runs only those
    that it adds itself. There is no public way to see or empty them.
    """
    for finalizers, _ in session._setupstate.stack.values():
        finalizers.clear()


def forget_shared_fixtures(item: pytest.Item) -> None:
    """In the child, for ``fixtures="fresh"``: nothing counts as set up, so that everything is set up again, inside."""
    item.session._setupstate.stack.clear()
    info = getattr(item, "_fixtureinfo", None)
    for definitions in info.name2fixturedefs.values() if info is not None else ():
        for definition in definitions:
            definition.cached_result = None
            definition._finalizers.clear()


def forget_unfinished(fixturedef: pytest.FixtureDef[Any]) -> None:
    """In the parent: the fork left this fixture between being requested and being set up.

    ``FixtureDef.finish`` does nothing for a fixture without a result, and 9.2 asserts at the next test that no finalizers are left.
    """
    fixturedef._finalizers.clear()


def tear_down_rest(session: pytest.Session) -> None:
    """In the child: finalize what it set up itself on wider nodes, which the next item (in the parent) would keep alive."""
    session._setupstate.teardown_exact(None)


def leaves_shared_fixtures(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether something of a wider scope is finalized when ``nextitem`` follows ``item``.

    ``SetupState.stack`` has each active node with its finalizers, the first of which is the node's own, empty ``teardown``.
    """
    stays = set(nextitem.listchain()) if nextitem is not None else set()
    stack = item.session._setupstate.stack
    return any(len(finalizers) > 1 for node, (finalizers, _) in stack.items() if node is not item and node not in stays)


def teardown_of_fixtures(config: pytest.Config) -> Callable[..., Any]:
    """The hook that tears fixtures down, captured, without what other plugins did when the test ended (logging forgets it then).

    The names of pytest's own plugins are not documented.
    """
    manager = config.pluginmanager
    kept = {"runner", "capturemanager", "isolate-run"}
    others = [plugin for plugin in manager.get_plugins() if manager.get_name(plugin) not in kept]
    return manager.subset_hook_caller("pytest_runtest_teardown", others)


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


def capture_files(config: pytest.Config) -> list[tuple[int, int, bool]]:
    """The files behind pytest's global fd capture, as (captured descriptor, its file's descriptor, capturing now).

    A child must not share their offset with the parent, and the output of a killed child can be read only from a
    file that the parent holds too; there is no public way to say which file to capture to.
    """
    capturing = _capturing(config)
    found = []
    for stream in (getattr(capturing, "out", None), getattr(capturing, "err", None)):
        target = getattr(stream, "targetfd", None)
        if stream is not None and target is not None:
            found.append((target, stream.tmpfile.fileno(), stream._state == "started"))
    return found


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
    streams = [getattr(capturing, name, None) for name in ("in_", "out", "err")]
    saved = {stream.targetfd_save for stream in streams if stream is not None and hasattr(stream, "targetfd_save")}
    stdin = streams[0]
    return saved | ({stdin.tmpfile.fileno()} if stdin is not None and hasattr(stdin, "targetfd_save") else set())


def has_terminal(config: pytest.Config) -> bool:
    """Whether a person can type to this run: its standard input, which capture has put aside, is a terminal."""
    stdin = getattr(_capturing(config), "in_", None)
    return os.isatty(getattr(stdin, "targetfd_save", 0))


def log_file_descriptors(config: pytest.Config) -> set[int]:
    """``--log-file``: the contract has log files go where plain pytest puts them, so its open file stays open."""
    plugin = config.pluginmanager.getplugin("logging-plugin")
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


def has_teardown_hooks(item: pytest.Item) -> bool:
    """Whether anybody but pytest and this plugin has a teardown hook for this item.

    There is no public way to tell pytest's own plugins from others than the package that they come from.
    """
    modules = (hook.function.__module__ for hook in item.ihook.pytest_runtest_teardown.get_hookimpls())
    return any(name.partition(".")[0] not in {"_pytest", "pytest_isolate"} for name in modules)


@contextlib.contextmanager
def around_protocol(item: pytest.Item) -> Iterator[None]:
    """What pytest's own plugins put around a test's protocol, for the part of it that the parent does after it has left that protocol.

    Without it the warnings of wider scopes' teardown are lost, their assertions are not explained, and one that hangs shows no stack
    after ``faulthandler_timeout``. All do it in a wrapper of ``pytest_runtest_protocol``, which there is no public way to enter twice.
    """
    wrappers = []
    for name in ("warnings", "assertion", "faulthandler"):
        plugin = item.config.pluginmanager.getplugin(name)
        if plugin is not None:
            wrappers.append(plugin.pytest_runtest_protocol(item=item))
            next(wrappers[-1])
    try:
        yield
    finally:
        for wrapper in reversed(wrappers):
            with contextlib.suppress(StopIteration):
                wrapper.send(None)


def function_arguments(item: pytest.Item) -> dict[str, Any] | None:
    """``Item.funcargs``, which runtestprotocol sets to None on its way out although we still call hooks for the item."""
    return getattr(item, "funcargs", None)


def set_function_arguments(item: pytest.Item, arguments: dict[str, Any] | None) -> None:
    """Put them back for the time of our hooks."""
    if hasattr(item, "funcargs"):
        item.funcargs = arguments


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


@contextlib.contextmanager
def redirected_hooks(config: pytest.Config, receiver: object, names: Iterable[str], but: str | None = None) -> Iterator[None]:
    """In the parent: the same for a while, so that what is said of a test can be said when it is its turn."""
    callers = {name: caller for name, caller in prepared_callers(config, receiver, names).items() if name != but}
    before = {name: getattr(config.pluginmanager.hook, name) for name in callers}
    _set_hooks(config, callers)
    try:
        yield
    finally:
        _set_hooks(config, before)


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
