"""How many parameters the parts of a recipe's networks have (the paper's Table 1)."""

from pathlib import Path

import torch
from torch import nn

from auricle.checkpoint.vocabulary import SPECIAL
from auricle.models.encoder import Encoder, Tagger
from auricle.models.mobilenet import MobileNet
from auricle.training.config import Recipe
from auricle.training.prepare import build_vocabulary, read_data
from auricle.training.pretrain import build_pre_encoder
from auricle.training.train import build_captioner

# Clotho v2.1, development and validation; for recipes whose manifest is not there.
CLOTHO_WORDS = 4365
# The pieces of BART's tokenizer, for recipes whose tokenizer is not there.
BART_PIECES = 50_265


def count(*modules: nn.Module) -> int:
    """Parameters of some modules, trained or not."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def used(encoder: Encoder, tags: bool, clips: bool) -> int:
    """Parameters of an encoder without those of the tag head that are not used: CNN10's clip
    embedding uses a part of it.
    """
    if tags or not isinstance(encoder, Tagger):
        return count(encoder)
    if isinstance(encoder, MobileNet):
        return count(encoder) - count(encoder.classifier)
    return count(encoder) - count(encoder.fc_audioset) - (0 if clips else count(encoder.fc1))


def part_sizes(recipe: Recipe, words: int) -> dict[str, dict[str, int]]:
    """Parameters by network and part, for a vocabulary of so many words, special ones included.

    The pre-encoder is among them where the captioner begins with it.
    """
    tags = bool(recipe.decoder.tags)
    sizes: dict[str, dict[str, int]] = {}
    with torch.device("meta"):  # shapes without numbers
        pre = build_pre_encoder(recipe, words)
        captioner = build_captioner(recipe, words)
    if recipe.train.initial == "pre-encoder":
        sizes["pre-encoder"] = {
            "audio tower": used(pre.audio, tags, clips=True),
            "text tower": count(pre.space.text),
            "projections": count(pre.space) - count(pre.space.text),
        }
    decoder, output = captioner.decoder, captioner.decoder.output
    parts = {
        "encoder": used(captioner.encoder, tags, clips=captioner.space is not None),
        "bridge": count(captioner.bridge),
        "Transformer encoder": 0
        if captioner.memory_encoder is None
        else count(captioner.memory_encoder),
        "word embedding": count(decoder.embedding),
        "output layer": 0 if output is None else count(output),
        "tag tokens": 0 if captioner.tags is None else count(captioner.tags),
        "shared space": 0 if captioner.space is None else count(captioner.space),
    }
    parts["decoder layers"] = count(decoder) - parts["word embedding"] - parts["output layer"]
    order = (*list(parts)[:4], "decoder layers", *list(parts)[4:-1])
    sizes["captioner"] = {name: parts[name] for name in order if parts[name]}
    return sizes


def vocabulary_size(recipe: Recipe) -> tuple[int, str]:
    """How many words a recipe's captioner can say, special ones included, and whose they are."""
    config = recipe.data
    if config.tokenizer and not Path(config.tokenizer).exists():
        return BART_PIECES, f"pieces of words: BART's, since {config.tokenizer} is not there"
    if config.tokenizer:
        return len(build_vocabulary(recipe, [])), f"pieces of words of {config.tokenizer}"
    if all(Path(manifest).exists() for manifest in (config.manifest, *config.further)):
        return len(
            read_data(recipe, check_files=False)[-1]
        ), f"words of {', '.join((config.manifest, *config.further))}"
    return CLOTHO_WORDS + len(SPECIAL), f"words: Clotho's, since {config.manifest} is not there"


def describe(recipe: Recipe) -> str:
    """A table of `part_sizes`, with the vocabulary of the recipe's manifest, or Clotho's if that is
    not there.
    """
    words, whose = vocabulary_size(recipe)
    lines = [f"vocabulary           {words:>12,} {whose}"]
    for network, parts in part_sizes(recipe, words).items():
        lines += ["", f"{network:21}{sum(parts.values()):>12,}"]
        lines += [f"  {part:19}{size:>12,}" for part, size in parts.items()]
        if recipe.decoder.architecture == "bart" and network == "captioner":
            transformer = sum(parts.values()) - parts["encoder"] - parts["bridge"]
            lines += ["", f"{'Transformer alone':21}{transformer:>12,}"]
    return "\n".join(lines)
