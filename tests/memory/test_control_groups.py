"""What is left to the limits of containers and jobs, with files as Linux writes them."""

from pathlib import Path

import pytest

from gs_densify.memory.control_groups import left_in_groups
from gs_densify.memory.host import free_memory

MB = 2**20
V2, V1 = "cgroup2 cgroup2 rw,nsdelegate", "cgroup cgroup rw,memory"


def make_process(proc: Path, groups: str, *mounts: tuple[str, Path, str]) -> Path:
    """A process with its groups, and with mounts (root, folder, and what comes after ` - `)."""
    lines = ["21 20 0:19 / /proc rw,nosuid shared:5 - proc proc rw"]
    lines += [
        f"3{i} 23 0:2{i} {root} {str(folder).replace(' ', chr(92) + '040')} rw,relatime shared:{i}"
        f" master:1 - {rest}"
        for i, (root, folder, rest) in enumerate(mounts)
    ]
    proc.mkdir(parents=True, exist_ok=True)
    (proc / "cgroup").write_text(f"{groups}\n")
    (proc / "mountinfo").write_text("\n".join(lines) + "\n")
    return proc


def make_group(folder: Path, limit: int | str, used: int = 0, files: int = 0) -> Path:
    """A group of version 2, of which a third of `files` has been read once, and no more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    parts = f"inactive_file {files // 3}\nactive_file {files - files // 3}"
    (folder / "memory.stat").write_text(
        f"anon 7\nfile {9 * MB}\n{parts}\nworkingset_refault_file 3\n"
    )
    return folder


def make_old_group(folder: Path, limit: int, used: int = 0, files: int = 0, **fields: int) -> Path:
    """A group of version 1."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    fields |= {"inactive_file": 1, "total_inactive_file": files, "total_active_file": 0}
    text = "".join(f"{name} {value}\n" for name, value in fields.items())
    (folder / "memory.stat").write_text(text)
    return folder


def test_of_groups_in_groups_the_one_with_least_left_decides(tmp_path: Path) -> None:
    top = tmp_path / "the groups"
    process = make_process(tmp_path / "proc", "0::/slurm/job_5/step_0", ("/", top, V2))
    assert left_in_groups(process) is None, "no group is there"
    top.mkdir()
    (top / "cgroup.procs").write_text("1\n")  # the root has no limit
    step = make_group(top / "slurm/job_5/step_0", "max", used=10 * MB)
    assert left_in_groups(process) is None, "none has a limit"
    make_group(top / "slurm/job_5", 100 * MB, used=70 * MB, files=30 * MB)
    make_group(top / "slurm", 800 * MB, used=700 * MB)
    make_group(top / "slurm/job_6", 1)
    assert left_in_groups(process) == 60 * MB, "files make room"
    make_group(top / "slurm", 800 * MB, used=750 * MB)
    assert left_in_groups(process) == 50 * MB, "others use it in the same group"
    make_group(step, 20 * MB, used=10 * MB, files=9 * MB)
    assert left_in_groups(process) == 19 * MB
    make_group(step, 20 * MB, used=30 * MB)
    assert left_in_groups(process) == 0


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/", "/"),  # the container is a world of its own
        ("/system.slice/docker-1.scope", "/system.slice/docker-1.scope"),  # it sees where it is
        ("/", "/system.slice/docker-1.scope"),  # the mount is from outside
        ("/../elsewhere", "/"),  # its group is outside of its world
        ("/kubepods/pod1/2", "/"),  # groups that are not there any more
    ],
)
def test_a_container_sees_its_limit_at_the_mount(tmp_path: Path, path: str, root: str) -> None:
    top = make_group(tmp_path / "groups", 64 * MB, used=4 * MB)
    process = make_process(tmp_path / "proc", f"0::{path}", (root, top, V2))
    assert left_in_groups(process) == 60 * MB


def test_version_1_is_known_by_its_controller_and_tells_of_unseen_limits(tmp_path: Path) -> None:
    top, unlimited = tmp_path / "memory", 2**63 - 4096
    groups = "9:name=systemd:/x\n4:cpu,memory:/docker/7/inner\n3:cpuset:/docker/7\n0::/"
    other = make_group(tmp_path / "unified", "max")
    mounts = [("/docker/7", top, V1), ("/", top, "cgroup cgroup rw,cpu"), ("/", other, V2)]
    process = make_process(tmp_path / "proc", groups, *mounts)
    inner = make_old_group(top / "inner", unlimited, used=5 * MB, files=2 * MB)
    make_old_group(top, 90 * MB, used=20 * MB)
    assert left_in_groups(process) == 70 * MB
    make_old_group(inner, unlimited, 5 * MB, 2 * MB, hierarchical_memory_limit=40 * MB)
    assert left_in_groups(process) == 37 * MB


def test_folders_with_any_name_are_mounted(tmp_path: Path) -> None:
    top = make_group(tmp_path / "a\N{LINE SEPARATOR}\x0bb", 64 * MB)
    group = "0::/\N{LINE SEPARATOR}x"
    process = make_process(tmp_path / "proc", group, ("/", top, V2))
    make_group(top / "\N{LINE SEPARATOR}x", 40 * MB)
    assert left_in_groups(process) == 40 * MB


def test_free_is_what_the_machine_has_or_less_in_a_container(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    assert free_memory(proc) is None
    top = make_group(tmp_path / "groups", 64 * MB)
    make_process(proc / "self", "0::/", ("/", top, V2))
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:   2048 kB\n")
    assert free_memory(proc) == 2 * MB
    make_group(top, MB, used=MB // 2)
    assert free_memory(proc) == MB // 2
    assert 2**20 < (free_memory() or 0) < 2**50
