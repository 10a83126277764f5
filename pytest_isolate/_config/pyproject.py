"""What pyproject.toml in pytest's rootdir says of this plugin; a file that does not name it costs
no TOML parser.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_TABLES = ("profiles", "rules")


def is_there(path: Path) -> bool:
    """Whether the file may speak of this plugin, by either name: without a parser."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:  # whoever reads it says so
        return True
    return b"pytest_isolate" in text or b"tool.pytest-isolate" in text


def check(path: Path) -> None:
    """Refuse what nobody would read: a typing error there would have tests run on the machine.

    Raises ``ValueError`` with a sentence.
    """
    tool = _tool(path)
    if "pytest-isolate" in tool:
        raise ValueError(
            f"{path}: [tool.pytest-isolate] is not read: the table is [tool.pytest_isolate]"
        )
    found = tool.get("pytest_isolate", {})
    for key in found if isinstance(found, dict) else ():
        if key not in _TABLES:
            raise ValueError(
                f"{path}: {key!r} of [tool.pytest_isolate] is not read: there are"
                " [[tool.pytest_isolate.rules]] and [tool.pytest_isolate.profiles.NAME]; values"
                " for all isolated tests are ini values of pytest, such as isolate_memory"
            )


def table(path: Path, name: str) -> object:
    """``[tool.pytest_isolate]``'s value of that name, None without one.

    Raises ``ValueError`` with a sentence.
    """
    found = _tool(path).get("pytest_isolate") if is_there(path) else None
    return found.get(name) if isinstance(found, dict) else None


def _tool(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        found: object = tomllib.loads(text.decode("utf-8")).get("tool")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}
