"""Smaller numbers in the embedded model's networks: are they faster, and does it say the same?

    OMP_NUM_THREADS=1 python benchmarks/quantised.py data/heldout/sounds.csv runs/quantised

writes a checkpoint folder for each variant, and prints its time by that of the model as it is
(processor time of one thread, the least of interleaved runs) and how many held-out sounds get the
same words. What its captions are worth is for `python scripts/embedded_scores.py labels
data/heldout/sounds.csv ../shared/reference/label_words.csv --checkpoint FOLDER` to say.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime
import typer
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

from auricle.captioning.captioner import Captioner, load
from auricle.captioning.onnx_backend import EncodedSound
from auricle.checkpoint.folder import EMBEDDED
from auricle.data.manifest import Item, read_manifest
from auricle.sound.decode import load_audio

HELD_OUT = "label_valid"
CALIBRATION = 100  # sounds of the training split
REPEATS = 30
SECONDS = 10  # of a sound


def folded(source: Path, folder: Path) -> Path:
    """The network with single-precision weights and folded batch norms, ready to be quantised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    target = folder / source.name
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    del model.graph.value_info[:]  # shapes of weights before they were transposed
    onnx.save(model, target)
    return target


class Spectrograms(CalibrationDataReader):
    """What the encoder is calibrated with."""

    def __init__(self, captioner: Captioner, items: list[Item]) -> None:
        sounds = (
            captioner.spectrogram(load_audio(item.file, captioner.rate, max_seconds=SECONDS))
            for item in items
        )
        self._inputs: Iterator[dict[str, np.ndarray]] = (
            {"log_mel": log_mel[None]} for log_mel in sounds
        )

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        """The next sound."""
        return next(self._inputs, None)


def variants(captioner: Captioner, items: list[Item], folder: Path) -> dict[str, Path]:
    """Returns checkpoint folders by the name of their smaller part."""
    folders = {name: folder / name for name in ("decoder-int8", "encoder-int8", "encoder-fp16")}
    for target in folders.values():
        shutil.copytree(EMBEDDED, target, dirs_exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        encoder, decoder = (
            folded(EMBEDDED / f"{name}.onnx", Path(temporary)) for name in ("encoder", "decoder")
        )
        quantize_dynamic(
            decoder,
            folders["decoder-int8"] / "decoder.onnx",
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        quantize_static(
            encoder,
            folders["encoder-int8"] / "encoder.onnx",
            Spectrograms(captioner, items),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        half = convert_float_to_float16(onnx.load(encoder), keep_io_types=True)
        onnx.save(half, folders["encoder-fp16"] / "encoder.onnx")
    return folders


def steps(captioner: Captioner, heard: EncodedSound) -> None:
    """Ten steps of the decoder, as a search takes them."""
    memory = heard.memory
    if captioner.planner is not None:
        memory = captioner.planner.remember(captioner.planner.select(heard, SECONDS))
    assert memory is not None
    step, beam = captioner.model.next_log_probs(memory), captioner.options.beam
    for number in range(10):
        rows = beam if number else 1
        step(np.full(rows, 5), np.zeros(rows, np.int64))


def main(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="The sounds: those of `train` calibrate, those of `label_valid` are captioned."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Where variants go.")],
    sounds: Annotated[int, typer.Option(help="Held-out sounds to caption.")] = 60,
) -> None:
    """Makes the variants and prints a table."""
    items = read_manifest(manifest)
    plain = load()
    train = [item for item in items if item.split == "train"]
    held = [item for item in items if item.split == HELD_OUT]
    folders = variants(plain, train[:: len(train) // CALIBRATION], folder)
    heard = [plain.samples(item.file) for item in held[:: max(1, len(held) // sounds)]]
    said = [plain.caption(samples).text for samples in heard]
    print("| variant | encoder | decoder | same words |\n| --- | --- | --- | --- |")
    for name, path in folders.items():
        captioner = load(path)
        spectrogram = plain.spectrogram(np.resize(heard[0], SECONDS * plain.rate))
        sound = plain.model.hear(spectrogram)
        times = {key: [] for key in ("encoder", "decoder")}
        for _ in range(REPEATS):
            for one in (plain, captioner):
                began = time.thread_time()
                one.model.hear(spectrogram)
                middle = time.thread_time()
                steps(one, sound)
                times["encoder"].append(middle - began)
                times["decoder"].append(time.thread_time() - middle)
        ratios = [min(each[1::2]) / min(each[::2]) for each in times.values()]
        same = sum(
            captioner.caption(samples).text == text
            for samples, text in zip(heard, said, strict=True)
        )
        print(
            f"| {name} | {ratios[0]:.2f} | {ratios[1]:.2f} | {same} of {len(heard)} |", flush=True
        )


if __name__ == "__main__":
    typer.run(main)
