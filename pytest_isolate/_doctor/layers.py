"""Whether tests can stand on layers here, for the doctor: one is kept, mounted, and removed."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._doctor.networks import Row
from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import planning
from pytest_isolate._plan.remedies import remedy_of_layers
from pytest_isolate._session.plans import likely_places
from pytest_isolate._session.run import Run
from pytest_isolate._store.store import Store, content_key
from pytest_isolate._store.trust import StoreError


def row(config: pytest.Config, *, has_overlay: bool) -> Row:
    """Try it where layers are kept: overlays stack two deep, and not on every file system."""
    if not has_overlay:
        return Row("layers", False, "a test has no root of its own here: see overlay", "")
    store, run = Store(), Run(config)
    try:
        held = store.get(key := content_key("doctor", str(os.getpid())), _build)
        try:
            _try(run, held.path)
        finally:
            held.close()
            store.remove(key)
    except StepFailedError as error:
        return Row("layers", False, str(error), remedy_of_layers(error, run.here))
    except StoreError as error:
        return Row("layers", False, str(error), "")
    finally:
        run.close()
    return Row("layers", True, f"kept in {store.directory}", "")


def _build(tree: str) -> dict[str, object]:
    os.makedirs(f"{tree}/etc")
    with open(f"{tree}/etc/of-a-layer", "x", encoding="ascii"):
        return {"name": "the doctor's"}


def _try(run: Run, layer: str) -> None:
    keywords: dict[str, Any] = {name: keyword.default for name, keyword in KEYWORDS.items()}
    spec = Spec(**keywords | {"net": False}, origins={})
    machine = run.machine
    plan = planning.plan(spec, machine.host, Root((layer, "/")), likely_places(run))
    sandbox = machine.builder.order(plan.recipe)
    try:
        sandbox.wait_ready()
    finally:
        sandbox.close()
