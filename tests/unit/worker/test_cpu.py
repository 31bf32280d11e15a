"""CPUs are those of the container, not of the host."""

import os
from pathlib import Path

import pytest

from inferqueue_worker.cpu import cpu_budget

ALL = len(os.sched_getaffinity(0))


def version_2(folder: Path, text: str) -> Path:
    (folder / "cpu.max").write_text(text)
    return folder


def version_1(folder: Path, quota: str, period: str = "100000\n") -> Path:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu" / "cpu.cfs_period_us").write_text(period)
    return folder


def test_without_a_cgroup_all_allowed_cpus_count(tmp_path: Path) -> None:
    assert cpu_budget(tmp_path) == ALL


@pytest.mark.parametrize(("text", "cpus"), [("100000 100000\n", 1), ("50000 100000\n", 1), ("1000 100000\n", 1)])
def test_a_quota_of_cgroup_v2_counts(tmp_path: Path, text: str, cpus: int) -> None:
    assert cpu_budget(version_2(tmp_path, text)) == cpus


def test_a_fraction_counts_as_one_more_cpu(tmp_path: Path) -> None:
    assert cpu_budget(version_2(tmp_path, "110000 100000\n")) == min(2, ALL)


def test_a_quota_beyond_the_affinity_does_not_count(tmp_path: Path) -> None:
    assert cpu_budget(version_2(tmp_path, "99900000 100000\n")) == ALL


@pytest.mark.parametrize("text", ["max 100000\n", "", "nonsense"])
def test_no_quota_of_cgroup_v2_leaves_all(tmp_path: Path, text: str) -> None:
    assert cpu_budget(version_2(tmp_path, text)) == ALL


def test_a_quota_of_cgroup_v1_counts(tmp_path: Path) -> None:
    assert cpu_budget(version_1(tmp_path, "100000\n")) == 1


@pytest.mark.parametrize("quota", ["-1\n", "0\n", "nonsense"])
def test_no_quota_of_cgroup_v1_leaves_all(tmp_path: Path, quota: str) -> None:
    assert cpu_budget(version_1(tmp_path, quota)) == ALL
