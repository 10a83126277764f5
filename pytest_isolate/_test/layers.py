"""Layers are built before the first test that stands on them: in a sandbox, by a fork of pytest.

What the function says is not believed more than what a test says; what it wrote is copied out by
``_sandbox.harvest``. The store (``_store``) sees to it that whoever else wants the layer meanwhile
waits for it. One that fails is tried once a run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isolate._child import preparation
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.layers import Layer, LayerError, check_roots, stack
from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import plain, shown
from pytest_isolate._errors import BadValueError, StepFailedError
from pytest_isolate._linux.root import Root
from pytest_isolate._model import Missing
from pytest_isolate._plan import planning
from pytest_isolate._plan.elsewhere import UnfitRootError
from pytest_isolate._plan.layering import UnfitError
from pytest_isolate._sandbox import harvest, launch
from pytest_isolate._sandbox.entry import Entry
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.pipes import Ends
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._session.layers import look_of
from pytest_isolate._session.plans import chosen_root, likely_places, way_out_of
from pytest_isolate._session.run import Run, working_directory
from pytest_isolate._store.trust import StoreError, room

if TYPE_CHECKING:
    from pytest_isolate._network.way_out import WayOut

_KEYWORDS = ("user", "net", "bind", "env", "timeout", "hostname", "rootfs")
_MOST_SHOWN = 200  # characters of a value that cannot be kept
_MOST_SAID = 1 << 16  # bytes of what a function returned or raised, or printed before that


def build_missing(run: Run, spec: Spec, items: Sequence[pytest.Item]) -> None:
    """Have all that a test stands on built, or known to fail. Raises ``StepFailedError``.

    ``items``: the tests of the run, which another root shows at their places.
    """
    try:
        missing = run.layers.missing(spec.layers)
    except LayerError:  # which the plan meets too, and says where it was written
        return
    for layer in missing:
        try:
            _get(run, layer, items)
        except (LayerError, StoreError) as error:
            said = error if isinstance(error, LayerError) else LayerError(f"{layer!r}: {error}")
            run.layers.fail(layer, said)


def _get(run: Run, layer: Layer, items: Sequence[pytest.Item]) -> None:
    below, spec = stack([layer])[:-1], _spec(layer)
    run.layers.directories(below)  # one that failed is the reason
    run.machine.revive()
    run.machine.look_again()
    check_roots(below, spec.rootfs)
    own = () if spec.rootfs is None else (_ready(run, spec, items),)
    key, store, built = run.layers.key(layer, *own), run.layers.store(layer), False

    def build(tree: str) -> Mapping[str, object]:
        nonlocal built
        built = True
        return _built(run, layer, spec, items, tree)

    run.drain()
    run.change()  # whoever is forked later knows that it is there
    run.layers.hold(layer, store.get(key, build), built=built)


def _ready(run: Run, spec: Spec, items: Sequence[pytest.Item]) -> str:
    """Have the root unpacked on which a layer is built. Gives what tells it from any other."""
    try:
        chosen = chosen_root(run, spec, items)
    except BadValueError as error:
        raise LayerError(str(error).removeprefix("isolate: ")) from None
    return run.machine.roots.key(spec.rootfs) or look_of(chosen.root.layers[-1])


def _built(
    run: Run, layer: Layer, spec: Spec, items: Sequence[pytest.Item], tree: str
) -> Mapping[str, object]:
    machine = run.machine
    chosen = chosen_root(run, spec, items)
    below = run.layers.directories(stack([layer])[:-1])
    root = Root((*below, *chosen.root.layers), chosen.root.machines)
    way_out = _way_out(run, layer, spec)
    try:
        plan = planning.plan(
            spec, machine.host, root, likely_places(run, items), makes_layer=True,
            given=chosen.given, hosts=() if way_out is None else way_out.hosts, way_out=way_out,
        )  # fmt: skip
    except (UnfitError, UnfitRootError) as error:
        raise LayerError(f"{layer!r}: {error}") from None
    sandbox = machine.builder.order(plan.recipe)
    try:
        sandbox.wait_ready()
        value = _run(run, layer, spec, sandbox)
        sandbox.kill()
        user = machine.host.rootless
        try:
            left = harvest.take_out(sandbox.private, plan.written, tree, user=user)
        except StepFailedError as error:  # of what was written, or of where it is kept
            helps = room(run.layers.store(layer).directory, error.errno)
            raise LayerError(f"{layer!r} could not be built: {error}{helps}") from None
    finally:
        sandbox.close()
    return {"name": layer.name, "value": value, "left": left}


def _way_out(run: Run, layer: Layer, spec: Spec) -> WayOut | None:
    try:
        found = way_out_of(run, spec)
    except BadValueError as error:
        raise LayerError(str(error).removeprefix("isolate: ")) from None
    if isinstance(found, Missing):
        raise LayerError(f"{layer!r}: net={spec.net!r}: {found.reason}; remedy: {found.remedy}")
    return found


def _spec(layer: Layer) -> Spec:
    values: dict[str, Any] = {name: keyword.default for name, keyword in KEYWORDS.items()}
    for name, value in layer.keywords.items():
        if name not in _KEYWORDS:
            raise LayerError(
                f"{layer!r}: {name}={value!r}: a layer is not built with that; there are "
                f"{', '.join(_KEYWORDS)}"
            )
        if value is None:
            continue
        try:
            values[name] = KEYWORDS[name].parse(value)
        except ValueError as error:
            raise LayerError(f"{layer!r}: {name}={value!r}: {error}") from None
    spec = Spec(**values, origins={"rootfs": f"by {layer!r}", "net": f"by {layer!r}"})
    if spec.networking.topology is not None:
        raise LayerError(f"{layer!r}: net={spec.net!r}: no layer is built in a network of hosts")
    return spec


def _run(run: Run, layer: Layer, spec: Spec, sandbox: Sandbox) -> object:
    """Run its function inside. Returns what that returned. Raises ``LayerError``."""
    repairing: list[int] = []
    repairs = preparation.repairs(run, repairing)

    def entry_with(ends: Ends) -> Entry:
        return Entry(
            frames=ends.frames,
            pidfd=sandbox.pidfd,
            namespaces=sandbox.recipe.namespaces,
            joins=sandbox.joins,
            cwd=working_directory(),
            replace={1: sandbox.stdout, 2: sandbox.stderr},
            keep=frozenset({ends.frames, *repairing}),
            identity=preparation.identity(run, None, spec),
            environment={
                **run.machine.roots.variables(spec.rootfs),
                **({} if isinstance(spec.env, str) else spec.env),
            },
            clean_environment=spec.env == "clean",
        )

    def body(entry: Entry) -> None:
        for repair in repairs:
            repair()
        _say(layer, Writer(entry.frames))

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        result = launch.run(sandbox, entry_with, body, timeout=spec.timeout)
    finally:
        preparation.close(*repairing)
    return _judged(layer, spec, result, sandbox)


def _say(layer: Layer, writer: Writer) -> None:
    """In the child: call the function, and say what came of it."""
    writer.send({"kind": "entered", "pid": os.getpid()})
    sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))  # noqa: SIM115
    sys.dont_write_bytecode = True  # or what it imports would be in the layer
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    said: dict[str, object] = {"kind": "layer", "raised": None, "returned": None, "value": None}
    try:
        value = layer.function(*layer.args, **layer.named)
    except pytest.skip.Exception as error:
        said["skipped"] = str(error)
    except BaseException as error:  # noqa: BLE001 - told to pytest
        said["raised"] = [each[-_MOST_SAID:] for each in _words_of(error)]
    else:
        said |= _returned(value)
    sys.stdout.flush()
    sys.stderr.flush()
    writer.send(said)
    writer.send({"kind": "end"})


def _words_of(error: BaseException) -> tuple[str, str]:
    """Give what was raised, and where, which does not say that again."""
    trace = error.__traceback__ and error.__traceback__.tb_next
    text = "".join(traceback.format_exception(error.with_traceback(trace)))
    last = traceback.format_exception_only(error)
    what = last[-1] if isinstance(error, SyntaxError) else last[0]
    return what.strip(), text.removesuffix(what)


def _returned(value: object) -> dict[str, object]:
    """Say what a function returned as JSON has it, or why it has not."""

    def path(each: object) -> str:
        if isinstance(each, os.PathLike) and isinstance(text := os.fspath(each), str):
            return text
        raise TypeError(f"there is a {type(each).__name__} in it")

    try:
        value = json.loads(text := json.dumps(value, default=path))
    except Exception as error:  # noqa: BLE001 - of the value's own methods too
        why = f"{shown(value)[:_MOST_SHOWN]}, which JSON cannot say ({shown(error, str)})"
        return {"returned": f"{why}: return text, numbers, lists, dicts and paths"}
    if len(text) > _MOST_SAID:
        return {"returned": f"{len(text)} bytes, as JSON has it; {_MOST_SAID} can be kept"}
    return {"value": value}


def _judged(layer: Layer, spec: Spec, result: ProcessResult, sandbox: Sandbox) -> object:
    if (broken := result.first("broken")) is not None:
        code = broken.get("errno")
        step, path = (plain(str(broken.get(name))) for name in ("step", "path"))
        raise StepFailedError(step, path, code if isinstance(code, int) else 0)
    said = result.first("layer")
    if result.timed_out:
        why = f"it took longer than timeout={KEYWORDS['timeout'].show(spec.timeout)}"
    elif said is None or not result.ended:
        why = f"its process died{_how(result.status)}"
    elif isinstance(raised := said.get("raised"), list):
        what, stack_ = (str(each)[-_MOST_SAID:] for each in [*raised, "", ""][:2])
        why = f"its function raised {plain(what)}\n{stack_}"
    elif isinstance(skipped := said.get("skipped"), str):
        why = (
            f"its function skipped ({plain(skipped[:_MOST_SHOWN])}), which only a test or fixture"
            " can: let a fixture skip that its tests ask for, or mark them with skipif"
        )
    elif isinstance(returned := said.get("returned"), str):
        why = f"its function returned {plain(returned[:_MOST_SAID])}"
    elif result.left_count:
        who = ", ".join(plain(command) for _, command in result.left_over[:3])
        why = f"its function left processes behind ({who}), who write there still: end them"
    else:
        return said.get("value")
    raise LayerError(f"{layer!r} could not be built: {why}{_output(sandbox)}")


def _how(status: int | None) -> str:
    if status is None:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f" by {signal.Signals(-code).name}" if code < 0 else f" with exit status {code}"


def _output(sandbox: Sandbox) -> str:
    said = ""
    for name, fd in (("stdout", sandbox.stdout), ("stderr", sandbox.stderr)):
        size = os.fstat(fd).st_size
        if text := os.pread(fd, _MOST_SAID, max(0, size - _MOST_SAID)).decode("utf-8", "replace"):
            said += f"\n{name} of it:\n{text}"
    return said
