"""A test gets its sandbox, or what this machine has instead, by ``on_missing``."""

from __future__ import annotations

import contextlib
import errno
import sys
from dataclasses import dataclass

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import PASSING, BadValueError, StepFailedError
from pytest_isolate._model import Missing
from pytest_isolate._plan import bare
from pytest_isolate._plan.planning import Plan
from pytest_isolate._plan.remedies import CANNOT, explain, said_once
from pytest_isolate._pytest import directories
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._session.plans import bare_plan_for, plan_for
from pytest_isolate._test import beyond
from pytest_isolate._test.states import IsolatedTest, Refused


@dataclass(frozen=True)
class Ready:
    """A sandbox in which a test can begin."""

    spec: Spec  # what a test in it has
    plan: Plan
    sandbox: Sandbox


def build(test: IsolatedTest, spec: Spec) -> Ready | Refused:
    """Get a ready sandbox, or settle by ``on_missing`` what this machine cannot give.

    Raises ``StepFailedError``.
    """
    run = test.run
    sys.audit("pytest_isolate.build", test.name)
    try:
        if spec.layers:
            from pytest_isolate._test import layers  # noqa: PLC0415 - for those who have some

            layers.build_missing(run, spec, test.item.session.items)
        refused = [
            _settle(test, spec, missing)
            for missing in plan_for(run, spec, test.item.session).missing
        ]
        for each in reversed(refused):
            if each is not None:
                return each
        ready = _take(test, spec)
        test.troubles += beyond.sentences(run, spec)
        test.troubles += (f"isolate: {each}" for each in run.machine.roots.to_say())
        run.worked.add(spec.kind)
    except BadValueError as error:  # nobody is where it forwards to, a layer cannot be
        return Refused(test, str(error), "keyword", spec)
    except StepFailedError as error:
        # Not what this machine cannot give: no on_missing covers it
        if spec.kind in run.worked or error.errno in {*PASSING, errno.EMSGSIZE}:
            raise
        reason = explain(error, run.here, layers=bool(spec.layers), rootfs=spec.rootfs is not None)
        without = (
            None
            if spec.on_missing == "warn"
            else _settle(test, spec, Missing("sandbox", reason, ""))
        )
        return without or _do_with_less(test, spec, reason) or _do_without(test, spec, reason)
    return ready


def _take(test: IsolatedTest, spec: Spec) -> Ready:
    """Take or order a sandbox.

    When it fails and the machine's mounts changed meanwhile, or the builder died, do it once more.
    """
    run = test.run
    _have_temporary_base(test)  # before PID 1 looks what there is
    plan = plan_for(run, spec, test.item.session)
    try:
        return Ready(spec, plan, _taken(test, plan))
    except StepFailedError:
        if run.builders_death() is None and plan_for(run, spec, test.item.session) is plan:
            raise
    plan = plan_for(run, spec, test.item.session)
    return Ready(spec, plan, _taken(test, plan))


def _taken(test: IsolatedTest, plan: Plan) -> Sandbox:
    """Wait for a sandbox and for the ways to the servers that its test reaches.

    Raises ``StepFailedError``, with nothing left open.
    """
    machine = test.run.machine
    machine.revive()
    sandbox = machine.builder.take(plan.recipe)
    try:
        sandbox.wait_ready()
        test.run.forwarding.open(sandbox, plan.servers)
    except BaseException:  # Ctrl-C too
        sandbox.close()
        raise
    return sandbox


def _do_with_less(test: IsolatedTest, spec: Spec, reason: str) -> Ready | None:
    """Get a sandbox that leaves out the one thing that cannot be had.

    None if nothing of the kind can. Raises ``StepFailedError``.
    """
    run = test.run
    for less in bare.less(spec):
        if less.kind in run.refused:
            continue
        try:
            ready = _take(test, less)
        except BadValueError:  # for want of a layer, which cannot be built here
            return None
        except StepFailedError as error:
            if error.errno in PASSING or run.builders_death() is not None:
                raise
            run.refused.add(less.kind)
        else:
            test.troubles.append(_said(test, bare.sentence_of_less(spec, less, reason)))
            return ready
    return None


def _do_without(test: IsolatedTest, spec: Spec, reason: str) -> Ready:
    """Get a sandbox without namespaces: the test has a process of its own, and what else needs no
    privilege. Raises ``StepFailedError``.
    """
    run = test.run
    plan = bare_plan_for(run, spec)
    test.troubles[:] = [_said(test, bare.sentence(spec, run.machine.host, plan, reason))]
    _have_temporary_base(test)
    return Ready(bare.given(spec, run.machine.host), plan, _taken(test, plan))


def _settle(test: IsolatedTest, spec: Spec, missing: Missing) -> Refused | None:
    """Say what is missing: by a skip, an error, or a warning and the test runs without it."""
    helps = f"remedy: {missing.remedy}; see also" if missing.remedy else "see also"
    keyword = KEYWORDS.get(missing.keyword)
    what = "the test a sandbox"
    if keyword is not None:
        value = keyword.show(getattr(spec, keyword.name))
        what = f"{keyword.name}={value} ({spec.origin(keyword.name)})"
    sentence = f"{CANNOT}{what}: {missing.reason}; {helps} pytest --isolate-doctor and on_missing="
    if spec.on_missing == "warn":
        test.troubles.append(f"{sentence}: the test runs without it")
        return None
    return Refused(test, sentence, "skip" if spec.on_missing == "skip" else "sandbox", spec)


def _said(test: IsolatedTest, sentence: str) -> str:
    return f"isolate: {said_once(test.run.said_remedies, sentence, test.name)}"


def _have_temporary_base(test: IsolatedTest) -> None:
    """Make the base of all ``tmp_path``, or each child makes one of its own."""
    if "tmp_path_factory" in getattr(test.item, "fixturenames", ()):
        # Somebody else's directory: pytest's own fixture says so, inside
        with contextlib.suppress(OSError):
            directories.temporary_base(test.item.config)
