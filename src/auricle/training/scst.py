"""Self-critical sequence training (Rennie et al. 2017): the captioner is rewarded by CIDEr-D for
what it says.

Several captions of a sound are drawn from the model, and each is compared with a baseline: if it
scores higher, its words are made likelier, if lower, less likely. The baseline is the model's own
greedy caption, as published, or the mean of the others that were drawn (Luo 2020, "A Better Variant
of Self-Critical Sequence Training"). Scores rise; fluency need not, so it is measured beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from auricle.captioning.beam_search import NextLogProbs, search_captions
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary
from auricle.data.manifest import Item
from auricle.errors import AuricleError
from auricle.evaluation.cider import CiderD
from auricle.training.config import Recipe
from auricle.training.prepare import prepare_data
from auricle.training.run import Run, make_accelerator
from auricle.training.train import build_captioner, finish, parameter_groups
from auricle.training.validate import caption_scorer, evaluate_captions
from auricle.training.weights import halve, load_strictly, load_weights, save_weights

LONGEST = 30  # words of a caption that is drawn
# What the model says of its own: one hypothesis, and no rule but the greatest length.
GREEDY = BeamOptions(
    beam=1,
    length_penalty=0.0,
    min_length=0,
    max_length=LONGEST,
    no_repeat_ngram=0,
    no_repeat_words=False,
)
NEVER_SAID = (PAD, SOS, UNKNOWN)


def train_scst(recipe: Recipe, *, resume: bool = False, progress: bool = True) -> Path:
    """Fine-tunes the captioner of a recipe; the result is a checkpoint folder of its own.

    Args:
        recipe: whose captioner has been trained.
        resume: go on with a training that was stopped.
        progress: show bars.

    Returns:
        The checkpoint folder.

    Raises:
        AuricleError: there is no captioner, or the data or folder are not what they should be.
    """
    accelerator = make_accelerator()
    progress &= accelerator.is_main_process
    stage = recipe.scst
    data = prepare_data(recipe, accelerator, progress)
    trained = recipe.captioner_folder / "model.safetensors"
    if not trained.is_file():
        raise AuricleError(
            f"{trained}: there is no captioner yet: run `auricle train` with this recipe first"
        )
    run = Run(recipe.scst_folder, recipe, resume=resume, main=accelerator.is_main_process)
    model = build_captioner(recipe, len(data.vocabulary))
    load_strictly(model, load_weights(trained), str(trained))
    if not recipe.train.encoder_rate:
        model.freeze_encoder()
    config = replace(recipe.train, weight_decay=0.0)
    optimizer = torch.optim.AdamW(parameter_groups(model, config), stage.learning_rate)
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    run.restore({"model": model}, optimizer)
    for group in optimizer.param_groups:
        group["lr"] = stage.learning_rate * group["share"]
    batches = data.batches(stage.batch_size, accelerator, rounds=1)
    rewards = caption_scorer(data.train)

    for steps in run.passes("scst", stage.epochs, batches, recipe.seed, accelerator, progress):
        rng = np.random.default_rng((recipe.seed, steps.epoch, accelerator.process_index))
        # what is drawn must be what is learnt from: no dropout, batch norm as it is
        prepared.eval()
        gained: list[float] = []
        for _, batch in steps:
            with torch.no_grad():
                drawn = draw(
                    model.next_log_probs(batch.log_mel, batch.frames),
                    len(batch.items),
                    stage.samples,
                    rng,
                )
                baseline = None
                if stage.baseline == "greedy":
                    search = model.next_log_probs(batch.log_mel, batch.frames)
                    found = search_captions(search, data.vocabulary, GREEDY, len(batch.items))
                    baseline = score(
                        rewards, batch.items, [[own[0].tokens] for own in found], data.vocabulary
                    )
            gain = score(rewards, batch.items, drawn, data.vocabulary)
            if baseline is None:
                baseline = (gain.sum(1, keepdims=True) - gain) / (stage.samples - 1)
            advantage = torch.tensor(
                (gain - baseline).ravel(), dtype=torch.float32, device=accelerator.device
            )
            tokens = padded(list(chain(*drawn))).to(accelerator.device)
            log_mel, frames = (
                tensor.repeat_interleave(stage.samples, 0)
                for tensor in (batch.log_mel, batch.frames)
            )
            loss = -(advantage * caption_log_probs(prepared, log_mel, frames, tokens)).mean()
            accelerator.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            prepared_optimizer.step()
            prepared_optimizer.zero_grad()
            gained.append(float(gain.mean()))
            steps.note(loss, f"CIDEr-D {gained[-1]:.3f}")
        record = steps.record() | {"train_cider_d": float(np.mean(gained))}
        if data.valid:
            record |= evaluate_captions(model, data, recipe, accelerator.device)
        run.end_epoch(record, {"model": model}, optimizer)
    if accelerator.is_main_process:
        save_weights(run.folder / "model.safetensors", halve(model.state_dict()))
        finish(run.folder, recipe, data)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.folder


def score(
    scorer: CiderD,
    items: Sequence[Item],
    captions: Sequence[Sequence[Sequence[int]]],
    vocabulary: Vocabulary,
) -> np.ndarray:
    """CIDEr-D of captions, as token numbers, several of each item: (items, samples)."""
    texts = [[" ".join(vocabulary.decode(tokens)) for tokens in own] for own in captions]
    return np.array(
        [
            [scorer(str(item.file), text) for text in own]
            for item, own in zip(items, texts, strict=True)
        ]
    )


def draw(
    next_log_probs: NextLogProbs, items: int, samples: int, rng: np.random.Generator
) -> list[list[list[int]]]:
    """Captions of each item, drawn word by word from the model's probabilities; without `<sos>` and
    `<eos>`.
    """
    tokens, parents = np.full(items, SOS), np.arange(items)
    # where rows of the next call come from: of one row an item at first
    origins = np.arange(items).repeat(samples)
    drawn: list[list[int]] = [[] for _ in range(items * samples)]
    unfinished = np.ones(items * samples, bool)
    for _ in range(LONGEST):
        log_probs = next_log_probs(tokens, parents)
        log_probs[:, list(NEVER_SAID)] = -np.inf
        log_probs = log_probs[origins]
        parents, origins = origins, np.arange(items * samples)
        # The largest of log-probabilities plus Gumbel noise is a draw from the probabilities.
        tokens = (log_probs + rng.gumbel(size=log_probs.shape)).argmax(1)
        unfinished &= tokens != EOS
        if not unfinished.any():
            break
        for row in np.flatnonzero(unfinished):
            drawn[row].append(int(tokens[row]))
    return [drawn[start : start + samples] for start in range(0, len(drawn), samples)]


def padded(captions: Sequence[Sequence[int]]) -> Tensor:
    """`<sos>`, tokens, `<eos>` of each caption: (captions, length), padded at the end."""
    rows = [[SOS, *tokens, EOS] for tokens in captions]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def caption_log_probs(model: nn.Module, log_mel: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """The mean log-probability of each caption's words: (batch,)."""
    targets = tokens[:, 1:]
    logits = model(log_mel, frames, tokens[:, :-1]).float()
    logits[:, :, list(NEVER_SAID)] = -math.inf  # as they are drawn
    words = logits.log_softmax(2).gather(2, targets.unsqueeze(2)).squeeze(2)
    present = targets != PAD
    return (words.masked_fill(~present, 0)).sum(1) / present.sum(1)
