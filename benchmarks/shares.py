"""Where a test's processor time goes: ``python benchmarks/shares.py [ROUNDS]``.

pytest itself, the tests' processes, the builder and the PID 1s of the sandboxes, in processor time
and page faults for each empty test. On two processors half of the sum is what no overlapping of
tests can go below. The kernel's own threads, which take dead network namespaces and groups apart,
are in none of it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from plugins.accounts import ACCOUNTS
from shared import runs

_TESTS = 300
_NAMES = ("floor", "isolated", "isolated, 2 jobs")


def main() -> None:
    """Measure, interleaved, and print medians."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 5
    found: dict[str, list[dict[str, float]]] = {name: [] for name in _NAMES}
    with tempfile.TemporaryDirectory(prefix="isolate-bench-") as directory:
        tests, account = runs.write_tests(Path(directory), _TESTS), Path(directory) / "account.json"
        for _ in range(rounds):
            for name, accounts in found.items():
                runs.run(name, ["-p", "plugins.accounts"], tests, {ACCOUNTS: str(account)})
                accounts.append(json.loads(account.read_text("ascii")))
    print(f"{_TESTS} empty tests, {rounds} rounds; for each test, the median of the rounds")
    print(" " * 24 + "".join(f"{name:>18}" for name in _NAMES))
    for what in found["floor"][0]:
        print(
            f"{what:24}"
            + "".join(
                f"{statistics.median(each[what] for each in found[name]):>18.2f}" for name in _NAMES
            )
        )
    sums = [statistics.median(map(_processor, found[name])) for name in _NAMES]
    print(f"{'all processor, ms':24}" + "".join(f"{each:>18.2f}" for each in sums))


def _processor(account: dict[str, float]) -> float:
    return (
        sum(value for what, value in account.items() if what.endswith(", ms")) - account["wall, ms"]
    )


if __name__ == "__main__":
    main()
