"""A sandbox written down as a bundle: ``config.json`` and what has to lie beside it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.host import Host
from pytest_isolate._oci import command
from pytest_isolate._oci.config import Process, config, identity
from pytest_isolate._oci.tree import NoBundleError, Tree
from pytest_isolate._plan.planning import Plan


def write(
    item: pytest.Item,
    spec: Spec,
    plan: Plan,
    host: Host,
    *,
    bundle: Path,
    cwd: str,
    variables: dict[str, str],
) -> None:
    """Write the bundle of a test to a path that is not there; nothing half-made is left.

    Raises ``NoBundleError`` and ``OSError``.
    """
    if (why := _obstacle(spec, plan)) is not None:
        raise NoBundleError(why)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{bundle.name[:100]}.", dir=bundle.parent))
    try:
        os.chmod(part, 0o700 if host.rootless else 0o711)  # a root in a user namespace passes by
        sockets = frozenset(str(server.place.address) for server in plan.sockets)
        tree = Tree(part, plan.root, host, without=sockets)
        for step in plan.recipe.steps:
            tree.add(step)
        me = identity(spec, host)
        environment, left_out = command.environment(spec.env, variables)
        process = Process(
            command.arguments(item, me.who, tree.modes),
            [f"{name}={value}" for name, value in environment.items()],
            cwd,
            tuple(left_out),
        )
        text = json.dumps(config(spec, plan, host, tree, process=process), indent=1)
        with open(part / "config.json", "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.rename(part, bundle)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _obstacle(spec: Spec, plan: Plan) -> str | None:
    """Why there can be none, if so."""
    if plan.is_bare:
        return "the test had no namespaces"
    if spec.fs == "host":
        return "fs='host' shares the whole machine, which is no container"
    if spec.networking.topology is not None:
        return "its network of hosts is made by the test's own process"
    return None
