"""How many parameters the parts of a recipe's networks have (the paper's Table 1)."""

from pathlib import Path

from torch import nn

from auricle.models.encoder import Encoder
from auricle.models.mobilenet import MobileNet
from auricle.training.config import Recipe
from auricle.training.prepare import read_data
from auricle.training.pretrain import build_pre_encoder
from auricle.training.train import build_captioner
from auricle.vocabulary import SPECIAL

# Clotho v2.1, development and validation; for recipes whose manifest is not there.
CLOTHO_WORDS = 4365


def count(*modules: nn.Module) -> int:
    """Parameters of some modules, trained or not."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def used(encoder: Encoder, tags: bool, clips: bool) -> int:
    """Parameters of an encoder without those of the tag head that are not used: CNN10's clip embedding uses a part of it."""
    if tags:
        return count(encoder)
    if isinstance(encoder, MobileNet):
        return count(encoder) - count(encoder.classifier)
    return count(encoder) - count(encoder.fc_audioset) - (0 if clips else count(encoder.fc1))


def part_sizes(recipe: Recipe, words: int) -> dict[str, dict[str, int]]:
    """Parameters by network and part, for a vocabulary of so many words, special ones included."""
    pre = build_pre_encoder(recipe, words)
    captioner = build_captioner(recipe, words)
    tags = bool(recipe.decoder.tags)
    guides = {"tag tokens": captioner.tags, "shared space": captioner.space}
    return {
        "pre-encoder": {
            "audio tower": used(pre.audio, tags, clips=True),
            "text tower": count(pre.space.text),
            "projections": count(pre.space) - count(pre.space.text),
        },
        "captioner": {
            "encoder": used(captioner.encoder, tags, clips=captioner.space is not None),
            "bridge": count(captioner.bridge),
            "word embedding": count(captioner.decoder.embedding),
            "decoder layers": count(captioner.decoder.layers),
            "output layer": count(captioner.decoder.output),
            **{name: count(part) for name, part in guides.items() if part is not None},
        },
    }


def describe(recipe: Recipe) -> str:
    """A table of `part_sizes`, with the vocabulary of the recipe's manifest, or Clotho's if that is not there."""
    if Path(recipe.data.manifest).exists():
        words = len(read_data(recipe, check_files=False)[-1])
        lines = [f"vocabulary        {words:>12,} words of {recipe.data.manifest}"]
    else:
        words = CLOTHO_WORDS + len(SPECIAL)
        lines = [f"vocabulary        {words:>12,} words: Clotho's, since {recipe.data.manifest} is not there"]
    for network, parts in part_sizes(recipe, words).items():
        lines += ["", f"{network:18}{sum(parts.values()):>12,}"]
        lines += [f"  {part:16}{size:>12,}" for part, size in parts.items()]
    return "\n".join(lines)
