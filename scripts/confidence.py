r"""Fits the confidence of captions, and measures its calibration.

    python scripts/confidence.py ../shared data/heldout/sounds.csv \
        --checkpoint runs/heldout/captioner

Fits on the recordings of `label_select` and on the outside development sounds, by recording, and
draws a reliability diagram of each. `label_score` only scores the fitted confidence. Prints the
line for the recipe's section `confidence`.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from auricle import Captioner, load
from auricle.captioning.confidence import confidence_features
from auricle.checkpoint.config import Confidence
from auricle.evaluation.bootstrap import mean
from auricle.sound.decode import load_audio
from embedded_scores import Checkpoint, estimates, named, read_label_words, table
from selection_scores import Outside, read_sets

FOLDS = 5
BINS = 10
PENALTY = 1.0  # on half the squared coefficients of standardised features
NEWTON_STEPS = 25  # it converges in fewer than ten
SEED = 0
DIAGRAMS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Judged:
    """Captions of one set, with the features of their confidence."""

    features: NDArray[np.float64]  # (sounds, features)
    right: NDArray[np.float64]  # (sounds,), 1 where the caption names the sound
    groups: list[str]  # the recording of each sound


def probabilities(
    coefficients: NDArray[np.float64], features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(rows, features) -> (rows,), by coefficients of which the first is the intercept."""
    return 1 / (1 + np.exp(-(coefficients[0] + features @ coefficients[1:])))


def fit_logistic(features: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """L2-regularised logistic regression by Newton's method (Bishop, 2006, 4.3.3).

    Returns:
        The intercept and a coefficient for each feature, of features as they are given.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1
    design = np.column_stack([np.ones(len(features)), (features - centre) / scale])
    penalty = PENALTY * np.diag([0.0, *np.ones(len(scale))])  # none on the intercept
    weights = np.zeros(len(penalty))
    for _ in range(NEWTON_STEPS):
        p = probabilities(weights, design[:, 1:])
        gradient = design.T @ (p - right) + penalty @ weights
        weights = weights - np.linalg.solve((design.T * (p * (1 - p))) @ design + penalty, gradient)
    slopes = weights[1:] / scale
    return np.array([weights[0] - slopes @ centre, *slopes])


def folds_of(groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    """The fold of each place; a group is in one fold."""
    known = sorted(set(groups))
    random.Random(seed).shuffle(known)
    fold = {group: number % FOLDS for number, group in enumerate(known)}
    return np.array([fold[group] for group in groups])


def bins_of(probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of equal width of each probability."""
    return np.minimum((probability * BINS).astype(int), BINS - 1)


def calibration_error(probability: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """The expected calibration error over bins of equal width (Naeini et al., 2015)."""
    gaps = np.bincount(bins_of(probability), weights=probability - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))


def draw_reliability(
    path: Path, probability: NDArray[np.float64], right: NDArray[np.float64]
) -> None:
    """A reliability diagram: accuracy by confidence, with the number of captions in each bin."""
    from matplotlib.figure import Figure

    which = bins_of(probability)
    count = np.bincount(which, minlength=BINS)
    filled = count > 0
    said = np.bincount(which, weights=probability, minlength=BINS)[filled] / count[filled]
    share = np.bincount(which, weights=right, minlength=BINS)[filled] / count[filled]
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(said, share, marker="o", color="tab:blue")
    for x, y, number in zip(said, share, count[filled], strict=True):
        axes.annotate(
            str(number),
            (x, y),
            textcoords="offset points",
            xytext=(6, -11),
            fontsize=8,
            color="0.3",
        )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        aspect="equal",
        xlabel="confidence",
        ylabel="share of labels named",
    )
    figure.savefig(path, dpi=100, metadata={"Software": None})


def confidence_of(captioner: Captioner, samples: NDArray[np.float32]) -> tuple[float, ...]:
    """The features that a caption's confidence is computed from."""
    caption = captioner.caption_samples(samples)
    margin = 1.0
    if captioner.planner is not None:
        seconds = len(samples) / captioner.rate
        margin = captioner.planner.select(captioner.hear(samples), seconds).margin
    return confidence_features(caption, margin)


def judge(
    captioner: Captioner,
    files: Sequence[Path],
    groups: Sequence[str],
    is_right: Callable[[int, str], bool],
) -> Judged:
    """Captions sounds and judges the captions.

    Args:
        captioner: the captioner.
        files: the sounds.
        groups: the recording of each.
        is_right: whether a caption names the sound of a number.
    """
    sounds = [load_audio(file, captioner.rate, max_seconds=captioner.longest) for file in files]
    texts = [captioner.caption_samples(samples).text for samples in sounds]
    features = np.array([confidence_of(captioner, samples) for samples in sounds])
    right = np.array([is_right(number, text) for number, text in enumerate(texts)], float)
    return Judged(features, right, list(groups))


def print_scores(name: str, judged: Judged, confidence: NDArray[np.float64], base: float) -> None:
    """Prints the Brier scores of the confidence and of a constant."""
    errors = {
        "confidence": mean((confidence - judged.right) ** 2),
        "base rate": mean((base - judged.right) ** 2),
    }
    found = estimates(errors, judged.groups)
    difference = found["confidence"] - found["base rate"]
    rows = [
        (f"Brier score of the {key}", *estimate.cells("{:.3f}")) for key, estimate in found.items()
    ]
    rows.append(("difference", *difference.cells("{:+.3f}")))
    rows.append((f"ECE, {BINS} bins", f"{calibration_error(confidence, judged.right):.3f}", ""))
    rows.append(("mean confidence", f"{confidence.mean():.3f}", ""))
    rows.append(("captions that are right", f"{judged.right.mean():.3f}", ""))
    typer.echo(table((f"{name}, {len(judged.right)} sounds", "value", "95 %"), rows))


def main(
    shared: Annotated[Path, typer.Argument(help="The folder with reference/.")],
    manifest: Annotated[Path, typer.Argument(help="The sounds held out.")],
    checkpoint: Checkpoint = None,
    diagrams: Annotated[Path, typer.Option(help="Folder of the diagrams.")] = DIAGRAMS,
) -> None:
    """Fits the confidence, prints its scores and draws its reliability."""
    captioner = load(checkpoint)
    outside = Outside(shared)
    label_words = read_label_words(shared / "reference/label_words.csv")
    sets = read_sets(shared, manifest, label_words)
    judged = {
        which: judge(
            captioner,
            [item.file for item in items],
            [item.group or str(item.file) for item in items],
            lambda number, text, items=items: named(text, label_words[items[number].label]),
        )
        for which, items in sets.items()
    }
    judged["outside"] = judge(
        captioner,
        outside.files,
        [str(file) for file in outside.files],
        lambda number, text: outside.names(number, text),
    )
    development = [judged["label_select"], judged["outside"]]
    features = np.concatenate([one.features for one in development])
    right = np.concatenate([one.right for one in development])
    folds = folds_of([group for one in development for group in one.groups], SEED)
    crossed = np.empty_like(right)
    for fold in range(FOLDS):
        held = folds == fold
        weights = fit_logistic(features[~held], right[~held])
        crossed[held] = probabilities(weights, features[held])
    border = len(development[0].right)
    weights = fit_logistic(features, right)
    parts = {
        "label_select": crossed[:border],
        "outside": crossed[border:],
        "label_score": probabilities(weights, judged["label_score"].features),
    }
    for name, confidence in parts.items():
        print_scores(name, judged[name], confidence, float(right.mean()))
        if name != "label_score":
            draw_reliability(diagrams / f"reliability-{name}.png", confidence, judged[name].right)
    rounded = Confidence(*(round(float(weight), 4) for weight in weights))
    typer.echo(f'"confidence": {json.dumps(asdict(rounded))}')


if __name__ == "__main__":
    typer.run(main)
