"""Label tracks for sound editors: Audacity, Praat and ELAN, Raven.

Audacity reads a line `start TAB end TAB text` for each label. A Praat TextGrid covers the whole
sound with intervals, and those without a caption have no text. Raven reads a table of selections
with limits in time and frequency.
"""

from collections.abc import Callable, Iterable, Iterator

from auricle.captioning.results import Caption
from auricle.output.formats import LabelFormat

HIGHEST_FREQUENCY_HZ = 16_000  # of a selection: captions tell nothing of frequencies
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Annotation",
    "Confidence",
)
TIER = "captions"


def label_track(captions: Iterable[Caption], form: LabelFormat) -> Iterator[str]:
    """Yields the pieces of a label track; those of a TextGrid come after the last caption.

    Args:
        captions: of one sound, in order of time.
        form: the format.
    """
    writers: dict[LabelFormat, Callable[[Iterable[Caption]], Iterator[str]]] = {
        "audacity": _audacity,
        "textgrid": _text_grid,
        "raven": _raven,
    }
    return writers[form](captions)


def _audacity(captions: Iterable[Caption]) -> Iterator[str]:
    for caption in captions:
        yield f"{caption.start:.6f}\t{caption.end:.6f}\t{_one_line(caption.text)}\n"


def _raven(captions: Iterable[Caption]) -> Iterator[str]:
    yield "\t".join(RAVEN_COLUMNS) + "\n"
    for number, caption in enumerate(captions, start=1):
        cells = (
            str(number),
            "Spectrogram 1",
            "1",
            f"{caption.start:.6f}",
            f"{caption.end:.6f}",
            "0",
            str(HIGHEST_FREQUENCY_HZ),
            _one_line(caption.text),
            "" if caption.confidence is None else f"{caption.confidence:.4f}",
        )
        yield "\t".join(cells) + "\n"


def _text_grid(captions: Iterable[Caption]) -> Iterator[str]:
    intervals: list[tuple[float, float, str]] = []
    end = 0.0
    for caption in captions:
        if caption.start > end:
            intervals.append((end, caption.start, ""))
        if caption.end > max(end, caption.start):
            intervals.append((max(end, caption.start), caption.end, _one_line(caption.text)))
        end = max(end, caption.end)
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end:.6f}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        f'        name = "{TIER}"',
        "        xmin = 0",
        f"        xmax = {end:.6f}",
        f"        intervals: size = {len(intervals)}",
    ]
    for number, (start, stop, text) in enumerate(intervals, start=1):
        quoted = text.replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {start:.6f}",
            f"            xmax = {stop:.6f}",
            f'            text = "{quoted}"',
        ]
    yield "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    """Returns a text without line ends and tabs, which end a label."""
    return " ".join(text.split())
