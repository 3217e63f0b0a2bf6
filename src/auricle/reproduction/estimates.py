"""Estimates the time and memory of a plan."""

import random
import timeit
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from auricle.checkpoint.vocabulary import UNKNOWN
from auricle.data.manifest import Item
from auricle.reproduction.plan import Plan
from auricle.sound.features import front_end
from auricle.training.config import Recipe
from auricle.training.costs import CAPTION_WORDS, Cost, stage_costs
from auricle.training.parameters import vocabulary_size
from auricle.training.prepare import read_data
from auricle.training.train import build_captioner


@dataclass(frozen=True)
class Estimate:
    """The time and memory that a stage will take."""

    run: str
    stage: str
    done: bool
    seconds: float
    memory: int  # bytes


def estimates(plan: Plan) -> list[Estimate]:
    """Estimates the stages of all runs.

    A stage takes its operations, divided by the operations a second of the system's network here.
    """
    found: list[Estimate] = []
    known: dict[str, list[tuple[str, Cost, int, int, float]]] = {}
    for run in plan.runs:
        if run.system not in known:
            known[run.system] = _system_costs(run.recipe)
        for stage, cost, batch, visits, speed in known[run.system]:
            done = run.is_done(stage)
            seconds = 0.0 if done else visits * cost.training / speed
            found.append(Estimate(run.name, stage, done, seconds, cost.memory(batch)))
    return found


def _system_costs(recipe: Recipe) -> list[tuple[str, Cost, int, int, float]]:
    train = read_data(recipe.data)[0]
    rounds = recipe.data.captions_per_epoch or 1 << 30
    visits = sum(min(rounds, len(item.captions)) for item in train)
    longest = recipe.data.maximum_seconds
    seconds = longest if recipe.data.pad == "longest" else _mean_seconds(train, longest)
    words = vocabulary_size(recipe)[0]
    costs = stage_costs(recipe, words, seconds)
    speed = _speed(recipe, words, seconds, costs["captioner"])
    stages = {"captioner": ("train", recipe.train), "pre-encoder": ("pretrain", recipe.pretrain)}
    return [
        (stages[name][0], cost, stages[name][1].batch_size, visits * stages[name][1].epochs, speed)
        for name, cost in costs.items()
    ]


def _mean_seconds(items: Sequence[Item], longest: float, sample: int = 30) -> float:
    """The mean length of some of the sounds, by the headers of their files."""
    import av

    lengths = []
    for item in random.Random(0).sample(list(items), min(sample, len(items))):
        with av.open(str(item.file)) as container:
            lengths.append(min(longest, (container.duration or 0) / 1e6))
    return max(1.0, sum(lengths) / len(lengths))


@torch.inference_mode()
def _speed(recipe: Recipe, words: int, seconds: float, cost: Cost) -> float:
    """Operations a second of the captioner, encoder and decoder together.

    It is the best of a few, because other programs use the machine too.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_captioner(recipe, words).eval().to(device)
    hears = front_end(recipe.data.front_end)
    frames = hears.frames(round(seconds * hears.rate))
    batch = recipe.train.batch_size
    inputs = (
        torch.zeros(batch, frames, hears.mels, device=device),
        torch.full((batch,), frames, device=device),
        torch.full((batch, CAPTION_WORDS), UNKNOWN, device=device),
    )
    # a float waits for a GPU
    times = timeit.repeat(lambda: float(model(*inputs).sum()), number=1, repeat=4)
    return batch * cost.forward / min(times)
