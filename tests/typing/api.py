"""The public names as users write them: checked by mypy, never run."""

from pathlib import Path

import pytest

import pytest_isolate
from pytest_isolate import (
    Internet,
    Layer,
    Link,
    LiveNetwork,
    MemoryExceeded,
    Network,
    Violation,
    isolate,
)


@isolate
def bare() -> None: ...


@isolate(
    net="host",
    memory="64M",
    pids=20,
    timeout="5s",
    env={"A": "b", "C": None},
    bind=["/srv", "/etc:ro", "/srv:/data:ro"],
    fs_allow=["tmp_path", "build/**"],
    fs_hide=["~/.ssh", Path("secrets")],
)
def with_keywords() -> None: ...


@isolate(
    memory=64 << 20,
    cpu=0.5,
    fs="readonly",
    fixtures="fresh",
    leaks="error",
    on_missing="skip",
    user=1000,
)
class OnAClass:
    def method(self) -> int:
        return 1


@isolate(fs="nowhere")  # type: ignore[call-overload, untyped-decorator]
def with_a_word_that_is_not_allowed() -> None: ...


@isolate
@isolate(serial=True, scope="class")
@isolate(cpu=1, cpu_time="2s", disk="1M", files=64, io_read="1M", io_write=1 << 20, hostname="box")
class Stacked:
    @isolate(net=False)
    async def method(self) -> int:
        return 1


pytestmark = [isolate(profile="small"), isolate]
parameter = pytest.param(1, marks=isolate(net=True))
bare_parameter = pytest.param(2, marks=isolate)
several = pytest.param(3, marks=[isolate, isolate(memory=8 << 20), pytest.mark.slow])
marks: list[pytest.MarkDecorator] = [isolate, isolate(net="deny")]
expected = pytest.mark.xfail(raises=(MemoryExceeded, pytest_isolate.TimeoutExceeded))
instance: int = OnAClass().method()


def look(violation: Violation) -> tuple[str, str]:
    return violation.resource, violation.phase


CLUSTER = Network(
    "a",
    "b",
    bridges=["lan"],
    links=[Link("a", "lan", delay="20ms", addresses={"a": "192.0.2.1/24"}), ("b", "lan")],
    ip=4,
)


@isolate(net="internet")
def with_a_way_out() -> None: ...


@isolate(net=Internet(allow=["pypi.org:443", "10.0.0.0/8"]))
def with_a_way_to_some() -> None: ...


@isolate(net=Internet("pypi.org:443", "10.0.0.0/8"))
def with_named_destinations() -> None: ...


@isolate(net=Internet(allow=443))  # type: ignore[arg-type]
def with_a_way_that_is_none() -> None: ...


@isolate(net=CLUSTER)
def with_hosts(isolate_network: LiveNetwork) -> int:
    isolate_network.set(delay=0.2)
    isolate_network.set(speed=3)  # type: ignore[call-arg]
    isolate_network.link("a", "lan").set(loss="5%", sender="a")
    isolate_network.partition(["a"], ["b"])
    isolate_network["a"].run(["true"], check=True)
    with isolate_network["b"]:
        return isolate_network["a"].call(len, "1234")


@Layer.build
def bare_layer() -> None: ...


@Layer.build(key="2", below=["/srv/tree", bare_layer], where="memory", user="postgres", net="host")
def layer_with_keywords() -> list[str]:
    return ["a"]


made_layer: Layer = Layer.build(print, args=["a"], key="3")
layers: list[Layer] = [bare_layer, layer_with_keywords, made_layer]


@isolate(layers=["/srv/tree", bare_layer])
def on_layers() -> object:
    return layer_with_keywords.value


@Layer.fixture(scope="module", below=layers)
def fixture_layer(word: str) -> str:
    return word
