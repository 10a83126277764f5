"""GitHub Actions: an annotation for each violation, at its test's line, and in each file for each
reason why tests of it had no sandbox; a job summary.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_isolate._config.values import counted, plain
from pytest_isolate._report.terminal import show_figure, violations
from pytest_isolate._report.unbuilt import Unbuilt, unbuilt

if TYPE_CHECKING:
    import pytest

_ANNOTATED = 50  # GitHub shows ten of a step and fifty of a run
_NAMED = 10  # tests without a sandbox, for each reason
_SUMMARY_SHOWN = 50  # GitHub drops a summary of more than 1 MiB
_LONGEST = {"name": 300, "message": 2000}  # characters


def annotation(
    root: Path, workspace: str | None, entry: Mapping[str, Any], violation: Mapping[str, Any]
) -> str:
    """One ``::error`` command. Paths are relative to the repository, as GitHub wants them."""
    file = os.path.join(root, str(entry["nodeid"]).split("::", 1)[0])
    if workspace and Path(file).is_relative_to(workspace):
        file = os.path.relpath(file, workspace)
    line = f",line={entry['line']}" if entry.get("line") else ""
    title = cut(f"{violation['resource']}: {entry['nodeid']}", "name")
    message = _data(cut(str(violation["message"]), "message"))
    return f"::error file={_property(file)}{line},title={_property(title)}::{message}"


def cut(text: str, what: str) -> str:
    """Cut a text to its start, and say that it is one: a test chooses its own name, and a message
    can quote one.
    """
    longest = _LONGEST[what]
    return (
        text
        if len(text) <= longest
        else f"{text[:longest]}... ({len(text) - longest} more characters)"
    )


def _data(text: str) -> str:
    """As GitHub's own toolkit escapes: a line end would start another command.

    Other control characters are shown, never sent.
    """
    text = "".join(each if each in "\r\n" else plain(each) for each in text)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def cell(text: str) -> str:
    """Text in a Markdown table: shown as it is, whatever it holds."""
    text = (
        plain(" ".join(text.split()))
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )
    return "".join(f"\\{each}" if each in "\\`*_{}[]()#+!|~$@" else each for each in text)


def summary(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Write the job summary's lines: which tests had no sandbox, what was overstepped, and the
    heaviest tests by memory.
    """
    found = list(violations(entries))
    yield "### Isolated tests"
    yield ""
    groups = unbuilt(entries)
    errors = sum(len(each.entries) for each in groups)
    without = f", **{errors} without a sandbox**" if errors else ""
    yield f"{counted(len(entries), 'test')}{without}, {counted(len(found), 'violation')}"
    for group in groups:
        yield from ("", f"**{cell(cut(group.heading, 'message'))}**", "")
        yield from (f"- {cell(cut(entry['nodeid'], 'name'))}" for entry in group.entries[:_NAMED])
        if len(group.entries) > _NAMED:
            yield f"- and {len(group.entries) - _NAMED} more"
    if found:
        yield from ("", "| test | resource | what |", "| --- | --- | --- |")
        for entry, violation in found[:_SUMMARY_SHOWN]:
            name, message = cut(entry["nodeid"], "name"), cut(violation["message"], "message")
            yield f"| {cell(name)} | {cell(violation['resource'])} | {cell(message)} |"
        if len(found) > _SUMMARY_SHOWN:
            yield f"\nand {len(found) - _SUMMARY_SHOWN} more"
    measured = [entry for entry in entries if entry["usage"]["memory_peak_bytes"] is not None]
    if measured:
        yield from (
            "",
            "| heaviest by memory | memory | cpu | wall |",
            "| --- | ---: | ---: | ---: |",
        )
        for entry in sorted(measured, key=lambda entry: -entry["usage"]["memory_peak_bytes"])[:10]:
            figures = (
                show_figure(name, entry["usage"][name])
                for name in ("memory_peak_bytes", "cpu_seconds", "wall_seconds")
            )
            yield f"| {cell(cut(entry['nodeid'], 'name'))} | {' | '.join(figures)} |"


def _by_file(group: Unbuilt) -> Iterator[Unbuilt]:
    """Yield the tests of each file that had no sandbox: who looks at a file is to see it there, and
    not once for each of its tests.
    """
    files: dict[str, list[Mapping[str, Any]]] = {}
    for entry in group.entries:
        files.setdefault(str(entry["nodeid"]).split("::", 1)[0], []).append(entry)
    yield from (Unbuilt(group.reason, inside) for inside in files.values())


def tell(reporter: pytest.TerminalReporter, entries: Sequence[dict[str, Any]], root: Path) -> None:
    """Annotations to the log, the summary to its file.

    A summary that cannot be written is said, and fails nothing.
    """
    workspace = os.environ.get("GITHUB_WORKSPACE")
    groups = [part for group in unbuilt(entries) for part in _by_file(group)]
    for group in groups[:_ANNOTATED]:
        reporter.ensure_newline()
        said = {"resource": "no sandbox", "message": group.heading}
        reporter.write_line(annotation(root, workspace, group.entries[0], said))
    found = list(violations(entries))
    for entry, violation in found[: max(0, _ANNOTATED - len(groups))]:
        reporter.ensure_newline()
        reporter.write_line(annotation(root, workspace, entry, violation))
    if len(groups) + len(found) > _ANNOTATED:
        more = counted(len(groups) + len(found) - _ANNOTATED, "more error")
        reporter.write_line(
            f"isolate: {more} without an annotation; pytest's own output has all of them"
        )
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path and entries:
        try:
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("\n".join(summary(entries)) + "\n\n")
        except OSError as error:
            reporter.write_line(
                f"isolate: no job summary: GITHUB_STEP_SUMMARY={path} cannot be written:"
                f" {error.strerror}",
                yellow=True,
            )
