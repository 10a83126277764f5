"""From a Spec and a hand-made machine to the steps of a sandbox."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._config import paths
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.cgroup import hierarchy
from pytest_isolate._linux.environment import Environment
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.mounts import MountPoint
from pytest_isolate._linux.root import Root
from pytest_isolate._linux.syscalls import Clone, Mount
from pytest_isolate._plan import planning
from pytest_isolate._plan.planning import PRIVATE, ROOT
from pytest_isolate._sandbox import steps as kinds_of_steps
from pytest_isolate._sandbox.overlays import (
    Hosts,
    Overlay,
    OverlayOrPrivateCopy,
    OverlayOrReadOnly,
    OverlayOrWholeCopy,
    OwnName,
    PrivateCopy,
    TakeApart,
)
from pytest_isolate._sandbox.steps import (
    Bind,
    Copy,
    Device,
    Hostname,
    LimitDisk,
    Loopback,
    Mirror,
    Mkdir,
    Pivot,
    Protect,
    Symlink,
    Touch,
)

ROOTLESS = [False, True]
V1 = {name: hierarchy.V1(f"/sys/fs/cgroup/{name}") for name in ("memory", "pids", "cpu", "cpuacct")}
V2 = dict.fromkeys(("memory", "pids", "cpu"), hierarchy.V2("/sys/fs/cgroup"))
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PSEUDO = ["autofs", "fuse.portal", "rpc_pipefs", "binfmt_misc", "fusectl"]


class Files(Root):
    """A tree of files that exists nowhere: {path: kind}, or a link's target behind an arrow."""

    def __init__(self, **more):
        usual = [
            "/",
            "/bin",
            "/dev",
            "/etc",
            "/home",
            "/home/me",
            "/mnt",
            "/proc",
            "/root",
            "/run",
            "/sys",
            "/tmp",
            "/usr",
            "/var",
            "/var/tmp",
        ]
        kinds = (
            dict.fromkeys(usual, "directory")
            | {f"/dev/{name}": "other" for name in DEVICES}
            | {"/etc/hosts": "small"}
        )
        vars(self).update(layers=("/",), kinds=kinds)
        for path, kind in more.items():
            self.add(path, kind)

    def text(self, path):
        return "10.0.0.1\tother db\n" if path in self.kinds else ""

    def add(self, path, kind):
        """Add a file and the directories above it."""
        parts = path.split("/")
        for end in range(2, len(parts)):
            self.kinds["/".join(parts[:end])] = "directory"
        self.kinds[path] = kind

    def kind(self, path):
        kind = self.kinds.get(path, "none")
        return "symlink" if kind.startswith("->") else kind

    def real(self, path):
        return path


def mount(path, fstype="ext4", *, read_only=False, id_=0):
    return MountPoint(
        id_, 1, "/", path, frozenset({"ro" if read_only else "rw"}), fstype, frozenset({"rw"})
    )


SYSTEM = (mount("/"), mount("/proc", "proc"), mount("/sys", "sysfs"),
          mount("/sys/fs/cgroup", "cgroup2"), mount("/dev", "devtmpfs"),
          mount("/dev/shm", "tmpfs"), mount("/dev/pts", "devpts"))  # fmt: skip


class HostWithDisks(Host):
    """One whose block devices are known."""

    def __init__(self, **facts):
        super().__init__(**facts)
        vars(self)["disks"] = ("8:0", "8:16")


def a_host(*mounts, rootless=False, places=V2, obstacles=None):
    uid = 1000 if rootless else 0
    return HostWithDisks(
        gid=uid,
        places=places,
        obstacles=obstacles or {},
        mounts=(*SYSTEM, *mounts),
        here=Environment(uid=uid),
    )


def spec(**keywords):
    return Spec(
        **{name: keyword.default for name, keyword in KEYWORDS.items()} | keywords, origins={}
    )


def a_plan(wanted=None, host=None, tree=None, places=("/tmp",)):
    return planning.plan(wanted or spec(), host or a_host(), tree or Files(), list(places))


def steps(plan, *kinds):
    """Those of exactly these kinds."""
    return [step for step in plan.recipe.steps if not kinds or type(step) in kinds]


OVERLAYS = (Overlay, OverlayOrReadOnly, OverlayOrWholeCopy)


def target(step):
    """Where a step leaves something; None for a step that leaves nothing in a tree."""
    kinds = (kinds_of_steps.Mount, Bind, Overlay, Mirror, Copy)
    return (
        step.target
        if isinstance(step, kinds)
        else step.path
        if isinstance(step, (Symlink, Mkdir, Touch))
        else None
    )


def shown(plan, path):
    """Whether ``path`` of the host is there: put there itself, taken apart, or below a bind, which
    brings everything below it.
    """
    inside = ROOT if path == "/" else ROOT + path
    itself = any(
        target(step) == inside and not isinstance(step, (Mkdir, Mirror))
        for step in plan.recipe.steps
    )
    binds = [step for step in steps(plan, Bind) if not step.source.startswith(PRIVATE)]
    apart = path in dict(plan.uppers) and any(
        (step.source, step.target) == (path, inside) for step in steps(plan, Mirror)
    )
    return (
        itself
        or apart
        or any(
            path == step.source or path.startswith(step.source.rstrip("/") + "/") for step in binds
        )
    )


def shm():
    return Files(**{"/dev/shm": "directory"})


def is_in(path, *parents):
    return any(path == parent or path.startswith(parent + "/") for parent in parents)


names = st.sampled_from(["data", "mnt", "home", "a", "b"])
kinds = st.tuples(st.sampled_from(["ext4", "tmpfs", "vfat", "overlay", *PSEUDO]), st.booleans())
submounts = st.dictionaries(
    st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    kinds,
    max_size=6,
)


@pytest.mark.parametrize("rootless", ROOTLESS)
@given(found=submounts)
def test_every_mount_of_the_host_is_shown(rootless, found):
    """Whatever is mounted wherever: no mount of the host but /proc, /sys and /dev is left out,
    which would show what it hides.
    """
    tree = Files()
    for path in found:
        tree.add(path, "directory")
    plan = a_plan(
        host=a_host(
            *(mount(path, fstype, read_only=ro) for path, (fstype, ro) in found.items()),
            rootless=rootless,
        ),
        tree=tree,
    )
    assert [path for path in found if not shown(plan, path)] == []


@pytest.mark.parametrize("rootless", ROOTLESS)
@given(found=submounts)
def test_a_mount_comes_after_the_one_it_lies_in(rootless, found):
    """What is put in place later hides what is below it, so outer comes before inner; and each
    private layer is its own.
    """
    tree = Files()
    for path in found:
        tree.add(path, "directory")
    plan = a_plan(
        host=a_host(
            *(mount(path, fstype, read_only=ro) for path, (fstype, ro) in found.items()),
            rootless=rootless,
        ),
        tree=tree,
    )
    placed = [step.target for step in steps(plan, *OVERLAYS)] + [
        ROOT + path for path in ("/dev", "/proc", "/sys")
    ]
    order = [target(step) for step in plan.recipe.steps]
    for outer in placed:
        assert not [
            inner
            for inner in order[: order.index(outer)]
            if inner and inner.startswith(outer + "/")
        ], outer
    private = [step.private for step in steps(plan, *OVERLAYS)]
    assert len(set(private)) == len(private)
    assert len(dict(plan.uppers)) == len(plan.uppers) == len({upper for _, upper in plan.uppers})


def test_a_mount_in_a_directory_that_may_be_entered_but_not_listed_is_shown():
    """A door without a window: the mount behind it can be reached by its name, so it belongs to
    what the caller sees.
    """
    tree = Files(**{"/srv/closed/data": "directory"})
    assert shown(
        a_plan(host=a_host(mount("/srv/closed/data"), rootless=True), tree=tree), "/srv/closed/data"
    )


@pytest.mark.parametrize("rootless", ROOTLESS)
@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
@pytest.mark.parametrize("net", [True, False])
def test_proc_sys_and_dev_are_never_the_hosts(rootless, fs, net):
    """A new proc always; of /dev six harmless devices; what is bound of /sys is read-only, as a
    writable cgroup is a way out.
    """
    plan = a_plan(
        spec(fs=fs, net=net),
        a_host(
            mount("/sys/kernel/security", "securityfs"),
            mount("/proc/fs/nfsd", "nfsd"),
            rootless=rootless,
        ),
    )
    for step in steps(plan, *OVERLAYS, OverlayOrPrivateCopy, Mirror, Copy, TakeApart):
        path = step.source if isinstance(step, (Mirror, Copy)) else step.path
        assert not is_in(path, "/proc", "/sys", "/dev") or (type(step), path) == (
            OverlayOrPrivateCopy,
            "/dev/shm",
        ), step
    for step in steps(plan, Bind):
        source, read_only = step.source, step.read_only
        assert not is_in(source, "/dev") or source in {f"/dev/{name}" for name in DEVICES}, source
        assert not is_in(source, "/sys") or read_only, source
        assert not is_in(source, PRIVATE) or re.fullmatch(
            r"/proc/(root|dev|shm|hosts|\d+\.file)", source
        ), source
    assert (
        len(
            [
                step
                for step in steps(plan, kinds_of_steps.Mount)
                if (step.target, step.fstype) == (f"{ROOT}/proc", "proc")
            ]
        )
        == 1
    )


@pytest.mark.parametrize("fs", ["overlay", "readonly"])
def test_a_device_that_the_host_lacks_is_not_bound(fs):
    """A container without /dev/tty does without it."""
    tree = Files()
    del tree.kinds["/dev/tty"]
    bound = {step.source for step in steps(a_plan(spec(fs=fs), tree=tree), Device)}
    assert "/dev/tty" not in bound
    assert "/dev/null" in bound


def test_mounts_below_sys_are_shown_read_only_and_firmware_is_not():
    """Of /sys what the host has mounted there is shown, outermost only, for a recursive bind brings
    the rest.
    """
    host = a_host(
        mount("/sys/fs/cgroup/memory", "cgroup"), mount("/sys/firmware/efi/efivars", "efivarfs")
    )
    assert [step for step in steps(a_plan(host=host), Bind) if is_in(step.source, "/sys")] == [
        Bind("/sys/fs/cgroup", f"{ROOT}/sys/fs/cgroup", read_only=True)
    ]


@pytest.mark.parametrize("rootless", ROOTLESS)
@pytest.mark.parametrize("fstype", PSEUDO)
def test_pseudo_file_systems_are_bound_read_only(rootless, fstype):
    """What has no files of its own cannot be the lower layer of an overlay."""
    tree = Files(**{"/run/there": "directory"})
    plan = a_plan(host=a_host(mount("/run/there", fstype), rootless=rootless), tree=tree)
    assert Bind("/run/there", f"{ROOT}/run/there", read_only=True) in plan.recipe.steps
    assert "/run/there" not in dict(plan.uppers)


@pytest.mark.parametrize("rootless", ROOTLESS)
def test_a_read_only_mount_stays_read_only(rootless):
    """What the host cannot write, no layer makes writable."""
    tree = Files(**{"/mnt/cd": "directory"})
    plan = a_plan(
        host=a_host(mount("/mnt/cd", "iso9660", read_only=True), rootless=rootless), tree=tree
    )
    assert Bind("/mnt/cd", f"{ROOT}/mnt/cd", read_only=True) in plan.recipe.steps


@pytest.mark.parametrize("rootless", ROOTLESS)
def test_a_file_that_is_a_mount_becomes_a_private_copy(rootless):
    """Docker's /etc/resolv.conf: no overlay fits on a file, and a copy can be written."""
    tree = Files(**{"/etc/resolv.conf": "small"})
    plan = a_plan(host=a_host(mount("/etc/resolv.conf"), rootless=rootless), tree=tree)
    (copy,) = [step for step in steps(plan, Copy) if step.source == "/etc/resolv.conf"]
    if not rootless:
        assert Bind(copy.target, f"{ROOT}/etc/resolv.conf") in plan.recipe.steps
        assert dict(plan.uppers)["/etc/resolv.conf"] == copy.target.removeprefix(PRIVATE + "/")
    else:
        assert copy.target == f"{ROOT}/etc/resolv.conf"


@pytest.mark.parametrize("rootless", ROOTLESS)
def test_a_socket_or_fifo_is_never_the_machines(rootless):
    """Bound read-only it could still be connected to: Docker's socket in a container, or one beside
    mount points without root.
    """
    tree = Files(**{"/run/docker.sock": "node", "/run/user": "directory"})
    plan = a_plan(
        host=a_host(mount("/run/user"), mount("/run/docker.sock"), rootless=rootless), tree=tree
    )
    assert [step.source for step in steps(plan, Copy) if step.source == "/run/docker.sock"] == [
        "/run/docker.sock"
    ]
    assert [step for step in steps(plan, Bind) if step.source == "/run/docker.sock"] == []


@pytest.mark.parametrize("rootless", ROOTLESS)
def test_a_large_file_that_is_a_mount_is_bound_read_only(rootless):
    """Too large to copy for each test, it is shown as it is."""
    tree = Files(**{"/mnt/image": "other"})
    plan = a_plan(host=a_host(mount("/mnt/image"), rootless=rootless), tree=tree)
    assert Bind("/mnt/image", f"{ROOT}/mnt/image", read_only=True) in plan.recipe.steps


def test_with_root_one_overlay_stands_for_the_whole_root():
    """The root itself is one overlay; the mounts below it each have their own."""
    tree = Files(**{"/data": "directory"})
    plan = a_plan(host=a_host(mount("/data")), tree=tree)
    assert [(type(step), step.lowers, step.target) for step in steps(plan, *OVERLAYS)] == [
        (Overlay, ("/",), ROOT), (OverlayOrReadOnly, ("/data",), f"{ROOT}/data"),
    ]  # fmt: skip
    assert plan.uppers == (("/", "0.upper"), ("/data", "1.upper"))


@pytest.mark.parametrize(("place", "step"), [("/home/me", Overlay), ("/srv", OverlayOrReadOnly)])
def test_an_overlay_that_is_too_deep_is_an_error_where_tests_write(place, step):
    """Elsewhere it is shown read-only, as other file systems that no overlay fits on; never all of
    it in silence.
    """
    plan = a_plan(
        host=a_host(mount("/home", "overlay"), rootless=True),
        tree=Files(**{"/home/me": "directory"}),
        places=["/tmp", place],
    )
    assert "/home" in [each.path for each in steps(plan, step)]


def test_without_root_no_overlay_has_a_mount_below_it():
    """The kernel refuses such an overlay in a user namespace: the directory is taken apart and its
    entries are shown one by one.
    """
    tree = Files(**{"/home/me/data": "directory", "/home/other": "directory", "/bin": "->usr/bin"})
    host = a_host(mount("/home/me/data"), rootless=True)
    plan = a_plan(host=host, tree=tree)
    assert [step.lowers for step in steps(plan, *OVERLAYS)] == [("/home/me/data",)]
    # With the names that have steps of their own
    apart = {step.path: step.mounts for step in steps(plan, TakeApart)}
    assert apart == {"/": ("dev", "home", "proc", "sys"), "/home": ("me",), "/home/me": ("data",)}
    assert [each.path for each in plan.apart] == list(apart)
    assert dict(plan.uppers)["/home"] == "root/home"
    assert plan.recipe.waits  # for the test, before it is looked what is in them
    assert not a_plan(host=a_host(mount("/home/me/data")), tree=tree).recipe.waits


@pytest.mark.parametrize("fs", ["readonly", "host"])
def test_temporary_files_are_private_whatever_the_root_is(fs):
    """fs="readonly" and "host" show the host's root by a bind, with the temporary directories
    private.
    """
    plan = a_plan(spec(fs=fs), places=["/var/tmp", "/home/me"])
    assert Bind("/", ROOT, fs == "readonly") in plan.recipe.steps
    # Or an error: never read-only
    assert [step.path for step in steps(plan, OverlayOrWholeCopy)] == ["/tmp", "/var/tmp"]
    assert [path for path, _ in plan.uppers] == ["/tmp", "/var/tmp"]


@pytest.mark.parametrize("fs", ["readonly", "host"])
def test_temporary_files_are_private_also_around_a_mount(fs):
    """Without root no overlay may lie over /tmp with, say, a FUSE mount in it: it is taken apart,
    and its own directory is private.
    """
    tree = Files(**{"/tmp/mounted": "directory", "/tmp/other": "directory"})
    plan = a_plan(spec(fs=fs), a_host(mount("/tmp/mounted"), rootless=True), tree)
    assert Bind(f"{PRIVATE}/0.upper", f"{ROOT}/tmp") in plan.recipe.steps
    assert [step.path for step in steps(plan, *OVERLAYS)] == ["/tmp/mounted"]
    assert [(step.path, step.target, step.mounts) for step in steps(plan, TakeApart)] == [
        ("/tmp", f"{ROOT}/tmp", ("mounted",))
    ]
    assert plan.uppers[0] == ("/tmp", "0.upper")


def test_a_host_without_shared_memory_is_not_given_a_directory_for_it():
    """On fs="host" it would be the machine's own /dev that it is made in."""
    assert f"{ROOT}/dev/shm" not in [step.target for step in steps(a_plan(spec(fs="host")), Bind)]
    assert f"{ROOT}/dev/shm" in [step.target for step in steps(a_plan(spec(fs="readonly")), Bind)]


def test_a_host_root_keeps_the_hosts_devices():
    """fs="host" shares the whole machine's files, so its /dev too, but not its shared memory."""
    bound = {
        step.target: step.source
        for step in steps(a_plan(spec(fs="host"), tree=Files(**{"/dev/shm": "directory"})), Bind)
    }
    assert f"{ROOT}/dev" not in bound
    assert f"{ROOT}/dev/shm" not in bound
    assert [
        step.target for step in steps(a_plan(spec(fs="host"), tree=shm()), OverlayOrPrivateCopy)
    ] == [f"{ROOT}/dev/shm"]


@pytest.mark.parametrize(("place", "shown"), [("/home/me", False), ("/dev/shm/x", True)])
def test_a_strict_test_sees_nobodys_shared_memory_unless_its_own_files_are_there(place, shown):
    """Segments are other programs' memory; a project in /dev/shm is what is to be tested."""
    plan = a_plan(spec(profile="strict"), tree=shm(), places=["/tmp", place])
    assert ("/dev/shm" in dict(plan.uppers)) is shown
    assert (Bind(f"{PRIVATE}/shm", f"{ROOT}/dev/shm") in plan.recipe.steps) is not shown


def test_an_old_c_library_is_given_a_tmpfs_for_shared_memory():
    """The glibc before 2.34 looks for the magic number of a tmpfs and takes no overlay."""
    host = dataclasses.replace(a_host(), old_libc=True)
    assert [step.path for step in steps(a_plan(host=host, tree=shm()), PrivateCopy)] == ["/dev/shm"]


@pytest.mark.parametrize("rootless", ROOTLESS)
@pytest.mark.parametrize("fstype", ["nsfs", "proc"])
@pytest.mark.parametrize("kind", ["small", "directory"])
def test_a_door_to_the_machines_namespaces_is_left_out(rootless, fstype, kind):
    """Named namespaces are mounted files that cannot be copied, and another /proc has the machine's
    processes: what is below is shown.
    """
    inner = {"/run/netns/blue/sys": "directory"} if kind == "directory" else {}
    host = a_host(mount("/run/netns/blue", fstype), *map(mount, inner), rootless=rootless)
    plan = a_plan(host=host, tree=Files(**inner, **{"/run/netns/blue": kind}))
    named = [
        step
        for step in plan.recipe.steps
        if any(
            str(each).startswith(("/run/netns/blue", f"{ROOT}/run/netns/blue"))
            for each in step.values()
        )
    ]
    made = [Touch(f"{ROOT}/run/netns/blue") if kind == "small" else Mkdir(f"{ROOT}/run/netns/blue")]
    assert named == (made if rootless else [])


@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
def test_what_a_mount_forbids_its_overlay_forbids(fs):
    """An overlay is a mount of its own: noexec, nosuid and nosymfollow would be lost.

    Without root too, also around a mount.
    """
    forbids = Mount.NOEXEC | Mount.NOSUID | Mount.NOSYMFOLLOW
    tmp = dataclasses.replace(
        mount("/tmp"), options=frozenset({"rw", "noexec", "nosuid", "nosymfollow"})
    )
    plan = a_plan(spec(fs=fs), a_host(tmp))
    assert [step.flags for step in steps(plan, *OVERLAYS) if step.path == "/tmp"] == [forbids]
    plan = a_plan(
        spec(fs=fs),
        a_host(tmp, mount("/tmp/mounted"), rootless=True),
        Files(**{"/tmp/mounted": "directory"}),
    )
    assert [step.flags for step in steps(plan, TakeApart) if step.path == "/tmp"] == [forbids]
    assert [
        step.flags & forbids
        for step in steps(plan, kinds_of_steps.Mount)
        if step.target == f"{ROOT}/tmp"
    ] == [forbids]


@pytest.mark.parametrize(
    ("hostname", "expected"), [("db", True), ("two words", False), (".x", False)]
)
@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
def test_the_own_name_is_put_where_it_is_looked_up(fs, hostname, expected):
    """Into the upper layer of the overlay that has /etc/hosts, so that it can be replaced, or on a
    shared root into a copy of it.
    """
    plan = a_plan(spec(fs=fs, hostname=hostname), tree=Files(**{"/tmp": "directory"}))
    prepared = [step.hosts for step in steps(plan, Overlay) if step.hosts is not None]
    wanted = Hosts(
        "/etc/hosts", hostname, ("127.0.0.1",), f"10.0.0.1\tother\n127.0.0.1\t{hostname}\n"
    )
    found = [wanted] if expected else []
    assert (prepared, steps(plan, OwnName)) == (
        (found, [])
        if fs == "overlay"
        else ([], [OwnName(f"{PRIVATE}/hosts", each) for each in found])
    )
    assert plan.hosts == (wanted if expected else None)


@pytest.mark.parametrize("rootless", ROOTLESS)
@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
def test_binds_come_last_of_all_files_and_the_pivot_last_of_all(rootless, fs):
    """A bind below /dev or /tmp must not be hidden by what is put there, and nothing can be put in
    place after the pivot.
    """
    binds = (paths.Bind("/home/me", "/home/me"), paths.Bind("/dev/kvm", "/dev/kvm", read_only=True))
    plan = a_plan(spec(fs=fs, bind=binds), a_host(rootless=rootless))
    all_steps = list(plan.recipe.steps)
    wanted = [
        Bind("/home/me", f"{ROOT}/home/me"),
        Bind("/dev/kvm", f"{ROOT}/dev/kvm", read_only=True),
    ]
    first = all_steps.index(wanted[0])
    assert all_steps[first : first + 2] == wanted
    assert not [step for step in all_steps[first + 2 :] if target(step) is not None]
    assert all_steps[-1] == Pivot(ROOT)
    assert len(steps(plan, Pivot)) == 1


@given(disk=st.integers(1 << 16, 1 << 40))
def test_the_disk_limit_is_the_size_of_the_private_file_system(disk):
    """Its bytes are exactly the limit, and files have a limit too, for an empty one costs kernel
    memory.

    It is set at the very last: what the sandbox itself has put there by then is not the test's.
    """
    step = a_plan(spec(disk=disk)).recipe.steps[-2]
    assert step == LimitDisk(PRIVATE, disk, step.files)
    assert 1024 <= step.files <= disk // 1024 + 1024


def test_without_a_disk_limit_the_private_file_system_has_none():
    """No size option is said: the kernel's own default holds."""
    assert steps(a_plan(), LimitDisk) == []
    (step,) = [step for step in steps(a_plan(), kinds_of_steps.Mount) if step.target == PRIVATE]
    assert step.data == "mode=0755"


def test_nothing_that_is_mounted_inside_is_seen_outside():
    """The very first step turns all propagation off in the direction of the host."""
    assert a_plan().recipe.steps[0] == kinds_of_steps.Mount(
        "", "/", "", Mount.SLAVE | Mount.REC, ""
    )


@pytest.mark.parametrize("rootless", ROOTLESS)
@pytest.mark.parametrize("net", [True, False])
def test_namespaces_are_those_that_were_asked_for(rootless, net):
    """pid, ipc, uts and mount always; net unless it is shared; user only without root."""
    plan = a_plan(spec(net=net), a_host(rootless=rootless))
    always = Clone.NEWPID | Clone.NEWIPC | Clone.NEWUTS | Clone.NEWNS
    assert plan.recipe.namespaces == always | (Clone.NEWNET if net else 0) | (
        Clone.NEWUSER if rootless else 0
    )
    assert steps(plan, Loopback) == ([Loopback()] if net else [])
    assert steps(plan, Hostname) == [Hostname("isolate")]


@pytest.mark.parametrize(
    ("rootless", "user", "expected"),
    [
        (True, None, (1000, 1000, 1000, 1000)),
        (True, "root", (0, 0, 1000, 1000)),
        (False, "root", None),
    ],
)
def test_a_user_map_is_needed_without_root_only(rootless, user, expected):
    """Inside one is who was asked for, outside the caller; root needs no map."""
    assert a_plan(spec(user=user), a_host(rootless=rootless)).recipe.user_map == expected


def test_a_root_of_another_user_namespace_is_rootless():
    """The uid 0 of a container with its own user namespace is nobody to the host's mounts."""
    host = Host(gid=0, places=V2, obstacles={}, mounts=SYSTEM, here=Environment(owns_machine=False))
    assert a_plan(host=host).recipe.namespaces & Clone.NEWUSER


def test_a_uid_without_a_name_is_its_own_group():
    """As ``docker run --user 4000000``: no supplementary groups."""
    assert planning.resolve_user(4_000_000) == (4_000_000, 4_000_000, ())
    assert planning.resolve_user("root")[:2] == (0, 0)


@pytest.mark.parametrize(
    ("places", "wanted", "expected"),
    [
        (
            V2,
            {"memory": 1 << 20},
            {"memory": {"memory.oom.group": "1", "memory.swap.max?": "0"}, "pids": {}, "cpu": {}},
        ),
        (
            V2,
            {"pids": 5, "cpu": 0.5},
            {"memory": {}, "pids": {"pids.max": "5"}, "cpu": {"cpu.max": "50000 100000"}},
        ),
        (
            V1,
            {"pids": 5, "cpu": 2.0},
            {
                "memory": {},
                "pids": {"pids.max": "5"},
                "cpu": {"cpu.cfs_quota_us": "200000"},
                "cpuacct": {},
            },
        ),
        (V1, {}, {"memory": {}, "pids": {}, "cpuacct": {}}),
        ({}, {"disk": 1 << 20}, {}),
        (
            {"io": hierarchy.V2("/g")},
            {"io_read": 4096},
            {"io": {"io.max": "8:0 rbps=4096\n8:16 rbps=4096"}},
        ),
        (
            {"io": hierarchy.V2("/g")},
            {"io_read": 4096, "io_write": 8192},
            {"io": {"io.max": "8:0 rbps=4096 wbps=8192\n8:16 rbps=4096 wbps=8192"}},
        ),
        (
            {"blkio": hierarchy.V1("/g")},
            {"io_write": 4096},
            {"blkio": {"blkio.throttle.write_bps_device": "8:0 4096\n8:16 4096"}},
        ),
        ({"blkio": hierarchy.V1("/g")}, {}, {"blkio": {}}),
    ],
)
def test_limits_are_written_as_each_version_wants_them(places, wanted, expected):
    """Every controller that measures something has a group, and its files are those of cgroup v1 or
    v2.
    """
    assert a_plan(spec(**wanted), a_host(places=places)).recipe.limits == expected


@given(cpu=st.floats(0.01, 512))
def test_a_quota_is_what_was_asked_for_to_the_microsecond(cpu):
    """Never more than asked, never less by more than the one microsecond of rounding, nor below the
    kernel's least.
    """
    quota = int(a_plan(spec(cpu=cpu)).recipe.limits["cpu"]["cpu.max"].split()[0])
    assert cpu * 100_000 - 1 <= quota <= cpu * 100_000
    assert quota >= 1000


@pytest.mark.parametrize(
    ("rootless", "remedy"), [(True, "mount -t cgroup2"), (False, "--privileged")]
)
@pytest.mark.parametrize(
    ("keyword", "value"), [("memory", 64 << 20), ("pids", 5), ("cpu", 0.5), ("io_read", 4096)]
)
def test_a_limit_without_its_controller_is_missing_with_a_remedy(rootless, remedy, keyword, value):
    """What was asked for and cannot be had is named, with the machine's reason and a command that
    helps this caller.
    """
    reasons = {name: f"no {name} here" for name in ("memory", "pids", "cpu", "io")}
    (missing,) = a_plan(
        spec(**{keyword: value}), a_host(rootless=rootless, places={}, obstacles=reasons)
    ).missing
    assert (missing.keyword, missing.reason) == (keyword, f"no {keyword.partition('_')[0]} here")
    assert remedy in missing.remedy


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({}, "no cpu here"),
        ({"cpu": hierarchy.V1("/cpu")}, "no cpuacct here"),
        ({"cpu": hierarchy.V2("/g")}, None),
        ({"cpuacct": hierarchy.V1("/a")}, None),
    ],
)
def test_processor_time_is_counted_by_cpuacct_or_by_cpu_of_version_2(places, reason):
    """v1's cpu controller only divides time; without a counter the limit is missing,
    not ignored.
    """
    obstacles = {
        name: f"no {name} here" for name in ("cpu", *(["cpuacct"] if "cpu" in places else []))
    }
    missing = a_plan(spec(cpu_time=1.0), a_host(places=places, obstacles=obstacles)).missing
    assert [each.reason for each in missing] == ([] if reason is None else [reason])


def test_without_a_block_device_a_bandwidth_is_missing():
    """Not silently unlimited."""
    host = a_host(places={"io": hierarchy.V2("/g")})
    vars(host)["disks"] = ()
    (missing,) = a_plan(spec(io_read=4096), host).missing
    assert (missing.keyword, missing.reason) == ("io_read", "there is no block device to limit")


def test_what_nobody_asked_for_is_not_missing():
    """A machine without control groups runs every test that sets none of their limits."""
    host = a_host(places={}, obstacles=dict.fromkeys(("memory", "pids", "cpu"), "none"))
    assert a_plan(spec(timeout=5.0, disk=1 << 20, files=64), host).missing == ()
    assert a_plan(spec(memory=1 << 20, pids=5, cpu=1.0)).missing == ()


def test_what_of_proc_is_the_whole_machines_is_protected_from_root():
    """Root could reboot the machine through /proc; in a user namespace the kernel
    itself refuses.
    """
    protected = [step.path for step in steps(a_plan(), Protect)]
    assert {f"{ROOT}/proc/{name}" for name in ("sys", "sysrq-trigger", "mtrr")} <= set(protected)
    assert steps(a_plan(host=a_host(rootless=True)), Protect) == []


@pytest.mark.parametrize(
    ("wanted", "net", "ipc"),
    [({}, True, True), ({"net": False}, False, True), ({"profile": "strict"}, False, False)],
)
def test_of_proc_sys_only_what_the_kernel_has_once_a_namespace_can_be_written(wanted, net, ipc):
    """The network's only with a network of its own, and nothing in a strict test."""
    (own,) = [
        step.own
        for step in steps(a_plan(spec(**wanted)), Protect)
        if step.path == f"{ROOT}/proc/sys"
    ]
    assert (("net" in own), ("kernel/shmmax" in own), ("kernel/hostname" in own)) == (net, ipc, ipc)


def test_the_way_to_where_tests_write_is_opened_without_root():
    """In a user namespace a directory of an unknown owner cannot be copied up: those on the way to
    the places are, beforehand.
    """
    host = a_host(mount("/home"), rootless=True)
    plan = a_plan(host=host, places=["/var/tmp", "/home/me", "/home/gone/x"])
    assert [step.doors for step in steps(plan, *OVERLAYS) if step.path == "/home"] == [("me",)]
    assert [step.ways for step in steps(plan, TakeApart)] == [
        ("/var/tmp", "/home/me", "/home/gone/x")
    ]
    assert {step.doors for step in steps(a_plan(places=["/var/tmp", "/home/me"]), Overlay)} == {()}


@pytest.mark.parametrize("fs", ["overlay", "readonly"])
def test_two_equal_specs_have_equal_recipes(fs):
    """Only then is a sandbox that was built ahead of any use; and another limit makes
    another one.
    """
    assert a_plan(spec(fs=fs, pids=5)).recipe == a_plan(spec(fs=fs, pids=5)).recipe
    assert a_plan(spec(fs=fs, pids=5)).recipe != a_plan(spec(fs=fs, pids=6)).recipe
