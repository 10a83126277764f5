"""A coverage-guided fuzzer of what reads strangers' bytes: ``python tests/fuzz/fuzz.py CORPUS
-max_total_time=600``.

Not part of CI. Needs ``pip install atheris hypothesis`` beside the package; ``CORPUS`` is a
directory that exists, and the options are libFuzzer's. The last byte of an input chooses who reads
the rest. A reader may answer or refuse in its own words; all else is a finding: the run stops, and
its input is in a file ``crash-...``.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["pytest_isolate", "json", "_pytest.reports", "_pytest._code", "_pytest.junitxml"]
):
    import _pytest.junitxml  # noqa: F401 - so that it is instrumented, before anybody else imports it
    import pytest

    from pytest_isolate._config import networking, values
    from pytest_isolate._linux import kernel_log, mounts
    from pytest_isolate._linux.cgroup import locate
    from pytest_isolate._messages import coverage, reading
    from pytest_isolate._report import budget_file, compare, travel
    from pytest_isolate._sandbox.frames import Decoder, GarbledError
    from pytest_isolate._verdict import allocations, network_attempts

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
from test_reading import PLACES, TRUE, changed, show

_LONGEST_LIST = 3
_PARSERS = (
    values.size(1), values.duration, values.count(1, "why"), values.cores, values.boolean,
    networking.parse, values.hostname,
    values.user, values.environment,
)  # fmt: skip
_WORDS = sorted(
    {
        *reading._OF_PYTEST,
        *reading._FRAMES,
        "failed",
        "passed",
        "skipped",
        "call",
        "setup",
        "TestReport",
        "ReprEntry",
        "data",
    }
)


def stream(data: atheris.FuzzedDataProvider) -> None:
    """Bytes as they come, in two pieces."""
    cut, sent = data.ConsumeIntInRange(0, 64), data.ConsumeBytes(1 << 16)
    decoder = Decoder()
    frames = []
    try:
        frames += decoder.feed(sent[:cut]) + decoder.feed(sent[cut:])
    except GarbledError:
        return
    judge(frames)


def payloads(data: atheris.FuzzedDataProvider) -> None:
    """The same, each line in a frame."""
    try:
        frames = Decoder().feed(
            b"".join(
                struct.pack(">I", len(line)) + line
                for line in data.ConsumeBytes(1 << 16).split(b"\n")
            )
        )
    except GarbledError:
        return
    judge(frames)


def mutations(data: atheris.FuzzedDataProvider) -> None:
    """A true report with other values at one, two or three places, or a frame of any kind."""
    name, _ = PLACES[data.ConsumeIntInRange(0, len(PLACES) - 1)]
    report = TRUE[name]
    for _ in range(data.ConsumeIntInRange(1, 3)):
        _, path = PLACES[data.ConsumeIntInRange(0, len(PLACES) - 1)]
        try:
            report = changed(report, path, value(data, 3))
        except (KeyError, IndexError, TypeError):
            # A place that this report does not have, or has no longer
            continue
    if isinstance(report, dict) and data.ConsumeBool():
        report = {**report, word(data): value(data, 3)}
    frame = {"kind": "report", "when": "call", "seen": [], "report": report}
    if data.ConsumeBool():
        kind = data.PickValueInList(sorted(reading._FRAMES))
        frame = {key: value(data, 2) for key in [*reading._FRAMES[kind], word(data)]} | {
            "kind": kind
        }
    judge([json.loads(json.dumps(frame))])


def word(data: atheris.FuzzedDataProvider) -> str:
    return (
        data.PickValueInList(_WORDS)
        if data.ConsumeBool()
        else data.ConsumeUnicode(data.ConsumeIntInRange(0, 12))
    )


def value(data: atheris.FuzzedDataProvider, depth: int) -> object:
    """Any JSON value."""
    what = data.ConsumeIntInRange(0, 8 if depth else 6)
    if what <= 1:
        return word(data)
    if what == 7:
        return [value(data, depth - 1) for _ in range(data.ConsumeIntInRange(0, _LONGEST_LIST))]
    if what == 8:
        return {
            word(data): value(data, depth - 1)
            for _ in range(data.ConsumeIntInRange(0, _LONGEST_LIST))
        }
    return (None, data.ConsumeBool(), data.ConsumeInt(8), data.ConsumeInt(40), data.ConsumeFloat())[
        what - 2
    ]


def judge(frames: list[dict[str, object]]) -> None:
    """What pytest's process does with frames; whatever passes has to be shown."""
    for strict in (False, True):
        kept, wrong = reading.checked(frames, strict=strict)
        assert (wrong is None) == (len(kept) == len(frames))
        for frame in kept:
            if frame["kind"] == "network":
                network_attempts.read(frame.get("attempts"), None)
            if frame["kind"] == "allocations":
                allocations.sentence(frame.get("lines"))
            if frame["kind"] == "coverage":
                with contextlib.suppress(GarbledError):
                    coverage.read(frame)
            if frame["kind"] != "report":
                continue
            try:
                report = reading.report(ITEM, json.loads(json.dumps(frame)), strict=strict)
            except GarbledError:
                continue
            show(report, ITEM.config)


def tables(data: atheris.FuzzedDataProvider) -> None:
    """Files of /proc and the kernel's log, which containers and mount points' names
    make strange.
    """
    own, text = data.ConsumeUnicode(data.ConsumeIntInRange(0, 64)), data.ConsumeUnicode(1 << 12)
    for mount in mounts.parse_mountinfo(text):
        assert mount.id >= 0, mount
        assert mount.read_only in {True, False}
    for place in locate.locate(own, text).values():
        assert place.version in {1, 2}
        assert ".." not in place.directory.split("/") or ".." in text, place
    kernel_log.parse(text.split("\n"), own)


def budgets(data: atheris.FuzzedDataProvider) -> None:
    """A budget file, which people edit and merge: what can be read can be written, and read again
    with the same lines.
    """
    try:
        read = budget_file.parse("budgets.toml", data.ConsumeUnicode(1 << 12))
    except budget_file.BudgetFileError:
        return
    again = budget_file.parse("budgets.toml", budget_file.render(read))
    assert len(again.lines) == len(read.lines)


def reports(data: atheris.FuzzedDataProvider) -> None:
    """Two JSON reports, of another version or cut off, for ``pytest-isolate compare``."""
    found = []
    for _ in range(2):
        entries = [
            {
                "nodeid": "a",
                "outcome": "passed" if data.ConsumeBool() else word(data),
                "violations": value(data, 2),
                "usage": usage(data),
            }
            for _ in range(data.ConsumeIntInRange(0, 2))
        ]
        text = json.dumps(
            {"schema": 1, "tests": entries if data.ConsumeBool() else value(data, 3)}
        ).encode()
        REPORT.seek(0)
        REPORT.truncate()
        REPORT.write(text if data.ConsumeBool() else text + data.ConsumeBytes(8))
        REPORT.flush()
        try:
            report = compare.read(f"/proc/self/fd/{REPORT.fileno()}")
            assert all(each.heading for each in report.unbuilt)
            found.append(report.usages)
        except compare.UnreadableError:
            return
    compared = compare.compare(*found, budget_file.default_tolerances())
    assert list(compare.as_text(compared))
    assert list(compare.as_markdown(compared))


def usage(data: atheris.FuzzedDataProvider) -> object:
    figures = (
        None,
        data.ConsumeInt(1 << data.ConsumeIntInRange(0, 10)),
        data.ConsumeFloat(),
        value(data, 1),
    )
    return (
        {key.usage: figures[data.ConsumeIntInRange(0, 3)] for key in budget_file.KEYS.values()}
        if data.ConsumeBool()
        else value(data, 2)
    )


def options(data: atheris.FuzzedDataProvider) -> None:
    """What users type, and what a worker of another version sends."""
    parse = _PARSERS[data.ConsumeIntInRange(0, len(_PARSERS) - 1)]
    given = (
        data.ConsumeUnicode(data.ConsumeIntInRange(0, 64)) if data.ConsumeBool() else value(data, 2)
    )
    try:
        parse(given)
    except ValueError as error:
        refused = str(error)
        assert refused
    try:
        travel.unpack(json.dumps(given) if data.ConsumeBool() else given)
    except ValueError as error:
        refused = str(error)
        assert refused


READERS = (stream, payloads, mutations, mutations, tables, options, budgets, reports)


class Item:
    """As much of an item as reading a report asks for."""

    nodeid, location = "a.py::test", ("a.py", 1, "test")

    def __init__(self, config: pytest.Config) -> None:
        self.config = config


def configured() -> pytest.Config:
    """The configuration of a pytest without arguments, as a plugin of it meets it."""
    from _pytest.config import get_config

    config = get_config([])
    config.parse([])
    return config


def read(given: bytes) -> None:
    data = atheris.FuzzedDataProvider(given)
    READERS[data.ConsumeIntInRange(0, len(READERS) - 1)](data)


def sow(corpus: Path) -> None:
    """Inputs to begin with: what a child truly writes, and what a machine's /proc says.

    Numbers are taken from an input's end.
    """
    for name, report in TRUE.items():
        frames = [
            {"kind": "entered", "pid": 2, "base": 0, "traces": False},
            {"kind": "report", "when": "call", "seen": [], "report": report},
        ]
        lines = [json.dumps(frame).encode() for frame in [*frames, {"kind": "end"}]]
        (corpus / f"payloads-{name}").write_bytes(
            b"\n".join(lines) + bytes([READERS.index(payloads)])
        )
        framed = b"".join(struct.pack(">I", len(line)) + line for line in lines)
        (corpus / f"stream-{name}").write_bytes(framed + bytes([30, READERS.index(stream)]))
    own = Path("/proc/self/cgroup").read_bytes()[:64]
    mountinfo = Path("/proc/self/mountinfo").read_bytes()[: 1 << 11]
    own_budgets = (
        '# A comment.\n[tolerance]\nmemory = "10% or 1M"\n\n[tests]\n"a.py::test_[1]" = { memory ='
        ' "12M", cpu = "250ms" }\n'
    )
    (corpus / "budgets").write_bytes(b"\1" + own_budgets.encode() + bytes([READERS.index(budgets)]))
    (corpus / "tables").write_bytes(
        b"\1" + own + b"\1" + mountinfo + bytes([len(own), READERS.index(tables)])
    )


ITEM = Item(configured())
REPORT = os.fdopen(os.memfd_create("report"), "w+b")

if __name__ == "__main__":
    sow(Path(sys.argv[1]))
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
