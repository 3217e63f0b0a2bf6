"""Trains a captioner that words a plan, after its pre-encoder.

    pre-encoder ─> hearing: encoder, shared space, probe ─┐
    captions by people, our sentences ─> plan decoder ────┴─> captioner folder

The hearing has a closed form but for the probe, so only the decoder is trained in steps.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from auricle.checkpoint.config import CHECKPOINT_FORMAT, CheckpointConfig
from auricle.checkpoint.fingerprints import Fingerprints, fingerprint_of
from auricle.checkpoint.folder import Checkpoint, save_checkpoint
from auricle.data.cache import front_end_fingerprint
from auricle.data.plan_captions import read_caption_file, read_captions
from auricle.data.plan_language import learn_language
from auricle.data.plan_texts import PlanTexts, learnt_words
from auricle.data.progress import SILENT, Report
from auricle.models.plan_decoder import PlanDecoder
from auricle.models.planned import PlannedCaptioner
from auricle.planning.classes import SoundClasses
from auricle.sound.features import front_end
from auricle.training.config import Recipe, recipe_fingerprint
from auricle.training.export_planned import export_planned
from auricle.training.prepare import (
    build_vocabulary,
    captions_fingerprint,
    captions_of,
    read_sounds,
)
from auricle.training.pretrain import load_pre_encoder
from auricle.training.selection import build_hearing, read_targets
from auricle.training.weights import save_weights
from auricle.training.wording import train_wording


def train_planned(
    recipe: Recipe, *, resume: bool = False, report: Report = SILENT, skip_bad: bool = False
) -> Path:
    """Trains a captioner that words a plan, and exports it.

    Args:
        recipe: the recipe of the training, with `decoder.plan`.
        resume: whether to continue a training that was stopped.
        report: takes the progress.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.

    Returns:
        The checkpoint folder.

    Raises:
        AuricleError: the data, weights or folder cannot be used.
    """
    folder = recipe.captioner_folder
    items, valid, features = read_sounds(recipe.data, report, skip_bad=skip_bad)
    captions = read_caption_file(Path(recipe.tags.captions))
    lone = [caption.text for caption in captions]
    vocabulary = build_vocabulary(recipe.data, [*captions_of(items), *lone])
    classes = SoundClasses.read_toml(Path(recipe.data.sentences))
    readings = read_captions(captions, classes)
    learnt = learnt_words(readings, classes)
    texts = PlanTexts(readings, classes, vocabulary, learnt)
    fingerprints = Fingerprints(
        vocabulary=vocabulary.fingerprint(),
        tags=fingerprint_of(classes.names),
        manifest=fingerprint_of([captions_fingerprint(items, valid, lone), texts.fingerprint()]),
        sounds=features.fingerprint,
        features=front_end_fingerprint(front_end(recipe.data.front_end)),
        recipe=recipe_fingerprint(recipe),
    )
    pre_encoder = load_pre_encoder(recipe, vocabulary)
    targets = read_targets(recipe.probe, items, classes)
    decoder = train_wording(
        texts,
        partial(PlanDecoder, recipe.decoder, len(vocabulary), len(classes)),
        recipe,
        fingerprints,
        resume=resume,
        report=report,
    )
    spectrograms = features.spectrograms[: len(items)]
    model = build_hearing(recipe, pre_encoder, classes, targets, spectrograms, report)
    model.wording.load_state_dict(decoder.state_dict())
    language = learn_language(readings, captions, classes, vocabulary, learnt, seed=recipe.seed)
    save_weights(folder / "model.safetensors", model.state_dict(), fingerprints.metadata())
    classes.save(folder / "classes.json")
    language.save(folder / "language.npz")
    config = replace(checkpoint_config(recipe, model), fingerprints=fingerprints)
    save_checkpoint(Checkpoint(folder, config, vocabulary, classes.names))
    export_planned(folder)
    return folder


def checkpoint_config(recipe: Recipe, model: PlannedCaptioner) -> CheckpointConfig:
    """Returns the configuration of the recipe's captioner."""
    return CheckpointConfig(
        format=CHECKPOINT_FORMAT,
        front_end=recipe.data.front_end,
        encoder=recipe.encoder,
        decoder=recipe.decoder,
        decoding=recipe.decoding,
        space=recipe.pretrain.projection,
        rerank=recipe.rerank,
        selection=recipe.selection,
        probe_targets=len(model.probe.boost),
        confidence=recipe.confidence,
        maximum_seconds=recipe.data.maximum_seconds,
        minimum_seconds=recipe.minimum_seconds,
        licence=recipe.licence,
    )
