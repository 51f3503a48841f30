"""Law: whatever happens to a checkpoint, either it comes back whole and unchanged, or InputError says why not."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from slimbert.atomic import file_sha256
from slimbert.errors import InputError
from slimbert.train import checkpoints

FILES = ("manifest.json", "state.json", "tensors.safetensors")
STATE = {"epoch": 3, "lr": 0.1 + 0.2, "names": ["a", "ü"], "nested": {"none": None}}


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 6, generator=generator)
    return {"weight": weight, "half": weight.bfloat16(), "rng": generator.get_state(), "step": torch.tensor(7.0)}


def same(found: checkpoints.Checkpoint | None, step: int) -> bool:
    if found is None or found.step != step or found.state != STATE:
        return False
    assert_close(found.tensors, tensors(step), rtol=0, atol=0)
    return True


def save(folder: Path, step: int, *, keep: int = 2, best: bool = False) -> Path:
    return checkpoints.save(folder, step, tensors=tensors(step), state=STATE, keep=keep, best=best)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save(tmp_path / "run" / "checkpoints", 5)
    assert path.name == "step-5"
    assert names(path) == sorted(FILES)
    assert same(checkpoints.load(path), 5)
    found = checkpoints.newest(path.parent)
    assert same(found, 5)
    assert found is not None
    assert not found.skipped


def test_tensors_that_share_memory_or_are_strided_are_saved_whole(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    given_tensors = {"a": table, "tied": table, "turned": table.T, "part": table[1:, ::2], "empty": table[:0]}
    path = checkpoints.save(tmp_path, 0, tensors=given_tensors, state={})
    assert_close(checkpoints.load(path).tensors, given_tensors, rtol=0, atol=0)


def test_the_last_n_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in range(1, 8):
        save(tmp_path, step, keep=2, best=step in (2, 4))
    assert names(tmp_path) == ["step-4", "step-6", "step-7"]
    assert same(checkpoints.newest(tmp_path), 7)
    assert same(checkpoints.best(tmp_path), 4)
    save(tmp_path, 8, keep=1, best=True)
    assert names(tmp_path) == ["step-8"]


def test_no_folder_and_an_empty_folder_have_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "missing") is None
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.best(tmp_path) is None
    with pytest.raises(InputError, match=r"step-3: broken checkpoint: No such file"):
        checkpoints.load(tmp_path / "step-3")


def test_a_broken_one_is_named_and_the_newest_whole_one_taken(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    (tmp_path / "step-3" / "tensors.safetensors").write_bytes(b"")
    (tmp_path / "step-2" / "state.json").unlink()
    told: list[str] = []
    found = checkpoints.newest(tmp_path, tell=told.append)
    assert same(found, 1)
    assert found is not None
    assert len(found.skipped) == len(told) == 2
    assert "step-3: broken checkpoint: tensors.safetensors has 0 bytes" in told[0]
    assert "step-2: broken checkpoint: state.json is missing" in told[1]


def test_leftovers_of_a_killed_save_are_removed_by_the_next_save_only(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".writing-2").mkdir()
    (tmp_path / ".writing-2" / "tensors.safetensors").write_bytes(b"half")
    (tmp_path / ".removing-0").mkdir()
    assert same(checkpoints.newest(tmp_path), 1)
    assert ".writing-2" in names(tmp_path)  # it may be the save of a process that still runs
    save(tmp_path, 2)
    assert names(tmp_path) == ["step-1", "step-2"]


def test_a_second_save_of_one_step_replaces_the_first_and_is_safe_in_between(tmp_path: Path) -> None:
    save(tmp_path, 4)
    (tmp_path / "step-4").rename(tmp_path / ".replaced-4")  # killed between the two renames
    assert same(checkpoints.newest(tmp_path), 4)
    path = save(tmp_path, 4)
    assert names(tmp_path) == ["step-4"]
    shutil.copytree(path, tmp_path / ".replaced-4")  # killed before the replaced one went
    save(tmp_path, 4, best=True)
    assert names(tmp_path) == ["step-4"]
    save(tmp_path, 4)
    assert same(checkpoints.best(tmp_path), 4)  # still the best: it is the same step


def test_going_on_from_an_earlier_step(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    (tmp_path / "step-3" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"step-2: is past step 1"):
        save(tmp_path, 1)
    assert names(tmp_path) == ["step-1", "step-2"]  # the broken one went, the whole one stayed
    checkpoints.drop_after(tmp_path, 1)
    save(tmp_path, 2)
    assert same(checkpoints.newest(tmp_path), 2)


@pytest.mark.parametrize("failing", ["fsync", "save_file", "write_bytes"])
def test_a_full_disk_is_told_with_bytes_and_older_ones_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    save(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(
            *{"fsync": (os, "fsync"), "save_file": (checkpoints, "save_file")}.get(failing, (Path, failing)), full
        )
        with pytest.raises(InputError, match=r"step-2: not enough disk: [\d,]+ bytes are needed, [\d,]+ are free"):
            save(tmp_path, 2)
    assert names(tmp_path) == ["step-1"]
    assert same(checkpoints.newest(tmp_path), 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = shutil.which("mount") and sys.platform == "linux" and os.geteuid() == 0
    if not made or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).returncode:
        pytest.skip("a small file system can be mounted only by root; the monkeypatched test covers the rest")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    folder = small_disk / "checkpoints"
    save(folder, 1)
    with pytest.raises(InputError, match=r"not enough disk: 400,\d\d\d bytes are needed, 2\d\d,\d\d\d are free"):
        checkpoints.save(folder, 2, tensors={"x": torch.zeros(100_000)}, state={})
    assert names(folder) == ["step-1"]
    assert same(checkpoints.newest(folder), 1)


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        save(tmp_path / "file" / "checkpoints", 1)


def test_a_state_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path / "new", 1, tensors={}, state={"tensor": torch.zeros(1)})
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    save(folder, 1)
    save(folder, 2)
    return folder


def broken_is_named_or_unchanged(folder: Path) -> None:
    """The law, for a folder whose step-2 was tampered with."""
    found = checkpoints.newest(folder)
    assert found is not None
    if found.step == 2:
        assert same(found, 2)
        assert not found.skipped
        return
    assert same(found, 1)
    assert len(found.skipped) == 1
    with pytest.raises(InputError, match="broken checkpoint"):
        checkpoints.load(folder / "step-2")


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(FILES), data=st.data())
def test_any_flipped_bit_cut_or_lost_file_is_noticed(two: Path, name: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(two, Path(scratch, "c")))
        file = folder / "step-2" / name
        whole = bytearray(file.read_bytes())
        match data.draw(st.sampled_from(["flip", "cut", "grow", "delete", "folder"])):
            case "flip":
                whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
                file.write_bytes(whole)
            case "cut":
                file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
            case "grow":
                file.write_bytes(whole + data.draw(st.binary(min_size=1, max_size=8)))
            case "delete":
                file.unlink()
            case "folder":
                file.unlink()
                file.mkdir()
        with pytest.raises(InputError, match="broken checkpoint"):
            checkpoints.load(folder / "step-2")
        broken_is_named_or_unchanged(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["format", "files", *FILES]), inner),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000))
def test_any_manifest_is_read_or_refused(two: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(two, Path(scratch, "c")))
        (folder / "step-2" / "manifest.json").write_bytes(content)
        broken_is_named_or_unchanged(folder)


@settings(max_examples=100, deadline=None)
@given(
    changed=st.fixed_dictionaries(
        {}, optional={"format": JSON, "step": JSON | st.just(True), "best": JSON, "state": JSON}
    ),
    header=st.none() | st.binary(max_size=40),
)
@example(changed={"step": True}, header=None)
def test_wrong_types_under_right_hashes_are_refused(changed: dict[str, object], header: bytes | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = save(Path(scratch), 2)
        state = json.loads((path / "state.json").read_bytes()) | changed
        (path / "state.json").write_text(json.dumps(state))
        if header is not None:
            (path / "tensors.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        files = {
            name: {"size": (path / name).stat().st_size, "sha256": file_sha256(path / name)}
            for name in ("state.json", "tensors.safetensors")
        }
        (path / "manifest.json").write_bytes(checkpoints._manifest(files))
        try:
            found = checkpoints.load(path)
        except InputError:
            return
        assert type(found.step) is int
        assert type(found.best) is bool
        assert isinstance(found.state, dict)
