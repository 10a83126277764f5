"""What users type as paths: shared ones, hidden ones, patterns of what may be changed."""

import os

import pytest

from pytest_isolate._config import paths
from pytest_isolate._config.patterns import Paths


def sentence_of(parse, value):
    """What a value is refused with."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse(value)
    return str(caught.value)


def test_binds_are_real_paths_with_their_read_only_mark(tmp_path):
    """Links are resolved now, because the sandbox's tree is built from the real paths; ":ro" makes
    one read-only.
    """
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    there = os.path.realpath(tmp_path / "there")
    assert paths.binds([f"{tmp_path}/link:ro", tmp_path / "there"]) == (
        (there, there, True),
        (there, there, False),
    )
    assert paths.binds(str(tmp_path / "link")) == ((there, there, False),)


def test_a_bind_of_what_does_not_exist_names_it(tmp_path):
    """A path that is missing (a link to nothing too) is refused by name."""
    (tmp_path / "dangling").symlink_to("nowhere")
    for path in (f"{tmp_path}/missing", f"{tmp_path}/dangling"):
        assert (
            sentence_of(paths.binds, [f"{path}:ro"])
            == f"it must be a list of paths that exist; {path!r} does not"
        )


@pytest.mark.parametrize("value", ["/", "/:ro", "/tmp/.."])
def test_the_root_cannot_be_bound(value):
    """To bind the root would undo the sandbox; the sentence says what does what was meant."""
    assert (
        sentence_of(paths.binds, value) == "'/' cannot be bound: fs='host' shares the whole machine"
    )


@pytest.mark.parametrize("value", [7, None, {"/tmp": "ro"}.items(), [7]])
def test_what_is_no_list_of_paths_is_no_bind(value):
    """Anything that is not paths is refused with the form of one."""
    assert sentence_of(paths.binds, value).startswith(
        "it must be a list of paths, each 'PATH', 'PATH:ro', 'SRC:DST' or 'SRC:DST:ro'"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/usr:/opt/usr", ("/usr", "/opt/usr", False)),
        ("/usr:/opt/../srv/usr:ro", ("/usr", "/srv/usr", True)),
        ("usr:there", ("/usr", "/there", False)),
        ("~/:/home", ("/etc", "/home", False)),
    ],
)
def test_a_bind_can_be_at_another_place(text, expected, monkeypatch):
    """SRC:DST, as in Docker; what is relative begins where pytest was started."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/etc")
    assert paths.binds([text]) == (expected,)


def test_a_name_with_a_colon_is_bound_to_its_own_place_only(tmp_path):
    """It was before there were places; where it could be read in two ways, that is said."""
    (name := tmp_path / "a:b").mkdir()
    assert paths.binds([f"{name}:ro"]) == ((str(name), str(name), True),)
    assert sentence_of(paths.binds, [f"{name}:/x"]).endswith(
        f"'{name}:/x' is none of them (a path with a colon in its name is bound to its own place"
        " only, and must exist)"
    )
    (tmp_path / "a").mkdir()
    assert sentence_of(paths.binds, [str(name)]) == (
        f"'{name}' can be read in two ways, for '{name}' and '{tmp_path}/a' both exist"
    )


@pytest.mark.parametrize("place", ["/", "/proc", "/proc/x", "/sys/fs"])
def test_what_is_the_sandboxs_own_is_no_place_for_a_bind(place):
    """Else a bind would fail later, as a step that nobody wrote."""
    assert sentence_of(paths.binds, [f"/usr:{place}"]) == (
        f"{place!r} is no place for it: /, /proc and /sys are the sandbox's own"
    )


@pytest.mark.parametrize("parse", [paths.allowed, paths.hidden])
@pytest.mark.parametrize("value", [7, [7], [""], [b"/x"], ["a\0b"], b"/x", [" "]])
def test_what_is_no_path_is_refused_with_an_example(parse, value):
    """In one sentence, whatever it is."""
    assert sentence_of(parse, value).startswith("it must be a list of pa")


def test_nobodys_home_is_refused():
    """A pattern that begins nowhere would allow, or hide, nothing."""
    for parse in (paths.allowed, paths.hidden):
        assert sentence_of(parse, ["~nobody-of-that-name/x"]) == (
            "'~nobody-of-that-name/x' names the home directory of a user whom this machine has not"
        )


def test_a_wildcard_hides_nothing_and_is_refused():
    """Whoever writes one must not believe that his keys are hidden."""
    assert sentence_of(paths.hidden, ["**/.env"]).endswith(", without wildcards; '**/.env' has one")


@pytest.mark.parametrize(
    ("pattern", "holds", "lacks"),
    [
        ("build", ["/r/build", "/r/build/a/b"], ["/r", "/r/builds", "/x/build"]),
        ("build/**", ["/r/build", "/r/build/a/b"], ["/r", "/r/builds"]),
        ("*.log", ["/r/a.log", "/r/a.log/b"], ["/r/a/b.log", "/a.log"]),
        ("**/*.log", ["/r/a.log", "/r/a/b/c.log"], ["/r/a", "/a.log"]),
        ("a?/x", ["/r/ab/x"], ["/r/a/x", "/r/ab", "/r/abc/x"]),
        ("/srv/[x]", ["/srv/[x]"], ["/srv/x"]),
        ("../o/**", ["/o/a"], ["/r/o/a"]),
        ("**", ["/r", "/r/a"], ["/", "/x"]),
        ("/**", ["/x"], []),
        ("x/::/y", ["/r/x/::/y"], ["/r/x"]),
    ],
)
def test_a_pattern_holds_what_it_names_and_everything_in_there(pattern, holds, lacks):
    """Relative ones begin in rootdir."""
    (text,) = paths.allowed([pattern])
    found = Paths(paths.starts(text, "/r"))
    assert [path for path in [*holds, *lacks] if found.hold(path)] == holds


def test_a_directory_on_the_way_may_be_made():
    """``build/*/x`` cannot be there without ``build`` and what is in it."""
    found = Paths(paths.starts("/s/build/*/x", "/r"))
    assert all(map(found.need, ["/s", "/s/build", "/s/build/any"]))
    assert not any(map(found.need, ["/s/build/any/y", "/t", "/s/build/any/x/y"]))
    assert not found.hold("/s/build/any")


def test_a_pattern_through_a_link_means_what_is_there(tmp_path):
    """The kernel tells of changes where they are; a link that is named may be changed too."""
    root = os.path.realpath(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = Paths([*paths.starts("link/**", root), *paths.starts("link/deep/*", root)])
    assert found.hold(f"{root}/real/x")
    assert found.hold(f"{root}/link")
    assert not Paths(paths.starts("link/deep/*", root)).hold(f"{root}/link")


@pytest.mark.parametrize("mode", ["rw", "RO", "Z"])
def test_a_mode_of_dockers_is_no_place(tmp_path, mode):
    """It would be a directory beside pytest's, and what is bound could be written to."""
    said = sentence_of(paths.binds, f"{tmp_path}:{mode}")
    assert "unless it ends in ':ro', and has no other mode" in said
    assert said.endswith(f"'./{mode}'")
    assert paths.binds(f"{tmp_path}:./{mode}")[0].target == os.path.abspath(mode)
