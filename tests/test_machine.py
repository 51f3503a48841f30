"""What this process may use of a machine: by affinity and by control groups, of both versions."""

from pathlib import Path

import pytest

from slimbert import machine


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (
            "0::/job/task",
            {"cpu.max": "max 100000", "job/cpu.max": "150000 100000", "job/task/cpu.max": "max 100000"},
            2,
        ),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("3:cpu,cpuacct:/box", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("", {}, 8),
    ],
    ids=["version 2, a group above", "version 2, half a core", "version 1", "version 1, no limit", "no groups"],
)
def test_cores_obey_affinity_and_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "self").write_text(groups + "\n" if groups else "")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "self")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cores() == expected


def test_memory_obeys_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "self").write_text("0::/\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "self")
    assert machine.memory_bytes() == 1_000_000
