"""Run real suites plain and isolated and compare them test by test.

``python tools/downstream.py [SUITE ...] [-- PYTEST-ARGUMENTS]``. Sources are unpacked once, in the directory given by ``--work``, and
what the suites need is installed beside the plugin. Exit status 1 if any outcome differs or none was compared.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUITES = Path(__file__).resolve().parent.parent / "tests/downstream/suites.toml"
_STATES = {"failure", "error", "skipped"}

Outcomes = dict[tuple[str, str], list[str]]


def prepare(work: Path, name: str, suite: dict[str, Any]) -> Path:
    """Install a suite's project and needs, unpack its source distribution. Returns the source's directory."""
    requirement = f"{name}=={suite['version']}"
    source = work / requirement
    if source.is_dir():
        return next(source.iterdir())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", requirement, *suite.get("needs", [])], check=True)
    subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", work, requirement], check=True)
    (archive,) = work.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter="data")
    archive.unlink()
    return next(source.iterdir())


def run(source: Path, tests: str, junit: Path, arguments: list[str]) -> tuple[float, str, Outcomes]:
    """Run one suite. Returns seconds, pytest's last line, and states by test."""
    junit.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", tests, "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    started = time.monotonic()
    done = subprocess.run(command, cwd=source, env=environment, check=False, capture_output=True, text=True, errors="replace")
    last = (done.stdout or done.stderr).strip().splitlines()[-1:] or ["no output"]
    return time.monotonic() - started, last[0], outcomes(junit)


def outcomes(junit: Path) -> Outcomes:
    """States by class and name; tests of one name, as subtests are, together."""
    found: Outcomes = {}
    for case in ET.parse(junit).getroot().iter("testcase") if junit.exists() else []:
        states = sorted({child.tag for child in case} & _STATES) or ["passed"]
        found.setdefault((case.get("classname") or "", case.get("name") or ""), []).append("+".join(states))
    return {key: sorted(states) for key, states in found.items()}


def main() -> int:
    """Compare and print."""
    suites = tomllib.loads(SUITES.read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".tox/downstream-suites"), help="where the sources are kept")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(suites)}")
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, further = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    same = total = 0
    if unknown := set(options.suites) - suites.keys():
        parser.error(f"there is no suite {', '.join(unknown)}")
    for name in options.suites or suites:
        suite = suites[name]
        source = prepare(work, name, suite)
        plain_seconds, plain_last, plain = run(source, suite["tests"], work / "plain.xml", ["-p", "no:isolate"])
        seconds, last, isolated = run(source, suite["tests"], work / "isolated.xml", ["-p", "isolate", "--isolate-all", *further])
        keys = sorted(plain.keys() | isolated.keys())
        differing = [key for key in keys if plain.get(key) != isolated.get(key)]
        same, total = same + len(keys) - len(differing), total + len(keys)
        counted = f"same {len(keys) - len(differing)}/{len(keys)}"
        print(f"{name}: {counted}; plain {plain_seconds:.1f} s ({plain_last}), isolated {seconds:.1f} s ({last})")
        for key in differing[:10]:
            print("   ", "::".join(key), plain.get(key), "->", isolated.get(key))
        sys.stdout.flush()
    print(f"same {same}/{total}")
    return 0 if total and same == total else 1


if __name__ == "__main__":
    sys.exit(main())
