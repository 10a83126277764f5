"""What is below a sandbox: directories of the machine, one over the other, as overlayfs
has them.
"""

import os

import pytest

from pytest_isolate._linux.root import Root


@pytest.fixture
def layers(tmp_path):
    """Two directories and a root of both."""
    over, under = tmp_path / "over", tmp_path / "under"
    for layer in (over, under):
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/both").write_text(layer.name)
    (under / "etc/under").write_text("small")
    (over / "etc/over").symlink_to("/etc/under")
    (under / "var").mkdir()
    return over, under, Root((str(over), str(under)))


def test_the_machines_own_root_is_as_it_is():
    """A plan that knows no other asks the kernel nothing more."""
    root = Root()
    assert (root.lowers("/etc"), root.place("/etc/hosts"), root.kind("/"), root.kind("/none")) == (
        ("/etc",),
        "/etc/hosts",
        "directory",
        "none",
    )


def test_directories_are_shown_together_and_the_uppermost_file(layers):
    """The lower directories of an overlay, and where a file is."""
    over, under, root = layers
    assert root.lowers("/") == (str(over), str(under))
    assert root.lowers("/etc") == (f"{over}/etc", f"{under}/etc")
    assert root.lowers("/var") == (f"{under}/var",)
    assert root.text("/etc/both") == "over"
    assert root.text("/etc/under") == "small"
    assert [root.kind(path) for path in ("/etc/both", "/etc/over", "/var", "/none")] == [
        "small",
        "symlink",
        "directory",
        "none",
    ]


def test_a_link_leads_through_the_layers_and_never_out_of_them(layers):
    """As the kernel would follow it inside."""
    *_, root = layers
    assert root.real("/etc/over") == "/etc/under"
    assert root.text(root.real("/etc/over")) == "small"


def test_what_is_no_directory_hides_what_is_below_it(layers):
    """A file in place of a directory."""
    over, under, root = layers
    (over / "var").write_text("a file")
    (under / "var/log").write_text("hidden")
    assert root.kind("/var") == "small"
    assert root.kind("/var/log") == "none"


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are root's to make")
def test_a_whiteout_and_an_opaque_directory_hide_what_is_below_them(layers):
    """As overlayfs leaves them where something was removed."""
    over, under, root = layers
    os.mknod(over / "etc/under", 0o20000, 0)
    assert root.kind("/etc/under") == "none"
    os.setxattr(over / "etc", "trusted.overlay.opaque", b"y")
    (under / "etc/more").write_text("hidden")
    assert root.kind("/etc/more") == "none"
    assert root.lowers("/etc") == (f"{over}/etc",)
