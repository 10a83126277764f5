"""What a bundle runs: this one test, by the same Python, in a fresh pytest.

A warm fork cannot be written down, so the test begins as ``pytest NODEID`` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.settings import IN_BUNDLE, SETTINGS

#: The first process of the container, which runs the test as its child: the kernel keeps signals
#: from a first process, and so a test from its own death. Its first argument is who the child is to
#: be in a user namespace of its own, as ``uid:gid``: runc has a root in each that it makes. The
#: second has directories with modes that they get, by which their owner may no more write there.
_FIRST = """\
import os, signal, sys
who, modes, *command = sys.argv[1:]
for each in modes.splitlines():
    mode, _, path = each.partition(" ")
    os.chmod(path, int(mode, 8))
pid = os.fork()
if pid == 0:
    if who:
        import ctypes
        outside = os.getuid(), os.getgid()
        if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
            sys.exit("no user namespace: " + os.strerror(ctypes.get_errno()))
        with open("/proc/self/setgroups", "w") as file:
            file.write("deny")
        for kind, inside, out in zip(("uid", "gid"), who.split(":"), outside):
            with open(f"/proc/self/{kind}_map", "w") as file:
                file.write(f"{inside} {out} 1")
    os.execv(command[0], command)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
while (ended := os.wait())[0] != pid:
    pass
code = os.waitstatus_to_exitcode(ended[1])
sys.exit(code if code >= 0 else 128 - code)
"""
#: Variables that are written though nobody asked: others may hold secrets, and bundles travel.
_HARMLESS = frozenset({
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TEMP", "TERM",
    "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
})  # fmt: skip
_HARMLESS_STARTS = ("LC_", "PYTEST", "PYTHON")
_OF_ONE_TEST = "PYTEST_CURRENT_TEST"
_OF_A_WORKER = "PYTEST_XDIST"


def arguments(item: pytest.Item, who: str, modes: Mapping[str, int]) -> list[str]:
    """Give the arguments of the container's first process."""
    config = item.config
    typed = _typed(config)
    path, separator, name = str(item.nodeid).partition("::")
    found = [*_python(config), *_kept(config, typed)]
    if config.inipath is not None and not _has(typed, "-c", "--config-file"):
        found += ["-c", str(config.inipath)]
    if not _has(typed, "--rootdir"):
        found.append(f"--rootdir={config.rootpath}")
    if config.pluginmanager.hasplugin("xdist"):
        found.append("-n0")
    if isinstance(seed := config.getoption("randomly_seed", None), int):
        found.append(f"--randomly-seed={seed}")
    found.append("--isolate-off")  # it is in the sandbox already
    written = "\n".join(f"{mode:o} {path}" for path, mode in modes.items())
    return [
        sys.executable,
        "-c",
        _FIRST,
        who,
        written,
        *found,
        f"{config.rootpath}/{path}{separator}{name}",
    ]


def _typed(config: pytest.Config) -> list[str]:
    """Give what was typed behind the name of pytest; a worker of pytest-xdist knows that too."""
    if (worker := getattr(config, "workerinput", None)) is not None:
        return list(worker["mainargv"][1:])
    return list(config.invocation_params.args)


def _python(config: pytest.Config) -> list[str]:
    """Start pytest as it was started: ``python -m pytest`` has another ``sys.path``."""
    worker = getattr(config, "workerinput", None)
    program = sys.argv[0] if worker is None else worker["mainargv"][0]
    if os.path.basename(program) in {"pytest", "py.test"} and os.path.isfile(program):
        return [sys.executable, os.path.abspath(program)]
    return [sys.executable, "-m", "pytest"]


def _has(typed: Sequence[str], *options: str) -> bool:
    return any(each.partition("=")[0] in options for each in typed)


def _kept(config: pytest.Config, typed: Sequence[str]) -> Iterator[str]:
    """Give what was typed, without which tests to run and how to isolate them."""
    chosen = set(config.args)
    valued = {each.option for each in KEYWORDS.values()}
    valued |= {each.option for each in SETTINGS if each.metavar is not None}
    rest = iter(typed)
    for each in rest:
        if each.startswith("--isolate-"):
            if each in valued:
                next(rest, None)
        elif each not in chosen:
            yield each


def environment(
    given: Mapping[str, str | None] | str, roots: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Give the variables that are written, and the names of those that are not. ``roots``: those
    of another root.
    """
    added = {**roots, **({} if isinstance(given, str) else given)}
    found, left_out = {}, []
    for name, value in os.environ.items():
        if name in added or name == _OF_ONE_TEST or name.startswith(_OF_A_WORKER):
            continue
        if name in _HARMLESS or name.startswith(_HARMLESS_STARTS):
            found[name] = value
        else:
            left_out.append(name)
    found |= {name: value for name, value in added.items() if value is not None}
    found[IN_BUNDLE] = "1"
    return found, sorted(left_out)
