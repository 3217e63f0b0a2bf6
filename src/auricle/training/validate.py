"""What a captioner says of the validation splits while it is trained, and how good it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from auricle.captioning.beam_search import search_captions
from auricle.checkpoint.vocabulary import STOP_WORDS
from auricle.data.manifest import Item
from auricle.evaluation.cider import CiderD
from auricle.evaluation.tokenizer import regex_tokenize
from auricle.models.captioning import CaptioningModel
from auricle.training.config import Recipe
from auricle.training.prepare import Data


def caption_scorer(items: Sequence[Item]) -> CiderD:
    """CIDEr-D against the captions of some sounds, with document frequencies from the same."""
    return CiderD(
        {str(item.file): [regex_tokenize(caption) for caption in item.captions] for item in items}
    )


@torch.inference_mode()
def evaluate_captions(
    model: CaptioningModel, data: Data, recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """Captions the validation splits as the recipe decodes; see `caption_record`."""
    model.eval()
    captions: dict[str, list[str]] = {}
    for batch in data.valid_batches(recipe.train.batch_size, rounds=1).epoch(0, 0):
        batch = batch.to(device)
        search = model.next_log_probs(batch.log_mel, batch.frames)
        found = search_captions(search, data.vocabulary, recipe.decoding, len(batch.items))
        for item, hypotheses in zip(batch.items, found, strict=True):
            captions[str(item.file)] = (
                data.vocabulary.decode(hypotheses[0].tokens) if hypotheses else []
            )
    return caption_record(captions, caption_scorer(data.valid))


def caption_record(captions: Mapping[str, Sequence[str]], scorer: CiderD) -> dict[str, float]:
    """Measures captions, given as words by file.

    Returns:
        `valid_cider_d`; `valid_words`, the mean length; and what tells of fluency and variety:
        `valid_unfinished`, the share of captions that are empty or end in a stop word, and
        `valid_distinct`, the number of different captions by that of all.
    """
    scores = [scorer(file, " ".join(words)) for file, words in captions.items()]
    lengths = [len(words) for words in captions.values()]
    unfinished = [not words or words[-1] in STOP_WORDS for words in captions.values()]
    distinct = len({" ".join(words) for words in captions.values()}) / len(captions)
    return {
        "valid_cider_d": round(float(np.mean(scores)), 4),
        "valid_words": round(float(np.mean(lengths)), 2),
        "valid_unfinished": round(float(np.mean(unfinished)), 4),
        "valid_distinct": round(distinct, 4),
    }
