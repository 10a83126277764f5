"""Every sentence in the code that people can read, and which of them no run of ``projects`` shows.

``UPDATE_MESSAGES=1 pytest tests/messages`` writes ``said/elsewhere.txt``: the sentences that other
tests or other machines provoke. Read what it gains: a new sentence is to be shown by a run, or to
be read here.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest_isolate

ROOT = Path(pytest_isolate.__file__).parent
SAID = Path(__file__).parent / "said"
_HOLE = "{}"  # where a value stands
_LEAST = 4  # words of a sentence
_CODE = re.compile(r"Literal\[|Sequence\[|\(\?|\\[(|d]|import \w+|echo |chmod|\w\|\w+ ")
_NOT_SAID = ("_linux/_libc.py",)  # generated


def sentences() -> Iterator[tuple[str, str]]:
    """Each text of four words or more that is no docstring, with its module."""
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in _NOT_SAID:
            continue
        tree = ast.parse(path.read_text())
        inside: set[int] = set()  # of what is a part of another text, or a docstring
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                inside.add(id(node.value))
            if isinstance(node, ast.JoinedStr):
                inside.update(id(each) for each in ast.walk(node) if each is not node)
        for node in ast.walk(tree):
            if id(node) not in inside and (text := _text(node)) is not None and _is_sentence(text):
                yield name, " ".join(text.split())


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (each.value if isinstance(each, ast.Constant) else _HOLE for each in node.values)
        return "".join(map(str, parts))
    return None


def _is_sentence(text: str) -> bool:
    if _CODE.search(text):
        return False
    words = re.findall(r"(?<![\w/.-])[A-Za-z][a-z']+(?![\w/=(])", text)
    return len(words) >= _LEAST


def _is_shown(sentence: str, said: str) -> bool:
    """Whether each part between values was said."""
    parts = [each.strip(" '\"") for each in sentence.split(_HOLE)]
    return all(part in said for part in parts if len(part) > 3)


def test_sentences_that_no_run_shows_are_listed():
    """So that each can be read, and none is new without somebody's look."""
    said = " ".join(path.read_text() for path in SAID.glob("*.txt") if path.name != "elsewhere.txt")
    said = " ".join(said.split())
    found = "".join(f"{name}: {text}\n" for name, text in sentences() if not _is_shown(text, said))
    golden = SAID / "elsewhere.txt"
    if os.environ.get("UPDATE_MESSAGES"):
        golden.write_text(found)
    assert found.splitlines() == golden.read_text().splitlines(), (
        "read what changed, and write it with UPDATE_MESSAGES=1"
    )
