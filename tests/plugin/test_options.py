"""How command line, ini file, profiles and markers become one ``Spec``, on a real configuration of
pytest.
"""

import pytest

from pytest_isolate._config.destinations import Forward
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.roots import RootFs
from pytest_isolate._config.spec import Defaults
from pytest_isolate._errors import BadValueError

pytestmark = [pytest.mark.old, pytest.mark.anybody]

HEADER = "import pytest\nfrom pytest_isolate import isolate\n"
PROFILES = """
[tool.pytest_isolate.profiles.tight]
memory = "32M"
pids = 4
[tool.pytest_isolate.profiles.loose]
memory = "1G"
[tool.pytest_isolate.profiles.nested]
profile = "tight"
[tool.pytest_isolate.profiles.wrong]
memory = "64MB"
[tool.pytest_isolate.profiles.unknown]
memroy = "64M"
"""
#: for each keyword something that is not its default, as a marker says it, and what a Spec has then
GIVEN = {
    "net": ("host", False),
    "forward": (None, Forward(fixtures=False)),
    "memory": ("64M", 64 << 20),
    "cpu": (0.5, 0.5),
    "cpu_time": ("500ms", 0.5),
    "timeout": ("2m", 120.0),
    "pids": (5, 5),
    "disk": ("1M", 1 << 20),
    "files": (64, 64),
    "io_read": ("1M", 1 << 20),
    "io_write": (4096, 4096),
    "fs": ("readonly", "readonly"),
    "rootfs": ("/usr", RootFs("directory", "/usr")),
    "layers": (["/usr"], ("/usr",)),
    "fs_allow": (["build/**"], ("build/**",)),
    "fs_hide": (["/srv/keys/"], ("/srv/keys",)),
    "bind": (["/usr:ro"], (("/usr", "/usr", True),)),
    "hostname": ("box", "box"),
    "user": ("root", "root"),
    "env": ({"A": "1"}, {"A": "1"}),
    "fixtures": ("fresh", "fresh"),
    "scope": ("class", "class"),
    "serial": (True, True),
    "leaks": ("error", "error"),
    "on_missing": ("warn", "warn"),
    "profile": ("tight", "tight"),
}


@pytest.fixture
def defaults_of(pytester, monkeypatch):
    """The defaults of a run with these options, after one ini file and one pyproject.toml."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def defaults(*options, ini="", pyproject=PROFILES):
        pytester.path.joinpath("pytest.ini").write_text("[pytest]\n" + ini, "utf-8")
        pytester.path.joinpath("pyproject.toml").write_text(pyproject, "utf-8")
        return Defaults(pytester.parseconfig("-p", "isolate", *options))

    return defaults


def test_a_marker_is_resolved_once(pytester, defaults_of):
    """A test's own, for which pytest looks ahead too; one that is added later counts."""
    defaults = defaults_of()
    (item,) = pytester.genitems(
        [
            pytester.getmodulecol(
                HEADER + "@isolate(pids=3)\ndef test_it(): pass", configargs=["-p", "isolate"]
            )
        ]
    )
    spec = defaults.spec_of(item)
    assert defaults.spec_of(item) is spec
    item.add_marker(pytest.mark.isolate(pids=4), append=False)
    assert defaults.spec_of(item).pids == 4


@pytest.fixture
def specs_of(pytester, defaults_of):
    """The specs of a module's tests, by name."""

    def specs(source, *options, **files):
        defaults = defaults_of(*options, **files)
        module = pytester.getmodulecol(HEADER + source, configargs=["-p", "isolate", *options])
        return {item.name: defaults.spec_of(item) for item in pytester.genitems([module])}

    return specs


def refusal(call, *arguments, **keywords):
    with pytest.raises(BadValueError) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def test_every_keyword_is_tried_below():
    """A keyword added to the table is added to these tests."""
    assert GIVEN.keys() == KEYWORDS.keys()


@pytest.mark.parametrize("name", GIVEN)
def test_a_marker_beats_the_defaults_keyword_by_keyword(specs_of, name):
    """A marker sets its keyword, and every other one (but those of its profile) stays at its
    default.
    """
    value, expected = GIVEN[name]
    (spec,) = specs_of(f"@isolate({name}={value!r})\ndef test_it(): pass\n").values()
    assert getattr(spec, name) == expected
    others = set(KEYWORDS) - {name} - ({"memory", "pids"} if name == "profile" else set())
    assert all(
        getattr(spec, each) == KEYWORDS[each].default and spec.origin(each) == "by default"
        for each in others
    )


# Whose None is a value
@pytest.mark.parametrize("name", [name for name in GIVEN if name != "forward"])
def test_none_takes_a_keyword_back_to_its_default(specs_of, name):
    """Against a wider level, None means as if nobody had said anything; its origin is where the
    None stands.
    """
    value, _ = GIVEN[name]
    (spec,) = specs_of(
        f"pytestmark = isolate({name}={value!r})\n@isolate({name}=None)\ndef test_it(): pass\n"
    ).values()
    assert getattr(spec, name) == KEYWORDS[name].default
    assert spec.origin(name).startswith("by @isolate on function ")


def test_none_takes_back_what_a_profile_brought(specs_of):
    """With ``profile=None`` nothing of a wider level's profile is left."""
    (spec,) = specs_of(
        "pytestmark = isolate(profile='tight')\n@isolate(profile=None)\ndef test_it(): pass\n"
    ).values()
    assert (spec.profile, spec.memory, spec.pids) == (None, None, None)


LEVELS = ["parameter", "function", "class", "module", "command line", "ini file"]


@pytest.mark.parametrize("nearest", LEVELS)
def test_the_nearest_level_wins_and_is_named(specs_of, nearest):
    """Parameter, function, class, module, command line, ini file: with the nearer ones gone, the
    next is obeyed and named.
    """
    here = LEVELS[LEVELS.index(nearest) :]
    parameter = "pytest.param(0, marks=isolate(pids=11))" if "parameter" in here else "0"
    source = f"""
{"pytestmark = isolate(pids=14)" if "module" in here else ""}
{"@isolate(pids=13)" if "class" in here else ""}
class TestIt:
    {"@isolate(pids=12)" if "function" in here else ""}
    @pytest.mark.parametrize("n", [{parameter}])
    def test_it(self, n): pass
"""
    options = ["--isolate-pids=15"] if "command line" in here else []
    (spec,) = specs_of(source, *options, ini="isolate_pids = 16").values()
    assert spec.pids == 11 + LEVELS.index(nearest)
    file = "test_the_nearest_level_wins_and_is_named.py"
    assert (
        spec.origin("pids")
        == {
            "parameter": f"by @isolate on parameter {file}::TestIt::test_it[0]",
            "function": f"by @isolate on function {file}::TestIt::test_it[0]",
            "class": f"by @isolate on class {file}::TestIt",
            "module": f"by @isolate on module {file}",
            "command line": "on the command line as --isolate-pids",
            "ini file": "as isolate_pids in pytest.ini",
        }[nearest]
    )


def test_each_keyword_comes_from_its_own_nearest_level(specs_of):
    """A nearer marker without a keyword does not hide a wider one that has it."""
    source = "pytestmark = isolate(memory='64M', pids=5)\n@isolate(pids=6)\ndef test_it(): pass\n"
    (spec,) = specs_of(
        source, "--isolate-files=64", ini="isolate_files = 65\nisolate_hostname = box"
    ).values()
    assert (spec.memory, spec.pids, spec.files, spec.hostname) == (64 << 20, 6, 64, "box")


def test_of_stacked_markers_the_innermost_wins(specs_of):
    """The marker next to the function is the nearest one."""
    (spec,) = specs_of(
        "@isolate(pids=5, files=64)\n@isolate(pids=6)\ndef test_it(): pass\n"
    ).values()
    assert (spec.pids, spec.files) == (6, 64)


def test_a_class_beats_the_class_it_is_derived_from(specs_of):
    """A test inherited from a base class is as near to the derived class as any other
    of its tests.
    """
    source = """
@isolate(pids=5, files=64)
class TestBase:
    def test_it(self): pass
@isolate(pids=6)
class TestDerived(TestBase):
    pass
"""
    (spec,) = specs_of(source + "del TestBase\n").values()
    assert (spec.pids, spec.files) == (6, 64)


def test_two_tests_of_one_module_have_their_own_values(specs_of):
    """A marker on one test is nothing to the next."""
    specs = specs_of(
        "@isolate(pids=5)\ndef test_a(): pass\n@isolate\ndef test_b():"
        " pass\n@pytest.mark.isolate(pids=7)\ndef test_c(): pass\n"
    )
    assert {name: spec.pids for name, spec in specs.items()} == {
        "test_a": 5,
        "test_b": None,
        "test_c": 7,
    }


def test_command_line_and_ini_take_several_binds_and_variables(defaults_of):
    """``--isolate-bind`` and ``--isolate-env`` may be repeated; an ini file has one a line."""
    spec = defaults_of(
        "--isolate-bind=/usr:ro", "--isolate-bind=/etc", ini="isolate_env =\n  A=1\n  B=x=y\n"
    ).spec([])
    assert spec.bind == (("/usr", "/usr", True), ("/etc", "/etc", False))
    assert spec.env == {"A": "1", "B": "x=y"}


def test_an_ini_file_can_switch_the_network_off(defaults_of):
    """An ini file's words for it are the marker's, and that for False; not some text."""
    assert [
        defaults_of(ini=f"isolate_net = {word}").spec([]).net
        for word in ("host", "false", "True", "deny")
    ] == [
        False,
        False,
        True,
        "deny",
    ]


@pytest.mark.parametrize("word", ["off", "no", "none", "0", "on", "yes", "HOST "])
def test_a_word_for_the_network_that_could_mean_two_things_is_refused(defaults_of, word):
    """A word such as "off": no network, or no isolation of it? It could mean either.

    The sentence offers the words that there are.
    """
    said = refusal(defaults_of(f"--isolate-net={word}").spec, [])
    assert said.startswith(
        f"isolate: net={word!r} (on the command line as --isolate-net): it must be True ("
    )
    assert "'host' or False (" in said


def test_limits_are_those_that_were_given(specs_of):
    """The report's limits have what was asked for, in bytes, seconds and counts, and
    nothing else.
    """
    (spec,) = specs_of(
        "@isolate(memory='64M', timeout='250ms', net=False)\ndef test_it(): pass\n"
    ).values()
    assert spec.limits() == {"memory": 64 << 20, "timeout": 0.25}


def test_a_profile_stands_just_behind_the_level_that_chose_it(specs_of):
    """What the choosing level says itself beats its profile; the profile beats everything wider."""
    source = (
        "pytestmark = isolate(pids=9, memory='2G', files=64)\n@isolate(profile='tight',"
        " pids=5)\ndef test_it(): pass\n"
    )
    (spec,) = specs_of(source, "--isolate-memory=3G").values()
    assert (spec.pids, spec.memory, spec.files, spec.profile) == (5, 32 << 20, 64, "tight")
    node = "test_a_profile_stands_just_behind_the_level_that_chose_it.py::test_it"
    assert spec.origin("memory") == f"in profile 'tight', chosen by @isolate on function {node}"
    assert spec.origin("pids") == f"by @isolate on function {node}"


@pytest.mark.parametrize(
    ("options", "ini", "chosen"),
    [
        (["--isolate-profile=tight"], "", "on the command line as --isolate-profile"),
        ([], "isolate_profile = tight", "as isolate_profile in pytest.ini"),
    ],
)
def test_a_profile_can_be_the_default_of_a_run(defaults_of, options, ini, chosen):
    """Command line and ini file choose profiles as markers do."""
    spec = defaults_of(*options, ini=ini).spec([])
    assert (spec.memory, spec.origin("memory")) == (
        32 << 20,
        f"in profile 'tight', chosen {chosen}",
    )


def test_a_profile_on_the_command_line_beats_the_ini_file(defaults_of):
    """The whole level, with its profile, is nearer than the next."""
    spec = defaults_of(
        "--isolate-profile=tight", ini="isolate_memory = 2G\nisolate_files = 64"
    ).spec([])
    assert (spec.memory, spec.files) == (32 << 20, 64)


def test_an_undefined_profile_is_refused_with_those_that_there_are(specs_of, pytester):
    """The sentence has the name, who chose it, where profiles are defined and which there are."""
    source = "@isolate(profile='tigt')\ndef test_it(): pass\n"
    node = "test_an_undefined_profile_is_refused_with_those_that_there_are.py::test_it"
    assert (
        refusal(specs_of, source)
        == f"isolate: profile='tigt' (by @isolate on function {node}): it is not defined in"
        f" [tool.pytest_isolate.profiles] of {pytester.path / 'pyproject.toml'}, which has:"
        " loose, nested, tight, unknown, wrong (did you mean 'tight'?)"
    )
    assert refusal(specs_of, source, pyproject="").endswith(", which has: none")


def test_a_profile_cannot_name_a_profile(specs_of):
    """Profiles do not nest."""
    node = "test_a_profile_cannot_name_a_profile.py::test_it"
    assert (
        refusal(specs_of, "@isolate(profile='nested')\ndef test_it(): pass\n")
        == f"isolate: profile='nested' (by @isolate on function {node}): a profile cannot name"
        " another profile"
    )


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [("wrong", "isolate: memory='64MB' ("), ("unknown", "isolate: memroy='64M' (")],
)
def test_what_is_wrong_in_a_profile_names_the_profile(specs_of, profile, sentence):
    """A bad value says that it stands in a profile, and who chose that one."""
    said = refusal(specs_of, f"@isolate(profile={profile!r})\ndef test_it(): pass\n")
    assert said.startswith(f"{sentence}in profile {profile!r}, chosen by @isolate on function ")


@pytest.mark.parametrize(
    "pyproject",
    [
        "[tool]\npytest_isolate = 5\n",
        "[tool.pytest_isolate]\nprofiles = 5\n",
        "[tool.pytest_isolate.profiles]\ntight = 5\n",
    ],
)
def test_a_profile_from_a_table_that_is_none_is_a_bad_value(specs_of, pytester, pyproject):
    """Whatever stands in pyproject.toml, the test that names a profile fails with a sentence and
    pytest goes on.
    """
    said = refusal(
        specs_of, "@isolate(profile='tight')\ndef test_it(): pass\n", pyproject=pyproject
    )
    assert str(pytester.path / "pyproject.toml") in said


BAD = {
    "layers": (
        "/nowhere",
        "it must be a list of directories that exist and pytest_isolate.Layers, the lowest first; '/nowhere' does not",
    ),
    "net": (
        7,
        (
            "it must be True (a network of its own, with loopback only), 'deny' (the same, and an"
            " attempt to leave fails the test), 'internet' or a pytest_isolate.Internet (the same,"
            " and a way out to everybody or to a few), 'host' or False (the machine's own network)"
            " or a"
            " pytest_isolate.Network (hosts of its own)"
        ),
    ),
    "forward": ("db:0", "a port is a number from 1 to 65535; 'db:0' is not"),
    "memory": ("64MB", "'MB' could mean 1000 or 1024: write '64M' or '64MiB'"),
    "cpu": (0, "it must be a number of cores, at least 0.01, such as 0.5 or 2"),
    "cpu_time": (-1, "it must be more than 0 seconds"),
    "timeout": (
        "soon",
        "it must be a number of seconds, or text such as '250ms', '5s' or '2m'",
    ),
    "pids": (0, "it must be a whole number, at least 1: the test itself is one"),
    "disk": ((1 << 16) - 1, "it must be at least 64 KiB: with less no test can run"),
    "files": (15, "it must be a whole number, at least 16: Python and pytest hold some themselves"),
    "io_read": (4095, "it must be at least 4 KiB: with less no test can run"),
    "io_write": (
        "fast",
        (
            "it must be a number of bytes, or text such as '512K', '64M', '1.5G' or '64MiB' (powers"
            " of 1024)"
        ),
    ),
    "fs": ("overlaid", "it must be 'overlay', 'readonly' or 'host' (did you mean 'overlay'?)"),
    "fs_allow": (
        ["a/*/../b"],
        "'a/*/../b' has '..' behind a wildcard, which is no directory in particular",
    ),
    "fs_hide": (["/"], "'/' cannot be hidden: the test itself is in there"),
    "rootfs": (
        "/no/such",
        (
            "it must be a directory, 'oci:DIR[:TAG]' or an archive of `docker save`; /no/such is"
            " not there"
        ),
    ),
    "bind": (["/no/such"], "it must be a list of paths that exist; '/no/such' does not"),
    "hostname": (
        "a b",
        "it must be 1 to 64 letters, digits, dots and hyphens, with a letter or digit at both ends",
    ),
    "user": (-1, "it must be a user name or a uid of this machine, or 'root'"),
    "env": (
        "dirty",
        "it must be a dict of variable names to text (or None, to remove one), or 'clean'",
    ),
    "fixtures": ("stale", "it must be 'shared', 'fresh' or a list of names of fixtures"),
    "scope": ("session", "it must be 'function', 'class' or 'module'"),
    "serial": ("alone", "it must be True or False"),
    "leaks": ("never", "it must be 'error', 'warn' or 'ignore'"),
    "on_missing": ("cry", "it must be 'error', 'skip' or 'warn'"),
    "profile": (5, "it must be a name"),
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_bad_value_is_one_sentence_with_keyword_value_origin_and_what_is_allowed(specs_of, name):
    """The contract's sentence, for every keyword."""
    value, allowed = BAD[name]
    node = (
        "test_a_bad_value_is_one_sentence_with_keyword_value_origin_and_what_is_allowed.py::test_it"
    )
    said = refusal(specs_of, f"@isolate({name}={value!r})\ndef test_it(): pass\n")
    assert said == f"isolate: {name}={value!r} (by @isolate on function {node}): {allowed}"


def test_a_bad_value_does_no_harm_to_the_test_beside_it(specs_of, pytester, defaults_of):
    """Only the test with the bad value is refused."""
    defaults = defaults_of()
    source = HEADER + "@isolate(pids=0)\ndef test_a(): pass\n@isolate(pids=1)\ndef test_b(): pass\n"
    bad, good = pytester.genitems([pytester.getmodulecol(source, configargs=["-p", "isolate"])])
    assert "pids=0" in refusal(defaults.spec_of, bad)
    assert defaults.spec_of(good).pids == 1


def test_a_bad_value_that_a_nearer_level_overrules_is_not_read(specs_of):
    """What is not obeyed need not be right."""
    (spec,) = specs_of(
        "pytestmark = isolate(pids=0)\n@isolate(pids=1)\ndef test_it(): pass\n"
    ).values()
    assert spec.pids == 1


def test_an_unknown_keyword_is_refused_with_those_that_there_are(specs_of):
    """A slip of the finger does not leave a test without its limit."""
    said = refusal(specs_of, "@isolate(memroy='64M')\ndef test_it(): pass\n")
    assert said.startswith("isolate: memroy='64M' (by @isolate on function ")
    there = ", ".join(KEYWORDS)
    assert said.endswith(f"): there is no such keyword (did you mean 'memory'?); there are {there}")


def test_a_positional_argument_is_refused(specs_of):
    """``@isolate("64M")`` says nothing about what is meant."""
    node = "test_a_positional_argument_is_refused.py::test_it"
    assert (
        refusal(specs_of, "@isolate('64M')\ndef test_it(): pass\n")
        == f"isolate: '64M' (by @isolate on function {node}): it takes keywords only, such as"
        " memory='64M'"
    )


ON_MISSING = "it must be 'error', 'skip' or 'warn'"


@pytest.mark.parametrize(
    ("options", "ini", "sentence"),
    [
        (
            ["--isolate-on-missing=cry"],
            "",
            f"on_missing='cry' (on the command line as --isolate-on-missing): {ON_MISSING}",
        ),
        (
            [],
            "isolate_on_missing = cry",
            f"on_missing='cry' (as isolate_on_missing in pytest.ini): {ON_MISSING}",
        ),
    ],
)
def test_a_bad_default_ends_the_run_before_it_starts(defaults_of, options, ini, sentence):
    """A default that cannot be obeyed concerns every test, so it is a usage error."""
    with pytest.raises(pytest.UsageError) as caught:
        defaults_of(*options, ini=ini).check()
    assert str(caught.value) == f"isolate: {sentence}"


def test_markers_says_every_keyword(pytester, monkeypatch):
    """What can be written, without a browser."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    lines = pytester.runpytest("-p", "isolate", "--markers").outlines
    at = next(
        index
        for index, line in enumerate(lines)
        if line.startswith("@pytest.mark.isolate(**keywords): run the test")
    )
    assert [line.split(":")[0].strip() for line in lines[at + 1 : at + 1 + len(KEYWORDS)]] == list(
        KEYWORDS
    )
