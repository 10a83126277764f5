"""``--isolate-doctor``: try everything a sandbox is made of in a throwaway one, and say what is missing and what helps.

That unshare(2) works proves nothing (Ubuntu 24.04 grants the namespace and then takes its rights), so each capability is the
whole sequence, built for real.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from pytest_isolate._errors import StepFailedError
from pytest_isolate._options import KEYWORDS
from pytest_isolate._remedies import remedy
from pytest_isolate._spec import Spec


@dataclass(frozen=True)
class Finding:
    """One capability."""

    name: str
    available: bool
    reason: str = ""
    remedy: str = ""
    optional: bool = False  # an extra wall: nothing fails for the want of it unless a test asks for it


_TRIED: tuple[tuple[str, dict[str, object]], ...] = (
    ("namespaces", {"net": False, "fs": "host"}),
    ("net", {"fs": "host"}),
    ("readonly", {"net": False, "fs": "readonly"}),
    ("overlay", {"net": False}),
    ("disk", {"net": False, "fs": "host", "disk": 1 << 20}),
)
_CONTROLLED = ("memory", "pids", "cpu")


def examine(config: pytest.Config) -> list[Finding]:
    """Try every capability."""
    if sys.platform != "linux":
        return [Finding(name, available=False, reason="namespaces are Linux's", remedy="run the tests on Linux") for name, _ in _TRIED]
    from pytest_isolate._plan import group_remedy  # noqa: PLC0415
    from pytest_isolate._run import Run  # noqa: PLC0415

    run = Run(config)
    try:
        findings = [_try(run, name, changes) for name, changes in _TRIED]
        host = run.machine.host
    except StepFailedError as error:
        return [Finding("control groups", available=False, reason=str(error), remedy=remedy(error) or "")]
    finally:
        run.close()
    for name in _CONTROLLED:
        if name in host.places:
            findings.append(Finding(name, available=True, reason=f"cgroup v{host.places[name].version}, {host.places[name].directory}"))
        else:
            findings.append(Finding(name, available=False, reason=host.obstacles[name], remedy=group_remedy(host)))
    findings += _walls()
    return findings


def _walls() -> list[Finding]:
    """What ``profile="strict"`` needs, and the second wall that it has where the kernel has it."""
    from pytest_isolate import _strict  # noqa: PLC0415

    strict, landlock = _strict.obstacle(), _strict.landlock_obstacle()
    return [
        Finding("strict", strict is None, strict or "", _strict.REMEDY, optional=True),
        Finding("landlock", landlock is None, landlock or "", "boot with lsm=landlock,... (Linux 5.19 or later)", optional=True),
    ]


def _try(run: object, name: str, changes: dict[str, object]) -> Finding:
    from pytest_isolate import _plan  # noqa: PLC0415
    from pytest_isolate._linux.host import Tree  # noqa: PLC0415
    from pytest_isolate._run import Run  # noqa: PLC0415

    assert isinstance(run, Run)
    spec = Spec(**{**{key: keyword.default for key, keyword in KEYWORDS.items()}, **changes}, origins={})  # type: ignore[arg-type]
    sandbox = run.machine.keeper.order(
        _plan.plan(spec, run.machine.host, Tree(), run.machine.keeper.loopback() if spec.net else [], ["/tmp"]).recipe
    )
    try:
        sandbox.wait_ready()
    except StepFailedError as error:
        return Finding(name, available=False, reason=str(error), remedy=remedy(error) or "")
    finally:
        sandbox.close()
    return Finding(name, available=True)


def capabilities(config: pytest.Config) -> dict[str, dict[str, object]]:
    """The findings in the JSON report's form."""
    return {each.name: {"available": each.available, "reason": each.reason} for each in examine(config)}


def main(config: pytest.Config) -> int:
    """Print the findings. Returns 0 when everything is there."""
    findings = examine(config)
    lines = []
    for each in findings:
        lines.append(
            f"{'PASS' if each.available else 'NOTE' if each.optional else 'FAIL'}  {each.name}{': ' if each.reason else ''}{each.reason}"
        )
        if each.remedy and not each.available:
            lines.append(f"      fix: {each.remedy}")
    needed = [each for each in findings if not each.optional]
    missing = sum(not each.available for each in needed)
    lines.append(f"{len(needed) - missing} of {len(needed)} capabilities are available here")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if missing else 0
