"""Estimates the time and memory of a plan."""

import contextlib
import random
import timeit
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import UNKNOWN
from auricle.data.manifest import Item, read_manifest
from auricle.models.captioning import CaptioningModel
from auricle.models.shapes import give_memory, without_numbers
from auricle.reproduction.plan import ReproductionPlan
from auricle.sound.features import front_end
from auricle.training.config import DataConfig, Recipe, TagsConfig
from auricle.training.costs import CAPTION_WORDS, Cost, estimated_costs
from auricle.training.parameters import vocabulary_size

TIMED_SECONDS = 5.0  # length of the sounds by which a network is timed
TIMED_SOUNDS = {"cpu": 1, "cuda": 16}  # as many as keep the device busy


@dataclass(frozen=True)
class Estimate:
    """The time and memory that a stage will take."""

    run: str
    stage: str
    done: bool
    seconds: float
    memory: int  # bytes


@dataclass(frozen=True)
class _TrainingData:
    """The sizes of a system's data, which other systems share."""

    words: int  # size of the vocabulary
    visits: int  # sounds in an epoch
    seconds: float  # length of a sound, as the network gets it


def estimates(plan: ReproductionPlan) -> list[Estimate]:
    """Estimates the stages of all runs.

    A stage takes its operations, divided by the operations a second of the system's network here.
    """
    found: list[Estimate] = []
    known: dict[str, list[tuple[str, Cost, int, int, float]]] = {}
    data: dict[tuple[DataConfig, TagsConfig], _TrainingData] = {}
    for run in plan.runs:
        if run.system not in known:
            key = run.recipe.data, run.recipe.tags
            data[key] = data.get(key) or _training_data(run.recipe)
            known[run.system] = _system_costs(run.recipe, data[key])
        for stage, cost, batch, visits, speed in known[run.system]:
            done = run.is_done(stage)
            seconds = 0.0 if done else visits * cost.training / speed
            found.append(Estimate(run.name, stage, done, seconds, cost.memory(batch)))
    return found


def _training_data(recipe: Recipe) -> _TrainingData:
    splits = set(recipe.data.train)
    train = read_manifest(Path(recipe.data.manifest), splits, check_files=False)
    rounds = recipe.data.captions_per_epoch or 1 << 30
    visits = sum(min(rounds, len(item.captions)) for item in train)
    longest = recipe.data.maximum_seconds
    seconds = longest if recipe.data.pad == "longest" else _mean_seconds(train, longest)
    return _TrainingData(vocabulary_size(recipe)[0], visits, seconds)


def _system_costs(recipe: Recipe, data: _TrainingData) -> list[tuple[str, Cost, int, int, float]]:
    costs = estimated_costs(recipe, data.words, data.seconds)
    timed = estimated_costs(recipe, data.words, TIMED_SECONDS)["captioner"]
    speed = timed.forward / _forward_seconds(
        recipe.encoder, recipe.decoder, recipe.data.front_end, data.words
    )
    stages = {"pre-encoder": ("pretrain", recipe.pretrain), "captioner": ("train", recipe.train)}
    return [
        (stage, costs[name], config.batch_size, data.visits * config.epochs, speed)
        for name, (stage, config) in stages.items()
        if name in costs
    ]


def _mean_seconds(items: Sequence[Item], longest: float, sample: int = 30) -> float:
    """Returns the mean length of some of the sounds, by the headers of their files.

    It is the greatest length if none of them can be read.
    """
    import av
    from av.error import FFmpegError

    lengths = []
    for item in random.Random(0).sample(list(items), min(sample, len(items))):
        with contextlib.suppress(OSError, FFmpegError), av.open(str(item.file)) as container:
            lengths.append(min(longest, (container.duration or 0) / 1e6))
    return max(1.0, sum(lengths) / len(lengths)) if lengths else longest


@cache
@torch.inference_mode()
def _forward_seconds(
    encoder: EncoderConfig, decoder: DecoderConfig, hearing: str, words: int
) -> float:
    """Returns the seconds that encoder and decoder take for a sound of `TIMED_SECONDS`.

    It is the best of a few runs, because other programs use the machine too.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with without_numbers():
        model = CaptioningModel(encoder, decoder, words).eval()
    give_memory(model, device)
    hears = front_end(hearing)
    frames = hears.frames(round(TIMED_SECONDS * hears.rate))
    sounds = TIMED_SOUNDS[device.type]
    inputs = (
        torch.zeros(sounds, frames, hears.mels, device=device),
        torch.full((sounds,), frames, device=device),
        torch.full((sounds, CAPTION_WORDS), UNKNOWN, device=device),
    )
    # A float waits for a GPU. The first run gets memory and chooses algorithms.
    times = timeit.repeat(lambda: float(model(*inputs).sum()), number=1, repeat=3)
    return min(times[1:]) / sounds
