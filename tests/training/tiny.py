"""A data set of made sounds, recipes of seconds, and trainings in processes that can be killed."""

import csv
import multiprocessing
import os
import signal
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.sound.features import FRONT_ENDS
from auricle.storage.tables import read
from auricle.training import prepare as prepare_module
from auricle.training import run as run_module
from auricle.training import scst as scst_module
from auricle.training import train as train_module
from auricle.training.config import Recipe
from auricle.training.pretrain import pretrain
from auricle.training.scst import train_scst
from auricle.training.train import train
from sounds import chirp, tone, write_wav

RATE = FRONT_ENDS["panns"].rate
# Modules that a training would load itself; the first optimiser of a process loads `_dynamo`, which
# takes longer than a tiny training.
PRELOADED = [
    "auricle.training.scst",
    "gensim.models",
    "matplotlib.backends.backend_agg",
    "torch._dynamo",
]
CAPTIONS = (
    "A dog barks at a passing car",
    "Rain falls on a tin roof",
    "Birds sing in the early morning",
    "An engine idles while people talk",
    "Water runs into a metal sink",
    "Someone walks slowly over dry leaves",
    "A bell rings three times far away",
    "Wind blows hard through the trees",
    "A crowd cheers and claps loudly",
    "The clock on the wall ticks steadily",
    "A train passes over a bridge",
    "Thunder rumbles after a flash",
    "A baby cries and then laughs",
    "Waves crash against the rocks",
    "A siren wails in the distance",
    "Two men hammer nails into wood",
)


def made_sound(number: int, seconds: float = 1.0) -> np.ndarray:
    """A sound unlike those of other numbers, float32 (samples,)."""
    rng = np.random.default_rng(number)
    low = 150 * 1.25**number
    sound = (
        tone(seconds, low, RATE),
        chirp(seconds, low, 3 * low, RATE),
        tone(seconds, low, RATE) * (np.arange(round(seconds * RATE)) * 4 // RATE % 2),
        rng.normal(0, 0.02 * (1 + number), round(seconds * RATE)),
    )[number % 4]
    return (sound + rng.normal(0, 1e-3, len(sound))).astype(np.float32).clip(-1, 1)


def write_data(folder: Path) -> Path:
    """Sixteen sounds and a manifest; next to it `names.csv` of AudioSet's classes and `texts.csv`,
    captions without sound."""
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "caption_1", "caption_2", "label"])
        for number, caption in enumerate(CAPTIONS):
            write_wav(folder / f"{number}.wav", made_sound(number, 1 + number % 5 / 10), RATE)
            split = "valid" if number % 4 == 3 else "train"
            writer.writerow(
                [
                    f"{number}.wav",
                    split,
                    f"{caption}.",
                    f"{caption} again and again.",
                    f"l{number // 2}",
                ]
            )
    words = sorted({word.lower() for caption in CAPTIONS for word in caption.split()})
    names = [*words, *(f"Class {number}" for number in range(len(words), AUDIOSET_CLASSES))]
    with (folder / "names.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["index", "mid", "display_name"], *((i, f"/m/{i}", n) for i, n in enumerate(names))]
        )
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["caption"], *([f"{caption} in a hall"] for caption in CAPTIONS)]
        )
    return path


def made_tags(captions: Sequence[str], names: Sequence[str], **_: object) -> list[dict[int, float]]:
    """Stands for `read_tags`, which needs a language model: a tag or two for each caption."""
    places = [zlib.crc32(caption.encode()) for caption in captions]
    return [{place % len(names): 0.7, place // 527 % len(names): 0.5} for place in places]


def tiny_recipe(manifest: Path, output: Path, **changes: Any) -> Recipe:
    """A recipe of seconds with every option on; `changes` are named `section__field`.

    It is guided by tags, which are read off captions by `made_tags` if that is put in the place of
    `prepare.read_tags`.
    """
    table: dict[str, Any] = {
        "output": str(output),
        "data": {"manifest": str(manifest), "valid": ["valid"], "front_end": "panns"},
        "encoder": {"width": 1 / 16},
        "decoder": {
            "width": 16,
            "layers": 2,
            "heads": 2,
            "feedforward": 32,
            "dropout": 0.1,
            "tags": 3,
        },
        "tags": {
            "names": str(manifest.parent / "names.csv"),
            "captions": str(manifest.parent / "texts.csv"),
        },
        "word2vec": {"size": 16, "epochs": 2},
        "pretrain": {
            "epochs": 3,
            "batch_size": 4,
            "patience": 0,
            "projection": 16,
            "learn_temperature": True,
            "mask_fitting_pairs": True,
            "monitor": "map_10",
            "texts_per_batch": 2,
            "freeze_statistics": True,
            "augmentation": {"time_masks": 1, "mel_masks": 1, "mixtures": 0.5},
        },
        "train": {
            "epochs": 3,
            "batch_size": 4,
            "schedule": "cosine",
            "label_smoothing": 0.1,
            "ema": 0.9,
            "texts_per_batch": 2,
            "augmentation": {
                "time_masks": 1,
                "mel_masks": 1,
                "mixup": 0.4,
                "mixtures": 0.5,
                "audio_dropout": 0.2,
                "tag_dropout": 0.1,
            },
        },
        "scst": {"epochs": 3, "batch_size": 4, "samples": 2, "learning_rate": 1e-3},
    }
    for name, value in changes.items():
        section, _, field = name.partition("__")
        if field:
            table[section][field] = value
        else:
            table[section] = value
    return read(Recipe, table, "tiny")


STAGES: dict[str, Callable[..., Path]] = {"pretrain": pretrain, "train": train, "scst": train_scst}


def start(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """Runs a function in a process that has torch in it already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=function, args=(dict(os.environ), *arguments))
    process.start()
    return process


def run_stage(
    environment: dict[str, str],
    stage: str,
    recipe: Recipe,
    resume: bool,
    die_at: tuple[int, int] | None,
):
    """A stage of a training, without export; kills itself before the step `die_at[1]` of epoch
    `die_at[0]`."""
    enter(environment)
    # These take seconds each, and their results follow from the compared states.
    train_module.export_onnx = scst_module.export_onnx = lambda *_: None
    run_module.draw_curves = lambda *_: None
    prepare_module.read_tags = made_tags
    if die_at is not None:
        epoch_of = Batches.epoch

        def fatal_epoch(self: Batches, seed: int, epoch: int) -> Iterator[Batch]:
            for step, batch in enumerate(epoch_of(self, seed, epoch)):
                if (
                    self.share.ranks == 1
                    and self.items[0].split == "train"
                    and (epoch, step) == die_at
                ):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

        Batches.epoch = fatal_epoch
    STAGES[stage](recipe, resume=resume)


def enter(environment: dict[str, str]) -> None:
    """What a forked process begins with: the environment of the one that asked for it, and one
    thread."""
    os.environ.update(environment)
    torch.set_num_threads(1)


def run_ranks(function: Callable[..., None], *arguments: object, ranks: int = 2) -> None:
    """Runs a function in `ranks` processes that find one another on this machine, as `accelerate
    launch` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        environment = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": ranks,
            "LOCAL_WORLD_SIZE": ranks,
        }
        environment |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "ACCELERATE_USE_CPU": "true",
        }
        environment["GLOO_SOCKET_IFNAME"] = "lo"
        processes.append(
            start(
                _run_rank,
                {name: str(value) for name, value in environment.items()},
                function,
                arguments,
            )
        )
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * ranks


def _run_rank(
    environment: dict[str, str],
    rank_environment: dict[str, str],
    function: Callable[..., None],
    arguments: tuple,
) -> None:
    enter(environment | rank_environment)
    function(*arguments)
