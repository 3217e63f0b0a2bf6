"""A checkpoint folder may be a stranger's: one line refuses each wrong part."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.captioning.captioner import Captioner, load
from auricle.checkpoint.folder import (
    CHECKPOINT_FILES,
    EMBEDDED,
    PLAN_FILES,
    check_files,
    fingerprint,
    load_checkpoint,
)
from auricle.errors import AuricleError
from sounds import chirp

RATE = 32_000


@pytest.fixture
def folder(tiny_guided_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own, to be damaged."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in CHECKPOINT_FILES:
        if (tiny_guided_checkpoint / name).exists():
            shutil.copy(tiny_guided_checkpoint / name, folder)
    return folder


def use(folder: Path) -> None:
    """All that a checkpoint is for."""
    captioner = load(folder)
    captioner.caption(chirp(1, 100, 5_000, RATE))
    captioner.embed_sentences(["a dog"])


def refused(folder: Path, why: str) -> None:
    """Loading, captioning or comparing fails with one line that tells why."""
    with pytest.raises(AuricleError, match=why) as error:
        use(folder)
    assert "\n" not in str(error.value)


def change(folder: Path, **values: Any) -> None:
    """Sets fields of config.json; a dotted one by two underscores."""
    table = json.loads((folder / "config.json").read_text())
    for name, value in values.items():
        *parts, last = name.split("__")
        section = table
        for part in parts:
            section = section[part]
        section[last] = value
    (folder / "config.json").write_text(json.dumps(table))


def test_a_whole_folder_is_taken(folder: Path, guided: Captioner):
    sound = chirp(1, 100, 5_000, RATE)
    assert load(folder).caption(sound) == guided.caption(sound)
    assert load().caption(sound).text


@pytest.mark.parametrize("name", sorted({*CHECKPOINT_FILES} - {"merges.txt", *PLAN_FILES}))
def test_a_missing_file(folder: Path, name: str):
    (folder / name).unlink()
    refused(folder, rf"{name}.* is (not there|missing)")


def test_swapped_files(folder: Path, tiny_checkpoint: Path):
    def swap(first: str, second: str) -> None:
        (folder / first).rename(folder / "aside")
        (folder / second).rename(folder / first)
        (folder / "aside").rename(folder / second)

    for first, second, why in (
        (
            "encoder.onnx",
            "decoder.onnx",
            "encoder.onnx does not fit: its input .* is unknown",
        ),
        ("decoder.onnx", "text.onnx", "decoder.onnx does not fit: tokens is"),
        (
            "text.onnx",
            "encoder.onnx",
            "encoder.onnx does not fit: its input tokens is unknown",
        ),
        ("vocabulary.txt", "tags.txt", "not a vocabulary"),
        ("config.json", "vocabulary.txt", "is not a checkpoint"),
        ("encoder.onnx", "vocabulary.txt", "is not a checkpoint"),
    ):
        swap(first, second)
        refused(folder, why)
        swap(first, second)
    for name, why in (
        ("encoder.onnx", "it has no sound_embedding"),
        ("config.json", "text tower|tags"),
    ):
        shutil.copy(folder / name, folder / "aside")
        shutil.copy(tiny_checkpoint / name, folder / name)
        refused(folder, why)
        shutil.copy(folder / "aside", folder / name)
    load(folder)


def test_files_of_another_model(folder: Path):
    for name in ("encoder.onnx", "decoder.onnx", "text.onnx", "vocabulary.txt"):
        shutil.copy(folder / name, folder / "aside")
        shutil.copy(EMBEDDED / name, folder / name)
        refused(
            folder,
            r"\.onnx does not fit: " if "onnx" in name else "vocabulary.txt differs from the list",
        )
        shutil.copy(folder / "aside", folder / name)
    load(folder)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (
            {"format": 3},
            "format is 3, this version of auricle reads up to 2: install a newer version",
        ),
        ({"format": "1"}, "format is '1': expected int"),
        ({"front_end": "../../etc/passwd"}, "unknown front end"),
        (
            {"front_end": "mobilenet"},
            r"encoder.onnx does not fit: log_mel is .*, expected \* x \* x 128",
        ),
        (
            {"decoder__heads": 0},
            "decoder: heads is 0: expected at least 1",
        ),
        ({"decoder__width": -4}, "decoder: width is -4: expected at least 1"),
        ({"decoding__beam": 10**9}, "decoding.beam is 1000000000: expected 1 to 64"),
        ({"decoding__max_length": 10**9}, "decoding.max_length"),
        ({"decoding__length_penalty": float("nan")}, "decoding.length_penalty is nan"),
        ({"space": 10**9}, "space is 1000000000"),
        ({"space": 16}, "sound_embedding is 1 x 8, expected"),
        ({"rerank": float("inf")}, "rerank is inf"),
        ({"maximum_seconds": 1e9}, "maximum_seconds"),
        ({"maximum_seconds": -1.0}, "maximum_seconds"),
        ({"padded_frames": 10**12}, "padded_frames"),
        ({"licence": "free\x1b[2J"}, "unprintable characters"),
        ({"weights": "https://example.org"}, "no field 'weights'"),
    ],
    ids=str,
)
def test_what_config_says(folder: Path, values: dict[str, Any], why: str):
    change(folder, **values)
    refused(folder, why)


def test_texts_that_are_none(folder: Path):
    for name, content, why in (
        ("config.json", b"", "not a checkpoint"),
        ("config.json", b"[]", "expected a JSON object"),
        ("config.json", b"[" * 500_000, "not a checkpoint"),
        ("config.json", b'{"format": ' + b"9" * 10_000 + b"}", "not a checkpoint"),
        ("config.json", b"\xff\xfe\x00", "not a checkpoint"),
        ("vocabulary.txt", b"\x80", "not a checkpoint"),
        ("vocabulary.txt", b"dog\ncat\n", "not a vocabulary"),
        ("tags.txt", b"\x80", "not a checkpoint"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        refused(folder, why)
        (folder / name).write_bytes(whole)
    text = (folder / "vocabulary.txt").read_text()
    for word in ("\x1b]0;title\x07", "dog\x0bcat", "‮god"):
        (folder / "vocabulary.txt").write_text(text.replace("siren", word))
        refused(folder, "unprintable characters")
    (folder / "vocabulary.txt").write_text(text.replace("siren", "dog"))
    refused(folder, "holds a word twice")


FIELDS = [
    "format",
    "front_end",
    "encoder",
    "decoder",
    "decoding",
    "space",
    "heads",
    "width",
    "beam",
    "x",
]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        VALUES, lambda some: st.lists(some) | st.dictionaries(st.sampled_from(FIELDS), some)
    )
)
def test_any_json_is_a_checkpoint_or_refused(tmp_path_factory: pytest.TempPathFactory, table: Any):
    folder = tmp_path_factory.mktemp("any")
    (folder / "config.json").write_text(json.dumps(table))
    (folder / "vocabulary.txt").write_text("<pad>\n<sos>\n<eos>\n<unk>\ndog\n")
    with pytest.raises(AuricleError):
        load_checkpoint(folder)


# Files that are none of the folder's


def test_links_that_leave_the_folder(folder: Path, tmp_path: Path):
    for name in ("config.json", "vocabulary.txt", "tags.txt", "encoder.onnx", "text.onnx"):
        (folder / name).rename(tmp_path / "elsewhere")
        (folder / name).symlink_to(tmp_path / "elsewhere")
        refused(folder, f"{name} is a link that leaves the folder")
        (folder / name).unlink()
        (folder / name).symlink_to("/proc/self/environ")
        refused(folder, f"{name} is (a link|not a file)|cannot be read")
        (folder / name).unlink()
        (folder / name).symlink_to("nowhere")
        refused(folder, f"{name} is a broken link: its target does not exist")
        (folder / name).unlink()
        (tmp_path / "elsewhere").rename(folder / name)
    (folder / "model.safetensors").symlink_to("/etc/passwd")
    refused(folder, "model.safetensors is a link that leaves the folder")


def test_links_that_stay(folder: Path, tmp_path: Path):
    (folder / "weights").mkdir()
    (folder / "encoder.onnx").rename(folder / "weights" / "1")
    (folder / "encoder.onnx").symlink_to("weights/1")
    (tmp_path / "latest").symlink_to(folder)
    load(tmp_path / "latest")


def test_the_hubs_cache_links_to_its_own_blobs_only(folder: Path, tmp_path: Path):
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for path in folder.iterdir():
        shutil.copy(path, repository / "blobs" / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    load(snapshot)
    shutil.copy(folder / "tags.txt", tmp_path)
    (snapshot / "tags.txt").unlink()
    (snapshot / "tags.txt").symlink_to("../../../tags.txt")
    refused(snapshot, "tags.txt is a link that leaves the folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_no_file_is_not_waited_for(folder: Path):
    (folder / "tags.txt").unlink()
    os.mkfifo(folder / "tags.txt")
    refused(folder, "tags.txt is not a file")


def test_absurd_sizes(folder: Path):
    for name in ("config.json", "decoder.onnx"):
        whole = (folder / name).read_bytes()
        with (folder / name).open("r+b") as file:
            file.truncate(CHECKPOINT_FILES[name] + 1)  # sparse
        most = CHECKPOINT_FILES[name]
        refused(folder, rf"{name} has {most + 1} bytes: expected at most {most}")
        (folder / name).write_bytes(whole)
    check_files(folder)


# ONNX


def edited(path: Path, edit: Callable[[Any], None]) -> None:
    """Changes an ONNX file."""
    onnx = pytest.importorskip(
        "onnx", reason="files are made with onnx: pip install 'auricle[train]'"
    )
    model = onnx.load(path)
    edit(model)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("place", ["/etc/passwd", "../../secret", "weights.bin", "", None])
def test_tensors_in_other_files(folder: Path, place: str | None, monkeypatch: pytest.MonkeyPatch):
    (folder / "weights.bin").write_bytes(bytes(1 << 20))

    def keep_outside(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        if place is not None:
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", place

    monkeypatch.chdir(folder)
    for name in ("encoder.onnx", "decoder.onnx", "text.onnx"):
        whole = (folder / name).read_bytes()
        edited(folder / name, keep_outside)
        refused(folder, f"{name} (keeps tensors in other files|cannot be run)")
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(("layers", "value"), [(3, 0.0), (2, float("nan")), (2, float("inf"))])
def test_a_network_that_is_none_fails_in_a_line(folder: Path, layers: int, value: float):
    """The network states the expected outputs; the real ones show only when it runs."""
    onnx = pytest.importorskip(
        "onnx", reason="files are made with onnx: pip install 'auricle[train]'"
    )
    from onnx import TensorProto, helper

    def tensor(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def constant(name: str, numbers: list[int]) -> Any:
        return helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers)

    shapes = {
        "memory_keys": [layers, 1, 2, 5, 8],
        "memory_values": [layers, 1, 2, 5, 8],
        "sound_embedding": [1, 8],
    }
    nodes = [
        helper.make_node("ReduceMin", ["log_mel"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "nothing"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["number"], to=TensorProto.INT64),
    ]
    for name in shapes:
        filled = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        nodes += [
            helper.make_node("Add", ["number", f"shape_{name}"], [f"{name}_sizes"]),
            helper.make_node("ConstantOfShape", [f"{name}_sizes"], [name], value=filled),
        ]
    outputs = [
        tensor(name, *([2, 1, 2, "n", 8] if len(shape) == 5 else shape))
        for name, shape in shapes.items()
    ]
    initial = [constant(f"shape_{name}", shape) for name, shape in shapes.items()]
    initial.append(helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]))
    graph = helper.make_graph(nodes, "none", [tensor("log_mel", 1, "frames", 64)], outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (folder / "encoder.onnx").write_bytes(
        onnx.load_from_string(model.SerializeToString()).SerializeToString()
    )
    refused(folder, "the model fails: " if layers == 3 else "numbers that are not finite")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_network_is_refused_or_runs(
    tiny_guided_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    """In a process of its own each file could crash; here they are few and cut or overwritten where
    headers stand."""
    folder = tmp_path_factory.mktemp("damaged")
    for name in CHECKPOINT_FILES:
        if (tiny_guided_checkpoint / name).exists():
            shutil.copy(tiny_guided_checkpoint / name, folder)
    name = data.draw(st.sampled_from(["encoder.onnx", "decoder.onnx"]))
    content = bytearray((folder / name).read_bytes())
    content[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    (folder / name).write_bytes(content)
    try:
        load(folder)
    except AuricleError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_errors_are_a_line_on_the_command_line_too(folder: Path):
    (folder / "tags.txt").unlink()
    (folder / "tags.txt").symlink_to("/etc/hostname")
    command = [sys.executable, "-m", "auricle", "info", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        result.stderr == f"auricle: {folder}/tags.txt is a link that leaves the folder: "
        "replace it by the file\n"
    )


def test_the_fingerprint_tells_what_is_said_by(folder: Path, tiny_guided_checkpoint: Path):
    ours = fingerprint(folder)
    assert ours == fingerprint(tiny_guided_checkpoint)
    (folder / "README.md").write_text("A card.")
    assert fingerprint(folder) == ours
    for name in ("config.json", "tags.txt", "text.onnx"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole + b"\n")
        assert fingerprint(folder) != ours
        (folder / name).write_bytes(whole)
    (folder / "tags.txt").rename(folder / "merges.txt")
    assert fingerprint(folder) != ours
