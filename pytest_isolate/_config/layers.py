"""What users write as ``layers=[...]``: directories, and ``Layer``s, which functions build.

Nothing is built, and nothing of a ``Layer`` checked, where it is written, which is while a module
is imported.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import marshal
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from pytest_isolate._config import roots
from pytest_isolate._config.paths import nowhere

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    Given = ParamSpec("Given")
    Below = Sequence["str | os.PathLike[str] | Layer"]

Function = TypeVar("Function", bound=Callable[..., object])
_PLACES = ("disk", "memory")
_CONSTANTS = (str, bytes, int, float, tuple, list, dict, os.PathLike)
_FORMAT = "1"  # of what a store has under a key


class LayerError(ValueError):
    """A layer that cannot be: what it is called, and what is wrong with it, in a sentence."""


class Layer:
    """A read-only layer of the file system, built once by a function that runs in a sandbox.

    What the function wrote is the layer. Made by ``Layer.build``, or, as what a shared fixture
    gives, by ``Layer.fixture``. ``@isolate(layers=[it])`` starts a test on top of it, with a
    copy-on-write view of its own; a shared fixture that returns one adds it for the tests that use
    the fixture. It is built when the first test needs it, and kept between runs until what its key
    is made from changes.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        args: Sequence[object] = (),
        key: str = "",
        below: Below = (),
        where: str = "disk",
        keywords: Mapping[str, object] | None = None,
        named: Mapping[str, object] | None = None,
    ) -> None:
        self.function, self.args, self.named = function, tuple(args), dict(named or {})
        self.key, self.below, self.where = key, below, where
        self.keywords = dict(keywords or {})
        self.name = getattr(function, "__qualname__", repr(function))
        self._value: object = None
        self.is_there = False  # whether it is built, and held for this run

    def __repr__(self) -> str:
        return f"<Layer {self.name}>"

    @overload
    @staticmethod
    def build(function: Callable[..., object], /) -> Layer: ...
    @overload
    @staticmethod
    def build(
        function: Callable[..., object],
        /,
        *,
        args: Sequence[object] = ...,
        key: str = ...,
        below: Below = ...,
        where: Literal["disk", "memory"] = ...,
        **keywords: Any,  # noqa: ANN401 - those of the marker
    ) -> Layer: ...
    @overload
    @staticmethod
    def build(
        *,
        args: Sequence[object] = ...,
        key: str = ...,
        below: Below = ...,
        where: Literal["disk", "memory"] = ...,
        **keywords: Any,  # noqa: ANN401
    ) -> Callable[[Callable[..., object]], Layer]: ...
    @staticmethod
    def build(
        function: Callable[..., object] | None = None,
        /,
        *,
        args: Sequence[object] = (),
        key: str = "",
        below: Below = (),
        where: Literal["disk", "memory"] = "disk",
        **keywords: Any,
    ) -> Layer | Callable[[Callable[..., object]], Layer]:
        """Make a layer of what a function writes; also a decorator, bare or with keywords.

        Args:
            function: Runs once, in a sandbox, in a fork of pytest, as a test does.
            args: What it is called with: what JSON can say, and paths.
            key: What else decides what it writes: a version, the digest of a file that it reads.
            below: Directories and layers that this one stands on, the lowest first; tests have
                them too.
            where: ``"disk"``, below ``$XDG_CACHE_HOME/pytest-isolate``, or ``"memory"``, below
                /dev/shm, until the machine is switched off.
            keywords: ``user``, ``net``, ``bind``, ``env``, ``timeout``, ``hostname`` and
                ``rootfs`` of the sandbox that it is built in, as the marker has them.

        What is wrong is one sentence in the error of the tests that use it.

        """
        if function is None:
            return functools.partial(
                Layer, args=args, key=key, below=below, where=where, keywords=keywords
            )
        return Layer(function, args=args, key=key, below=below, where=where, keywords=keywords)

    @overload
    @staticmethod
    def fixture(function: Callable[..., object], /) -> Callable[..., Layer]: ...
    @overload
    @staticmethod
    def fixture(
        *,
        scope: Literal["class", "module", "package", "session"] = ...,
        key: str = ...,
        below: Below = ...,
        where: Literal["disk", "memory"] = ...,
        **keywords: Any,  # noqa: ANN401
    ) -> Callable[[Callable[..., object]], Callable[..., Layer]]: ...
    @staticmethod
    def fixture(
        function: Callable[..., object] | None = None,
        /,
        *,
        scope: Literal["class", "module", "package", "session"] = "session",
        key: str = "",
        below: Below = (),
        where: Literal["disk", "memory"] = "disk",
        **keywords: Any,
    ) -> Any:
        """Make a shared fixture whose function runs in a sandbox, as that of ``Layer.build``.

        What it wrote is there in the tests that use it. Its arguments are other fixtures, whose
        values are part of the key. A test gets the ``Layer``; what the function returned is its
        ``value``.
        """
        if function is None:
            return lambda function: _fixture(
                function, scope, key=key, below=below, where=where, keywords=keywords
            )
        return _fixture(function, scope, key=key, below=below, where=where, keywords=keywords)

    @property
    def value(self) -> object:
        """What its function returned, as JSON says it. Raises ``LayerError`` before it is built."""
        if not self.is_there:
            raise LayerError(
                f"{self!r}: it is built when the first test that uses it begins; there is no value"
            )
        return self._value

    def keep(self, value: object) -> None:
        """Take what its function returned."""
        self._value, self.is_there = value, True

    def parts(self) -> list[str | bytes]:
        """Give what its key is made from, but for what lies below it. Raises ``LayerError``."""
        if not isinstance(self.key, str | bytes):
            raise LayerError(f"{self!r}: key={self.key!r}: it must be text")
        python = ".".join(map(str, sys.version_info[:3]))
        said = json.dumps([self.keywords, self.where], sort_keys=True, default=repr)
        return [
            _FORMAT,
            sys.implementation.name,
            python,
            self.name,
            self.key,
            said,
            *self._code(),
            self._given(),
        ]

    def _code(self) -> list[str | bytes]:
        function = inspect.unwrap(self.function)
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise LayerError(
                f"{self!r}: a layer's function returns when all is written; it cannot yield or be "
                "async"
            )
        if not isinstance(function, FunctionType):
            raise LayerError(
                f"{self!r}: it must be made of a function, of which the source can be read"
            )
        cells = (cell.cell_contents for cell in function.__closure__ or ())
        around = dict(zip(function.__code__.co_freevars, cells, strict=True))
        said = self._said({**around, "": function.__defaults__}, "takes from around it")
        return [*_sources(function, {}).values(), said]

    def _given(self) -> str:
        return self._said({**self.named, "": self.args}, "is called with")

    def _said(self, values: Mapping[str, object], what: str) -> str:
        found = {}
        for name, value in values.items():
            try:
                found[name] = json.dumps(value, sort_keys=True, default=os.fspath)
            except (TypeError, ValueError):
                if not self.key:
                    shown = f"{name}={value!r:.80}" if name else f"{value!r:.80}"
                    raise LayerError(
                        f"{self!r}: its function {what} {shown}, of which no key can be made; key= "
                        "says in its place what decides what it writes"
                    ) from None
        return json.dumps(found, sort_keys=True)


def _sources(function: FunctionType, found: dict[object, str | bytes]) -> dict[object, str | bytes]:
    """Give the source of a function, and of what it names of its module: functions, constants."""
    try:
        found[function] = inspect.getsource(function)
    except (OSError, TypeError):  # of a prompt, or made by exec
        found[function] = marshal.dumps(function.__code__)
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType):
            if value.__module__ == function.__module__ and value not in found:
                _sources(value, found)
        elif isinstance(value, _CONSTANTS):
            with contextlib.suppress(TypeError, ValueError):  # it holds what is no constant
                found[name] = f"{name} = {json.dumps(value, sort_keys=True, default=os.fspath)}"
    return found


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _fixture(
    function: Callable[..., object],
    scope: Literal["class", "module", "package", "session"],
    **more: Any,  # noqa: ANN401 - of a Layer
) -> Callable[..., Layer]:
    import pytest  # noqa: PLC0415 - this module is for who only names directories too

    def made(**named: object) -> Layer:
        return Layer(function, named=named, **more)

    functools.update_wrapper(made, function)
    made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return pytest.fixture(scope=scope)(made)


def stack(layers: Sequence[str | Layer]) -> tuple[str | Layer, ...]:
    """Put layers and all that is below them in order, the lowest first. Raises ``LayerError``."""
    found: dict[str | Layer, None] = {}
    for each in layers:
        if isinstance(each, Layer):
            try:
                below = parse(each.below)
            except ValueError as error:
                raise LayerError(f"{each!r}: below={each.below!r}: {error}") from None
            if each.where not in _PLACES:
                raise LayerError(f"{each!r}: where={each.where!r}: it must be 'disk' or 'memory'")
            found |= dict.fromkeys(stack(below))
        found.setdefault(each)
    return tuple(found)


def check_roots(layers: Sequence[str | Layer], root: roots.RootFs | None) -> None:
    """Refuse a layer that is built on another root than that over which it is to lie; one that is
    built on the machine's may lie over any. Raises ``LayerError``.
    """
    for each in stack(layers):
        if isinstance(each, Layer) and (written := each.keywords.get("rootfs")) is not None:
            try:
                own = roots.parse(written)
            except ValueError as error:
                raise LayerError(f"{each!r}: rootfs={written!r}: {error}") from None
            if own is not None and own != root:
                here = "the machine's own" if root is None else roots.show(root)
                raise LayerError(
                    f"{each!r} is built on rootfs={roots.show(own)!r}, and this root is {here}"
                )


_SENTENCE = (
    "it must be a list of directories that exist and pytest_isolate.Layers, the lowest first"
)


def parse(value: object) -> tuple[str | Layer, ...]:
    """Read directories, as absolute paths without symbolic links, and ``Layer``s."""
    if isinstance(value, str | os.PathLike | Layer):
        value = [value]
    if not isinstance(value, Sequence):
        raise ValueError(_SENTENCE)
    found: list[str | Layer] = []
    for each in value:
        if isinstance(each, Layer):
            found.append(each)
        elif isinstance(each, str | os.PathLike) and isinstance(os.fspath(each), str):
            found.append(_directory(os.fspath(each)))
        else:
            raise ValueError(f"{_SENTENCE}; {each!r} is neither")
    paths = [each for each in found if isinstance(each, str)]
    for one in paths:
        for other in paths:
            if other.startswith(one + "/"):
                raise ValueError(
                    f"{other!r} lies in {one!r}: the kernel takes no layer that is part of another"
                )
    return tuple(dict.fromkeys(found))


def _directory(path: str) -> str:
    if "\0" in path or not path:
        raise ValueError(f"{_SENTENCE}; {path!r} does not")
    real = os.path.realpath(at := os.path.expanduser(path))
    if not os.path.lexists(real):
        raise ValueError(f"{_SENTENCE}; {nowhere(at)}")
    if not os.path.isdir(real):
        raise ValueError(f"{_SENTENCE}; {path!r} is no directory")
    if real == "/":
        raise ValueError("'/' is below every layer already")
    return real
