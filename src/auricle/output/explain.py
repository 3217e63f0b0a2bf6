"""Draws a caption's attention: the sound, and the moments to which each word attended.

Needs matplotlib.

>>> import auricle
>>> from auricle.output.explain import explain
>>> explain(auricle.load(), "examples/bell.wav", "bell.png").text
"""

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter

from auricle.captioning.captioner import Captioner
from auricle.captioning.onnx_backend import split_positions
from auricle.captioning.results import Caption, Sound
from auricle.checkpoint.vocabulary import words
from auricle.errors import AuricleError
from auricle.sound.features import FrontEnd, mel_filters
from auricle.sound.silence import is_silent
from auricle.storage.files import written_whole

MARKED_KILOHERTZ = (0.2, 0.5, 1, 2, 5, 10)  # ticks of the frequency axis
PICTURED_TAGS = 8  # tags next to the events
BAR_COLOUR = "#9ecae8"  # light, because text covers the bars


def explain(
    captioner: Captioner,
    sound: Sound,
    picture: str | os.PathLike[str],
    rate: int | None = None,
    *,
    track: int | None = None,
) -> Caption:
    """Captions a sound, and draws the decoder's attention for each word.

    The upper panel is the log-mel spectrogram. The lower panel has a row for each word: its
    attention to each moment, as a share of the row's largest. If tags guide the decoder, the
    upper right shows their probabilities, and each word is followed by the share of its attention
    that went to them instead of the sound. Attention is the mean over layers and heads.

    Args:
        captioner: captions the sound.
        sound: at most `captioner.longest` seconds, in a form that `captioner.caption` accepts.
        picture: the PNG file to write, whole or not at all.
        rate: of samples, in Hz; `captioner.rate` if None.
        track: the number of the audio track, counted from 1; the default track if None.

    Raises:
        AudioError: the sound cannot be read, or is too long.
        AuricleError: the sound is silent, so no network captions it.
    """
    start, samples = captioner.timed_samples(sound, rate, track)
    if is_silent(samples, captioner.rate):
        raise AuricleError(
            "the sound is silent: its caption comes from its level, and there is no attention to "
            "draw"
        )
    caption = captioner.caption(samples).begun_at(start)
    figure = _draw(captioner, samples, caption)
    with written_whole(Path(picture)) as part:
        figure.savefig(part, format="png", dpi=150)
    return caption


def _draw(captioner: Captioner, samples: np.ndarray, caption: Caption) -> Figure:
    if caption.events:
        return _draw_events(captioner, samples, caption)
    count = captioner.checkpoint.config.decoder.tags
    caption_words = words(caption.text)
    attention = captioner.attention(samples, caption.text)
    frames, tags = split_positions(attention, count)  # (words, frames), (words, tags)
    spectrogram = captioner.spectrogram(samples)
    seconds = len(spectrogram) / captioner.front_end.frames_per_second
    times = caption.start, caption.start + seconds

    figure = Figure(
        figsize=(10 if count else 7.5, 2.9 + 0.24 * len(caption_words)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(caption.text, fontsize=12, wrap=True)
    heights = [2.1, 0.24 * len(caption_words)]
    grid = figure.add_gridspec(
        2, 2 if count else 1, height_ratios=heights, width_ratios=[3.5, 1] if count else None
    )
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    _draw_spectrogram(above, spectrogram, times, captioner.front_end)
    _draw_attention(below, frames, times, caption_words)
    if count:
        _draw_tags(figure.add_subplot(grid[0, 1]), caption, count)
        _draw_shares(figure.add_subplot(grid[1, 1], sharey=below), tags.sum(1))
    return figure


def _draw_events(captioner: Captioner, samples: np.ndarray, caption: Caption) -> Figure:
    """Draws the mentioned events under the spectrogram, and the tags next to them."""
    spectrogram = captioner.unpadded_spectrogram(samples)
    seconds = len(spectrogram) / captioner.front_end.frames_per_second
    height = 0.5 + 0.5 * len(caption.events)
    figure = Figure(figsize=(10, 3.4 + height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(caption.text, fontsize=12, wrap=True)
    grid = figure.add_gridspec(2, 2, height_ratios=[2.1, height], width_ratios=[3.5, 1])
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    times = caption.start, caption.start + seconds
    _draw_spectrogram(above, spectrogram, times, captioner.front_end)
    for row, event in enumerate(caption.events):
        below.barh(row, event.end - event.start, left=event.start, height=0.8, color=BAR_COLOUR)
        marks = [mark for mark in (event.repetition, event.trend) if mark is not None]
        text = ", ".join([f"{event.name} {event.probability:.0%}", *marks])
        below.text(event.start + 0.01 * seconds, row, text, fontsize=9, verticalalignment="center")
    below.set_ylim(len(caption.events) - 0.5, -0.5)
    below.set_yticks([])
    below.set_title("events that the caption mentions", fontsize=9)
    below.set_xlabel("time (s)")
    _draw_tags(figure.add_subplot(grid[:, 1]), caption, PICTURED_TAGS)
    return figure


def _draw_spectrogram(
    axes: Axes, spectrogram: np.ndarray, times: tuple[float, float], front_end: FrontEnd
) -> None:
    bands = spectrogram.shape[1]
    # The logarithm magnifies differences near silence, so the lowest 5 % share one colour.
    axes.imshow(
        spectrogram.T,
        origin="lower",
        aspect="auto",
        extent=(*times, -0.5, bands - 0.5),
        cmap="magma",
        interpolation="nearest",
        vmin=float(np.quantile(spectrogram, 0.05)),
    )
    marks = [kilohertz for kilohertz in MARKED_KILOHERTZ if 1000 * kilohertz < front_end.high]
    axes.set_yticks(_bands(marks, front_end), [f"{kilohertz:g}" for kilohertz in marks])
    axes.set_ylabel("frequency (kHz)")
    axes.tick_params(labelbottom=False)


def _bands(kilohertz: list[float], front_end: FrontEnd) -> np.ndarray:
    """Returns the positions of frequencies among the mel bands."""
    filters = mel_filters(front_end)
    hz = np.arange(len(filters)) * front_end.rate / front_end.fft
    nonempty = np.flatnonzero(filters.any(0))  # the lowest bands may be narrower than a bin
    centres = hz @ filters[:, nonempty] / filters[:, nonempty].sum(0)
    return np.interp(1000 * np.array(kilohertz), centres, nonempty)


def _draw_attention(
    axes: Axes, frames: np.ndarray, times: tuple[float, float], caption_words: list[str]
) -> None:
    axes.imshow(
        frames / np.maximum(frames.max(1, keepdims=True), np.finfo(np.float32).tiny),
        aspect="auto",
        extent=(*times, len(caption_words) - 0.5, -0.5),
        cmap="viridis",
        interpolation="nearest",
        vmin=0,
    )
    axes.set_title("attention to the sound, relative to each word's peak", fontsize=9)
    axes.set_yticks(range(len(caption_words)), caption_words)
    axes.tick_params(left=False)
    axes.set_xlabel("time (s)")


def _draw_tags(axes: Axes, caption: Caption, count: int) -> None:
    tags = caption.tags[:count]
    axes.barh(range(len(tags)), [tag.probability for tag in tags], color=BAR_COLOUR)
    for row, tag in enumerate(tags):
        axes.text(0.02, row, tag.name, fontsize=8, verticalalignment="center", clip_on=True)
    axes.invert_yaxis()
    axes.set_title("probability of tags", fontsize=9)
    _scale(axes)


def _draw_shares(axes: Axes, shares: np.ndarray) -> None:
    axes.barh(range(len(shares)), shares, color=BAR_COLOUR)
    axes.set_title("attention to tags", fontsize=9)
    _scale(axes)


def _scale(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.tick_params(left=False, labelleft=False)
    axes.spines[["top", "right"]].set_visible(False)
