"""Self-critical sequence training (Rennie et al. 2017): CIDEr-D rewards the captioner's captions.

The model draws several captions of each sound, and each is compared with a baseline. A caption with
a higher score becomes likelier, one with a lower score less likely. The baseline is the model's own
greedy caption, as published, or the mean of the other captions that were drawn (Luo 2020, "A Better
Variant of Self-Critical Sequence Training"). Scores rise, but fluency may fall, so the log holds
measures of fluency too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from auricle.captioning.beam_search import NextLogProbs, search_captions
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary
from auricle.data.collation import Batch
from auricle.data.manifest import Item
from auricle.data.progress import SILENT, Report
from auricle.errors import AuricleError
from auricle.evaluation.cider import CiderD
from auricle.models.captioning import CaptioningModel
from auricle.training.config import Recipe, ScstConfig
from auricle.training.export import export_onnx
from auricle.training.loop import Learner, Training, run_stage
from auricle.training.prepare import Data, share_batch
from auricle.training.train import (
    build_captioner,
    describe_checkpoint,
    parameter_groups,
    set_rate,
)
from auricle.training.validate import caption_scorer, evaluate_captions
from auricle.training.weights import check_fingerprints, load_strictly, load_weights

LONGEST_CAPTION_WORDS = 30  # of a drawn caption
# One hypothesis, and no rule but the greatest length.
GREEDY = BeamOptions(
    beam=1,
    length_penalty=0.0,
    min_length=0,
    max_length=LONGEST_CAPTION_WORDS,
    no_repeat_ngram=0,
    no_repeat_words=False,
)
NEVER_SAID = (PAD, SOS, UNKNOWN)


def train_scst(
    recipe: Recipe, *, resume: bool = False, report: Report = SILENT, skip_bad: bool = False
) -> Path:
    """Fine-tunes the captioner of a recipe, and writes a checkpoint folder of its own.

    Args:
        recipe: the recipe that the captioner was trained with.
        resume: whether to continue a training that was stopped.
        report: takes the progress, and a line for each epoch.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.

    Returns:
        The checkpoint folder.

    Raises:
        AuricleError: there is no captioner, or the data or folder cannot be used.
    """
    stage = ScstStage(
        recipe.scst_folder,
        recipe.scst,
        captioner=recipe.captioner_folder / "model.safetensors",
        build_network=partial(build_captioner, recipe),
        describe=partial(describe_checkpoint, recipe.scst_folder, recipe),
        encoder_rate=recipe.train.encoder_rate,
        decoding=recipe.decoding,
        valid_batch_size=recipe.train.batch_size,
    )
    if not stage.captioner.is_file():
        raise AuricleError(
            f"{stage.captioner}: there is no captioner yet: "
            "run `auricle train` with this recipe first"
        )
    return run_stage(stage, recipe, resume=resume, report=report, skip_bad=skip_bad)


@dataclass
class ScstStage:
    """Trains a captioner by the scores of its own captions."""

    folder: Path
    config: ScstConfig
    captioner: Path  # weights of the trained captioner
    build_network: Callable[[int], CaptioningModel]  # for a number of words
    describe: Callable[[Data], None]  # writes the checkpoint's configuration
    encoder_rate: float  # multiplies the encoder's learning rate; 0: it is frozen
    decoding: BeamOptions
    valid_batch_size: int
    title: str = "scst"
    bfloat16: bool = False
    scorer: CiderD = field(init=False)  # of the drawn captions; set by `build`

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self.config.epochs

    @property
    def initial_files(self) -> list[Path]:
        """The weights of the trained captioner."""
        return [self.captioner]

    @property
    def remedy(self) -> str:
        """The settings to try where the loss is not finite."""
        return f"--set scst.learning_rate={self.config.learning_rate / 10:g}"

    def build(
        self,
        data: Data,
        accelerator: Accelerator,
        report: Report,  # noqa: ARG002 - nothing here takes long
    ) -> Learner[CaptioningModel]:
        """Loads the captioner, and builds AdamW and the batches."""
        self.scorer = caption_scorer(data.train)
        model = self.build_network(len(data.vocabulary))
        advice = "run `auricle train` again, or restore the old files"
        check_fingerprints(self.captioner, data.fingerprints.of_networks(), advice)
        load_strictly(model, load_weights(self.captioner), str(self.captioner))
        if accelerator.is_main_process:
            self.describe(data)
        if not self.encoder_rate:
            model.freeze_encoder()
        groups = parameter_groups(model, self.encoder_rate, weight_decay=0.0)
        optimizer = torch.optim.AdamW(groups, self.config.learning_rate, fused=True)
        size, _ = share_batch(self.config.batch_size, 1, accelerator.num_processes)
        batches = data.batches(size, accelerator, rounds=1)
        return Learner(model, optimizer, batches, clip_norm=1.0)

    def begin_epoch(self, training: Training[CaptioningModel]) -> None:
        """Puts the network into evaluation mode.

        Captions are drawn without dropout and with fixed batch norms, and must be learnt so too.
        """
        training.prepared.eval()

    def set_rates(
        self,
        optimizer: torch.optim.Optimizer,
        epochs_done: float,  # noqa: ARG002 - the rates are constant
    ) -> None:
        """Sets the constant learning rates."""
        set_rate(optimizer, self.config.learning_rate)

    def loss(
        self, training: Training[CaptioningModel], batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the policy gradient's loss, and the mean CIDEr-D of the drawn captions."""
        samples = self.config.samples
        drawn, advantage, gain = self._draw_and_score(training, batch)
        device = training.accelerator.device
        log_probs = caption_log_probs(
            training.prepared,
            batch.log_mel.repeat_interleave(samples, 0),
            batch.frames.repeat_interleave(samples, 0),
            padded(list(chain(*drawn))).to(device),
        )
        weights = torch.tensor(advantage.ravel(), dtype=torch.float32, device=device)
        return -(weights * log_probs).mean(), {"train_cider_d": float(gain.mean())}

    @torch.no_grad()
    def _draw_and_score(
        self, training: Training[CaptioningModel], batch: Batch
    ) -> tuple[list[list[list[int]]], np.ndarray, np.ndarray]:
        """Returns drawn captions, their scores above the baseline, and their scores."""
        vocabulary, items, samples = training.data.vocabulary, batch.items, self.config.samples
        search = training.model.next_log_probs(batch.log_mel, batch.frames)
        drawn = draw(search, len(items), samples, training.rng)
        gain = score(self.scorer, items, drawn, vocabulary)
        if self.config.baseline == "greedy":
            search = training.model.next_log_probs(batch.log_mel, batch.frames)
            found = search_captions(search, vocabulary, GREEDY, len(items))
            baseline = score(
                self.scorer, items, [[hypotheses[0].tokens] for hypotheses in found], vocabulary
            )
        else:
            baseline = (gain.sum(1, keepdims=True) - gain) / (samples - 1)
        return drawn, gain - baseline, gain

    def validate(self, training: Training[CaptioningModel]) -> dict[str, float]:
        """Returns measures of the captions of the validation splits."""
        if not training.data.valid:
            return {}
        return evaluate_captions(
            training.model,
            training.data,
            self.decoding,
            self.valid_batch_size,
            training.accelerator.device,
        )

    def score(self, record: Mapping[str, float]) -> None:
        """Returns None: the last epoch is kept."""

    def finish(self) -> None:
        """Exports the weights to ONNX files."""
        export_onnx(self.folder)


def score(
    scorer: CiderD,
    items: Sequence[Item],
    captions: Sequence[Sequence[Sequence[int]]],
    vocabulary: Vocabulary,
) -> np.ndarray:
    """Returns CIDEr-D of several captions of each item, as token numbers: (items, samples)."""
    texts = [[" ".join(vocabulary.decode(tokens)) for tokens in of_sound] for of_sound in captions]
    return np.array(
        [
            [scorer(str(item.file), text) for text in drawn]
            for item, drawn in zip(items, texts, strict=True)
        ]
    )


def draw(
    next_log_probs: NextLogProbs, items: int, samples: int, rng: np.random.Generator
) -> list[list[list[int]]]:
    """Draws captions of each item word by word from the model's probabilities.

    The captions lack `<sos>` and `<eos>`.
    """
    tokens, parents = np.full(items, SOS), np.arange(items)
    # The rows that the next call continues. At first there is one row for each item.
    origins = np.arange(items).repeat(samples)
    drawn: list[list[int]] = [[] for _ in range(items * samples)]
    unfinished = np.ones(items * samples, bool)
    for _ in range(LONGEST_CAPTION_WORDS):
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
    """Returns `<sos>`, tokens and `<eos>` of captions: (captions, length), padded at the end."""
    rows = [[SOS, *tokens, EOS] for tokens in captions]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def caption_log_probs(model: nn.Module, log_mel: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """Returns the mean log-probability of each caption's words: (batch,)."""
    targets = tokens[:, 1:]
    logits = model(log_mel, frames, tokens[:, :-1]).float()
    logits[:, :, list(NEVER_SAID)] = -math.inf  # `draw` does the same
    words = logits.log_softmax(2).gather(2, targets.unsqueeze(2)).squeeze(2)
    present = targets != PAD
    return (words.masked_fill(~present, 0)).sum(1) / present.sum(1)
