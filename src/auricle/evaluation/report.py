"""Writes the report of an evaluation: scores.json, scores.md, per_caption.csv, and a page."""

import csv
import html
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.metrics import METRICS, TITLES
from auricle.evaluation.scores import CaptionScores, Comparison, Scores
from auricle.storage.files import written_whole

_PAGE = "report.html"
_EXTREMES = 5  # captions in each of the lists of best and worst
_BINS = 24


def write_report(
    scores: Scores, folder: Path, *, title: str = "Caption scores", sounds: Path | None = None
) -> Path:
    """Writes the report into `folder` and returns the path of its page.

    The page needs no server and no network.

    Args:
        scores: of one system.
        folder: created if missing.
        title: of the page and the table.
        sounds: the folder of the sound files. The page has a player for each sound file that is in
            it, or that exists at the path of its caption.
    """
    page = folder / _PAGE
    texts = {
        folder / "scores.json": scores_json(scores),
        folder / "scores.md": scores_markdown(scores, title),
        page: _page(scores, title, folder, sounds),
    }
    for path, text in texts.items():
        with written_whole(path) as part:
            part.write_text(text, "utf-8")
    _write_captions(scores, folder / "per_caption.csv")
    return page


def scores_json(scores: Scores) -> str:
    """Returns the corpus scores as JSON, under their keys at the top level.

    Other keys hold the intervals, the missing metrics, the captions without a score, the notes and
    the settings.
    """
    report: dict[str, object] = dict(scores.corpus)
    report["captions"] = len(scores.captions)
    report["intervals"] = {
        name: [interval.low, interval.high] for name, interval in scores.intervals.items()
    }
    report["missing"] = scores.missing
    report["unscored"] = _unscored(scores)
    report["notes"] = list(scores.notes)
    report["tokenizer"] = scores.tokenizer
    report["bootstrap"] = {"resamples": scores.resamples, "seed": scores.seed, "level": 0.95}
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _unscored(scores: Scores) -> list[dict[str, str | None]]:
    return [
        {"file": each.file, "metric": each.metric, "score": None, "reason": each.reason}
        for each in scores.unscored
    ]


def comparison_json(comparison: Comparison) -> str:
    """Returns both systems' scores and, by metric, the difference with its interval, as JSON."""
    differences = {
        name: {
            "first": difference.first,
            "second": difference.second,
            "difference": difference.difference,
            "interval": [difference.interval.low, difference.interval.high],
            "share_above": difference.share_above,
        }
        for name, difference in comparison.differences.items()
    }
    report = {
        "captions": len(comparison.first.captions),
        "differences": differences,
        "missing": comparison.first.missing | comparison.second.missing,
        "unscored": {
            "first": _unscored(comparison.first),
            "second": _unscored(comparison.second),
        },
        "notes": list(comparison.notes),
        "bootstrap": {
            "resamples": comparison.first.resamples,
            "seed": comparison.first.seed,
            "level": 0.95,
        },
    }
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def scores_markdown(scores: Scores, title: str = "Caption scores") -> str:
    """Returns the corpus scores as a table in Markdown, with the missing metrics and the notes."""
    lines = [f"# {title}", "", f"{len(scores.captions):,} captions.", ""]
    lines += ["| metric | score | 95 % interval |", "|---|---|---|"]
    for name, score in scores.corpus.items():
        interval = scores.intervals.get(name)
        within = (
            f"{number(name, interval.low)} to {number(name, interval.high)}" if interval else ""
        )
        lines.append(f"| {TITLES[name]} | {number(name, score)} | {within} |")
    lines += [
        "",
        *(f"- {TITLES[name]} is missing: {reason}" for name, reason in scores.missing.items()),
    ]
    lines += [f"- {note}" for note in scores.notes]
    return "\n".join(lines).rstrip() + "\n"


def number(name: str, value: float) -> str:
    """Formats a score with four decimals, the length with two and the vocabulary with none."""
    if name == "vocabulary_size":
        return f"{value:,.0f}"
    return f"{value:.2f}" if name == "caption_length" else f"{value:.4f}"


def _write_captions(scores: Scores, path: Path) -> None:
    most = max(len(caption.references) for caption in scores.captions)
    names = list(scores.captions[0].scores)
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["file", "caption", *names, *(f"reference_{n}" for n in range(1, most + 1))]
        )
        for caption in scores.captions:
            cells = [
                caption.file,
                caption.candidate,
                *(_cell(caption.scores[name]) for name in names),
            ]
            writer.writerow([*cells, *caption.references, *[""] * (most - len(caption.references))])


def _cell(score: float | None) -> str:
    return "" if score is None else repr(score)


def _page(scores: Scores, title: str, folder: Path, sounds: Path | None) -> str:
    # The metric by which the page orders captions.
    chief = next(
        name
        for name in ("spider", "cider_d", "meteor", "caption_length")
        if name in scores.captions[0].scores
    )
    data = {
        "metrics": TITLES,
        "chief": chief,
        "captions": [
            {
                "file": caption.file,
                "candidate": caption.candidate,
                "references": caption.references,
                "scores": caption.scores,
                "sound": _sound(caption.file, folder, sounds),
            }
            for caption in scores.captions
        ],
    }
    parts = {
        "title": html.escape(title),
        "lead": _lead(scores),
        "scores": _score_table(scores, chief),
        "distributions": "".join(
            _histogram(scores.captions, name) for name in scores.captions[0].scores
        ),
        "extremes": _extremes(scores.captions, chief),
        "footer": _footer(scores),
        # Only "<" could end the script element that holds this.
        "data": json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    }
    page = (Path(__file__).with_name(_PAGE)).read_text(encoding="utf-8")
    pieces = page.split("<!--")
    return pieces[0] + "".join(
        parts[name] + rest for name, rest in (piece.split("-->", 1) for piece in pieces[1:])
    )


def _sound(file: str, folder: Path, sounds: Path | None) -> str | None:
    """Returns the address of a sound relative to the page, or None if there is no such file."""
    candidates = [sounds / file, sounds / Path(file).name] if sounds else [Path(file)]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return None
    try:
        return quote(Path(os.path.relpath(path, folder)).as_posix())
    except ValueError:  # on another drive of Windows
        return path.resolve().as_uri()


def _lead(scores: Scores) -> str:
    references = sorted({len(caption.references) for caption in scores.captions})
    many = f"{references[0]}" if len(references) == 1 else f"{references[0]} to {references[-1]}"
    count = f"{len(scores.captions):,}"
    lead = f'<p class="lead">{count} captions, each against {many} written by people.</p>'
    noted = "".join(f"<p>{html.escape(note)}.</p>" for note in scores.notes)
    return lead + (f'<div class="notice">{noted}</div>' if noted else "")


def _score_table(scores: Scores, chief: str) -> str:
    """Returns a table of the corpus scores; draws their intervals on a common scale."""
    highest = max(
        [1.0, *(interval.high for name, interval in scores.intervals.items() if name in METRICS)]
    )
    top = math.ceil(highest * 10) / 10
    scale = f'<div class="scale"><span>0</span><span>{top:g}</span></div>'
    rows = [f"<tr><th>metric</th><th>score</th><th>95 % interval</th><th>{scale}</th></tr>"]
    for name, title in TITLES.items():
        if name in scores.missing:
            reason = html.escape(scores.missing[name])
            rows.append(
                f'<tr class="gone"><td>{title}</td><td colspan="3">missing: {reason}</td></tr>'
            )
        elif name in scores.corpus:
            rows.append(_score_row(scores, name, top, is_chief=name == chief))
    return f'<table class="scores">{"".join(rows)}</table>'


def _score_row(scores: Scores, name: str, top: float, *, is_chief: bool) -> str:
    score, interval = scores.corpus[name], scores.intervals.get(name)
    within = f"{number(name, interval.low)} – {number(name, interval.high)}" if interval else ""
    drawn = ""
    if name in METRICS:
        low, high = (interval.low, interval.high) if interval else (score, score)
        low, high, middle = (value / top * 400 for value in (low, high, score))
        drawn = (
            '<svg viewBox="0 0 400 14" role="img" aria-label="score and interval on a line">'
            f'<line class="axis" x1="0" y1="7" x2="400" y2="7"/>'
            f'<line class="whisker" x1="{low:.1f}" y1="7" x2="{high:.1f}" y2="7"/>'
            f'<circle class="dot" cx="{middle:.1f}" cy="7" r="4"/></svg>'
        )
    row = ' class="chief"' if is_chief else ""
    cells = "".join(
        f"<td>{cell}</td>" for cell in (TITLES[name], number(name, score), within, drawn)
    )
    return f"<tr{row}>{cells}</tr>"


def _histogram(captions: Sequence[CaptionScores], name: str) -> str:
    """Draws the distribution of one metric over the captions that have a score."""
    scores = (caption.scores[name] for caption in captions)
    values = np.array([score for score in scores if score is not None])
    counts, edges = np.histogram(values, bins=_edges(values, name))
    width, height = 300.0, 84.0
    step = width / len(counts)
    bars = []
    for index, count in enumerate(counts):
        if not count:
            continue
        tall = max(1.5, count / counts.max() * height)
        low, high, last = edges[index], edges[index + 1], int(index == len(counts) - 1)
        bars.append(
            f'<rect class="bin" tabindex="0" data-metric="{name}" '
            f'data-low="{low}" data-high="{high}" '
            f'data-last="{last}" x="{index * step:.2f}" y="{height - tall:.2f}" '
            f'width="{step - 1:.2f}" height="{tall:.2f}" rx="1">'
            f"<title>{count} captions from {low:.3g} to {high:.3g}</title></rect>"
        )
    mean, median = float(values.mean()), float(np.median(values))
    at = (mean - edges[0]) / (edges[-1] - edges[0]) * width
    title = TITLES[name]
    return (
        f'<figure class="card"><figcaption>{title}<span>median {median:.3f}</span></figcaption>'
        f'<svg viewBox="0 0 {width:.0f} {height + 14:.0f}" role="img" '
        f'aria-label="distribution of {title}">'
        f'{"".join(bars)}<line class="axis" x1="0" y1="{height}" x2="{width}" y2="{height}"/>'
        f'<line class="mean" x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{height}">'
        f"<title>mean {mean:.4g}</title></line>"
        f'<text x="0" y="{height + 12}">{edges[0]:.3g}</text>'
        f'<text x="{width}" y="{height + 12}" text-anchor="end">{edges[-1]:.3g}</text>'
        "</svg></figure>"
    )


def _edges(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Returns the edges of a histogram's bins; a few lengths get one bin per number of words."""
    if name == "caption_length" and np.ptp(values) < 2 * _BINS:
        return np.arange(values.min(), values.max() + 2)
    low, high = min(0.0, float(values.min())), max(float(values.max()), 1e-9)
    return np.linspace(low, high, _BINS + 1)


def _extremes(captions: Sequence[CaptionScores], chief: str) -> str:
    """Returns sections for the best and the worst captions, which the page's script fills."""
    scored = [
        (score, index)
        for index, caption in enumerate(captions)
        if (score := caption.scores[chief]) is not None
    ]
    order = [index for _, index in sorted(scored)]
    shown = min(_EXTREMES, len(order))
    best = " ".join(str(index) for index in reversed(order[-shown:]))
    worst = " ".join(str(index) for index in order[:shown])
    by = f"by {TITLES[chief]}"
    return (
        f'<section id="best" data-captions="{best}"><h2>Best {by}</h2></section>'
        f'<section id="worst" data-captions="{worst}"><h2>Worst {by}</h2></section>'
    )


def _footer(scores: Scores) -> str:
    tokenizer = "the PTB tokenizer" if scores.tokenizer == "ptb" else "a regular expression"
    drawn = (
        f"Intervals: bootstrap over captions, {scores.resamples:,} draws, seed {scores.seed}. "
        if scores.resamples
        else ""
    )
    return (
        f"{drawn}Captions were split into words by {tokenizer}. "
        "Words of a caption that no reference has are in another colour. "
        "Corpus BLEU and METEOR are not the means of the captions' scores. "
        "Click a bar of a distribution to list its captions."
    )
