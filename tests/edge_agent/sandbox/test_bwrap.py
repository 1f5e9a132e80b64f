"""What bubblewrap is told, from what was probed."""

from __future__ import annotations

from edge_agent import settings
from edge_agent.sandbox import bwrap
from edge_agent.sandbox.probe import Probe
from edge_agent.sandbox.runtimes import Runtime

EVERYTHING = Probe(
    bwrap="/usr/bin/bwrap", user_namespace=True, cgroup_namespace=True, sized_tmpfs=True
)
FOLDERS = bwrap.Folders(
    launchers="/run/x/launchers",
    etc="/run/x/etc",
    etc_bound=("ssl/certs",),
    system=(("usr/lib", "/lib"), ("", "/lib64")),
)
RUNTIME = Runtime("python:3.11", "/usr/bin/python3", ("/usr",), "python.pyc")


def _arguments(
    probe: Probe = EVERYTHING, runtime: Runtime = RUNTIME, *, network: bool = True
) -> str:
    found = bwrap.arguments(
        probe, settings.Sandboxing(tmp_mb=16), runtime, FOLDERS, network=network
    )
    return " ".join(["", *found, ""])


def test_everything_is_unshared_where_it_can_be() -> None:
    told = _arguments()
    for name in ("pid", "ipc", "uts", "user", "cgroup"):
        assert f" --unshare-{name} " in told
    assert " --cap-drop ALL " in told
    assert " --die-with-parent " in told
    assert " --new-session " in told


def test_what_the_kernel_lacks_is_not_asked_for() -> None:
    told = _arguments(Probe(bwrap="/usr/bin/bwrap"))
    assert "--unshare-user" not in told
    assert "--uid" not in told
    assert "--unshare-cgroup" not in told
    assert "--size" not in told


def test_the_network_is_unshared_only_without_one() -> None:
    assert "--unshare-net" not in _arguments()
    assert " --unshare-net " in _arguments(network=False)


def test_writable_folders_have_a_size_and_the_root_is_closed_last() -> None:
    told = _arguments()
    for folder in ("/tmp", "/action"):
        assert f" --size {16 << 20} --tmpfs {folder} " in told
    assert told.index("--remount-ro / ") > told.index("--tmpfs /action")
    assert told.count(" --bind ") == 0


def test_the_system_is_read_only_and_stands_as_on_the_machine() -> None:
    told = _arguments()
    assert " --ro-bind /usr /usr " in told
    assert " --symlink usr/lib /lib " in told
    assert " --ro-bind /lib64 /lib64 " in told
    assert " --ro-bind /etc/ssl/certs /etc/ssl/certs " in told


def test_an_interpreter_outside_the_system_is_shown() -> None:
    roots = ("/opt/python", "/opt/venv", "/usr")
    runtime = Runtime("python:3.12", "/opt/python/bin/python", roots, "python.pyc")
    told = _arguments(runtime=runtime)
    assert " --ro-bind /opt/python /opt/python " in told
    assert " --ro-bind /opt/venv /opt/venv " in told
    assert told.count(" --ro-bind /usr /usr ") == 1
