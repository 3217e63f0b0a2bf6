"""Trains and scores the runs of a plan; an interrupted training goes on."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from auricle.checkpoint.vocabulary import Vocabulary, words
from auricle.data.batches import Batches, BatchOptions
from auricle.data.cache import FeatureCache
from auricle.data.progress import Report
from auricle.evaluation.bootstrap import Statistic, mean
from auricle.evaluation.scores import evaluate
from auricle.reproduction.captions import CaptionsByFile
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import PlannedRun
from auricle.sound.features import floor_of, front_end
from auricle.training.parameters import part_sizes
from auricle.training.pretrain import load_pre_encoder, pretrain
from auricle.training.train import train
from auricle.training.validate import evaluate_retrieval, mean_map_10

FIRST_WORDS = 15  # of a caption; one of them must name the label
STAGE_TRAININGS = {"pretrain": pretrain, "train": train}


def train_run(run: PlannedRun, report: Report) -> None:
    """Trains a run to its end."""
    for name in run.stages():
        if not run.is_done(name):
            STAGE_TRAININGS[name](run.recipe, resume=True, report=report)


@dataclass(frozen=True)
class Scored:
    """The scores of a run on a set."""

    # by metric; `label_named` and `retrieval_map_10` among them, where they apply
    scores: dict[str, float]
    missing: dict[str, str]  # metrics that could not be computed, and why
    statistics: dict[str, Statistic]  # the parts of the metrics, for resampling


def score_run(run: PlannedRun, scored: ScoredSet, captions: CaptionsByFile) -> Scored:
    """Scores a run's captions of a set.

    `label_named`, where labels are scored, is the share of captions that name the label by one of
    its words; `retrieval_map_10`, where there is a pre-encoder, the mean of both directions among
    the set's sounds and references.
    """
    found = evaluate(
        captions, {str(item.file): item.captions for item in scored.items}, resamples=0
    )
    scores, statistics = dict(found.corpus), dict(found.statistics)
    if scored.label_words is not None:
        named = [
            not scored.label_words[item.label].isdisjoint(
                words(captions[str(item.file)])[:FIRST_WORDS]
            )
            for item in scored.items
        ]
        scores["label_named"] = float(np.mean(named))
        statistics["label_named"] = mean(np.array(named, np.float64))
        if run.pretrained and run.recipe.pretrain.objective == "contrastive":
            scores["retrieval_map_10"] = retrieval_of(run, scored)
    return Scored(scores, found.missing, statistics)


def retrieval_of(run: PlannedRun, scored: ScoredSet) -> float:
    """Computes mAP@10 of the pre-encoder among the sounds of a set and their references.

    It is the mean of both directions.

    A caption is right if recording, caption or label are the sound's.
    """
    recipe = run.recipe
    vocabulary = Vocabulary.load(recipe.pre_encoder_folder / "vocabulary.txt")
    hears = front_end(recipe.data.front_end)
    cache = FeatureCache(hears, recipe.data.maximum_seconds)
    features = cache.load([item.file for item in scored.items])
    options = BatchOptions(recipe.pretrain.batch_size, padding=floor_of(hears))
    batches = Batches(scored.items, features.spectrograms, vocabulary, options)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    record = evaluate_retrieval(load_pre_encoder(recipe, vocabulary).to(device), batches, device)
    return mean_map_10(record)


def sizes(run: PlannedRun) -> dict[str, int]:
    """Returns the numbers of parameters of a run's networks."""
    vocabulary = Vocabulary.load(run.recipe.captioner_folder / "vocabulary.txt")
    return {
        name: sum(parts.values()) for name, parts in part_sizes(run.recipe, len(vocabulary)).items()
    }


def training_log(folder: Path) -> list[dict[str, float]]:
    """Returns the log of a stage, one entry for each epoch."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


def trained_seconds(run: PlannedRun) -> float:
    """Returns the seconds of a run's training steps, over all sessions."""
    return sum(line["seconds"] for folder in run.stages().values() for line in training_log(folder))
