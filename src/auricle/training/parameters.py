"""Counts the parameters of a recipe's networks (the paper's Table 1)."""

from pathlib import Path

from torch import nn

from auricle.checkpoint.folder import EMBEDDED
from auricle.checkpoint.vocabulary import SPECIAL
from auricle.models.encoder import Encoder, Tagger
from auricle.models.mobilenet import MobileNet
from auricle.models.plan_decoder import PlanDecoder
from auricle.models.shapes import without_numbers
from auricle.planning.classes import SoundClasses
from auricle.training.config import Recipe, initial_vocabulary
from auricle.training.prepare import build_vocabulary, read_data
from auricle.training.pretrain import build_pre_encoder
from auricle.training.train import build_captioner

# Clotho v2.1, development and validation, for recipes whose manifest does not exist.
CLOTHO_WORDS = 4365
# The pieces of BART's tokenizer, for recipes whose tokenizer does not exist.
BART_PIECES = 50_265


def count(*modules: nn.Module) -> int:
    """Counts the parameters of some modules, trained or not."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def used(encoder: Encoder, tags: bool, clips: bool) -> int:
    """Counts the parameters of an encoder that are used.

    Args:
        encoder: the encoder.
        tags: whether its tags are used.
        clips: whether its clip embeddings are used. CNN10 makes them with a part of its tag head.
    """
    if tags or not isinstance(encoder, Tagger):
        return count(encoder)
    if isinstance(encoder, MobileNet):
        return count(encoder) - count(encoder.classifier)
    return count(encoder) - count(encoder.fc_audioset) - (0 if clips else count(encoder.fc1))


def part_sizes(recipe: Recipe, words: int) -> dict[str, dict[str, int]]:
    """Counts parameters by network and part.

    The pre-encoder is included if the captioner begins with it.

    Args:
        recipe: sets the networks.
        words: size of the vocabulary, with special words.
    """
    if recipe.decoder.plan:
        return _planned_sizes(recipe, words)
    tags = bool(recipe.decoder.tags)
    sizes: dict[str, dict[str, int]] = {}
    with without_numbers():
        pre = build_pre_encoder(recipe, words)
        captioner = build_captioner(recipe, words)
    if recipe.train.initial == "pre-encoder":
        sizes["pre-encoder"] = {"audio tower": used(pre.audio, tags, clips=True)}
        if recipe.pretrain.objective == "contrastive":
            sizes["pre-encoder"] |= {
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


def _planned_sizes(recipe: Recipe, words: int) -> dict[str, dict[str, int]]:
    """As `part_sizes`, for a captioner that words a plan. Its probe grows with the labels."""
    sentences = Path(recipe.data.sentences)
    # The sentences stand in a checkout only; the package holds the classes of its own model.
    found = (
        SoundClasses.read_toml(sentences)
        if sentences.exists()
        else SoundClasses.load(EMBEDDED / "classes.json")
    )
    classes = len(found)
    with without_numbers():
        pre = build_pre_encoder(recipe, words)
        decoder = PlanDecoder(recipe.decoder, words, classes)
    layers = count(decoder.decoder) - count(decoder.decoder.embedding)
    captioner = {
        "encoder and tags": count(pre.audio),
        "plan tokens": count(decoder.plan),
        "word embedding": count(decoder.decoder.embedding),
        "decoder layers": layers,
        "shared space": count(pre.space),
    }
    projections = count(pre.space) - count(pre.space.text)
    pre_encoder = {
        "audio tower": count(pre.audio),
        "text tower": count(pre.space.text),
        "projections": projections,
    }
    return {"pre-encoder": pre_encoder, "captioner": captioner}


def vocabulary_size(recipe: Recipe) -> tuple[int, str]:
    """Returns the size of a recipe's vocabulary, with special words, and its source."""
    config = recipe.data
    if config.tokenizer and not Path(config.tokenizer).exists():
        return BART_PIECES, f"pieces of words: BART's, since {config.tokenizer} is not there"
    if config.tokenizer:
        return len(build_vocabulary(config, [])), f"pieces of words of {config.tokenizer}"
    if all(Path(manifest).exists() for manifest in (config.manifest, *config.further)):
        known = initial_vocabulary(recipe.train)
        vocabulary = read_data(config, recipe.tags.captions, known, check_files=False)[-1]
        return len(vocabulary), f"words of {', '.join((config.manifest, *config.further))}"
    return CLOTHO_WORDS + len(SPECIAL), f"words: Clotho's, since {config.manifest} is not there"


def describe(recipe: Recipe) -> str:
    """Returns a table of `part_sizes` and the size of the vocabulary."""
    words, whose = vocabulary_size(recipe)
    lines = [f"vocabulary           {words:>12,} {whose}"]
    for network, parts in part_sizes(recipe, words).items():
        lines += ["", f"{network:21}{sum(parts.values()):>12,}"]
        lines += [f"  {part:19}{size:>12,}" for part, size in parts.items()]
        if recipe.decoder.architecture == "bart" and network == "captioner":
            transformer = sum(parts.values()) - parts["encoder"] - parts["bridge"]
            lines += ["", f"{'Transformer alone':21}{transformer:>12,}"]
    return "\n".join(lines)
