"""The marker's type, for type checkers only: never imported at run time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

import pytest

Size = int | str
Duration = float | str
Markable = TypeVar("Markable", bound="Callable[..., Any] | type")


class IsolateMark(pytest.MarkDecorator):
    """``isolate``, bare or with keywords, wherever a marker may stand. tests/unit/test_typing.py compares it with the table of keywords."""

    @overload  # type: ignore[override, no-overload-impl]  # narrower than any marker, as those that pytest types itself
    def __call__(self, arg: Markable, /) -> Markable: ...
    @overload
    def __call__(
        self,
        *,
        net: bool | Literal["host", "deny"] | None = ...,
        forward: int | str | Sequence[int | str] | None = ...,
        memory: Size | None = ...,
        cpu: float | None = ...,
        cpu_time: Duration | None = ...,
        timeout: Duration | None = ...,
        pids: int | None = ...,
        disk: Size | None = ...,
        files: int | None = ...,
        io_read: Size | None = ...,
        io_write: Size | None = ...,
        fs: Literal["overlay", "readonly", "host"] | None = ...,
        bind: Sequence[str | os.PathLike[str]] | str | None = ...,
        hostname: str | None = ...,
        user: str | int | None = ...,
        env: Mapping[str, str | None] | Literal["clean"] | None = ...,
        fixtures: Literal["shared", "fresh"] | Sequence[str] | None = ...,
        scope: Literal["function", "class", "module"] | None = ...,
        serial: bool | None = ...,
        leaks: Literal["error", "warn", "ignore"] | None = ...,
        on_missing: Literal["error", "skip", "warn"] | None = ...,
        profile: str | None = ...,
    ) -> pytest.MarkDecorator: ...
