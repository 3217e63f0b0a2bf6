"""Arrays in one file: found again as they were, whatever happens to a writer."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from auricle.errors import AuricleError
from auricle.storage import arrays as module
from auricle.storage.arrays import ArrayStore


def made(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, count)
    return {f"{seed}-{i}": rng.random((n, 3)).astype(np.float32) for i, n in enumerate(sizes)}


def check(store: ArrayStore, expected: dict[str, np.ndarray]) -> None:
    for key, array in zip(expected, store.load(list(expected)), strict=True):
        np.testing.assert_array_equal(array, expected[key])


def test_arrays_are_found_again_in_any_order(tmp_path: Path):
    store, arrays = ArrayStore(tmp_path, np.float32, 3), made(10)
    assert store.missing(list(arrays)) == arrays.keys()
    store.add(dict(list(arrays.items())[:4]))
    store.add(arrays)  # keys that exist are left alone
    again = ArrayStore(tmp_path, np.float32, 3)
    assert again.missing([*arrays, "other"]) == {"other"}
    check(again, dict(reversed(arrays.items())))
    assert not again.load(list(arrays))[0].flags.writeable
    assert len(list(tmp_path.iterdir())) == 2


def _add(folder: Path, seed: int) -> None:
    for key, array in made(10, seed).items():
        ArrayStore(folder, np.float32, 3).add({key: array})


def test_several_processes_add_at_once(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(tmp_path, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for seed in range(3):
        check(ArrayStore(tmp_path, np.float32, 3), made(10, seed))


def _write_half_and_die(folder: Path) -> None:
    class Half(np.ndarray):
        pass

    def ascontiguous(array: np.ndarray, _dtype: object) -> np.ndarray:
        with (folder / "arrays.bin").open("ab") as file:
            file.write(array.tobytes()[:40])
        os.kill(os.getpid(), signal.SIGKILL)
        return array

    module.np.ascontiguousarray = ascontiguous  # type: ignore[assignment]
    ArrayStore(folder, np.float32, 3).add(made(3, 9))


def test_a_killed_writer_harms_nothing(tmp_path: Path):
    store, arrays = ArrayStore(tmp_path, np.float32, 3), made(5)
    store.add(arrays)
    process = multiprocessing.get_context("spawn").Process(
        target=_write_half_and_die, args=(tmp_path,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert store.missing(list(made(3, 9))) == made(3, 9).keys()
    store.add(made(4, 1))
    check(store, arrays | made(4, 1))


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(AuricleError, match="cannot be written"):
        ArrayStore(tmp_path / "file", np.float32, 3)
