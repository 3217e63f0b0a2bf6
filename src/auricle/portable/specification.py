"""Describes a captioner that selects and words events: the contents of `model.json`."""

from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from auricle.captioning import evidence
from auricle.captioning.captioner import Captioner
from auricle.captioning.inference import TAGS_PER_CAPTION
from auricle.captioning.reading import SPARE_SECONDS
from auricle.captioning.results import SILENCE
from auricle.captioning.selection import CONSIDERED_CLASSES
from auricle.captioning.windows import WINDOW_SECONDS
from auricle.captioning.wording import LEAST_SCORE
from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN
from auricle.planning import classes as sound_classes
from auricle.planning.classes import SoundClasses
from auricle.planning.grammar import (
    COUNT_PHRASES,
    LOOSE_PHRASES,
    TREND_PHRASES,
    plain,
    plain_sentences,
)
from auricle.planning.language import AUDIOCAPS, LENGTHS, OURS, manner_index
from auricle.planning.plans import (
    COUNTS,
    JOINING_WORDS,
    ORDER,
    PEOPLE,
    RELATION_WORDS,
    TIME_WORDS,
    TRENDS,
    Relation,
    Repetition,
    Trend,
)
from auricle.sound.features import MINIMUM_SECONDS, floor_of
from auricle.sound.silence import SILENCE_DBFS

PORTABLE_FORMAT = 1  # of portable folders; counted up when a port must change
NETWORKS = {
    "front_end": "front_end.onnx",
    "encoder": "encoder.onnx",
    "plan": "plan.onnx",
    "step": "step.onnx",
    "text": "text.onnx",
}


def specify(captioner: Captioner) -> dict[str, object]:
    """Returns the contents of `model.json`, without the arrays; docs/portable.md explains them."""
    config = captioner.checkpoint.config
    assert config.selection is not None
    return {
        "format": PORTABLE_FORMAT,
        "made_by": f"auricle {version('auricle')}",
        "licence": config.licence,
        "networks": NETWORKS,
        "input": {
            "rate": captioner.rate,
            "longest_seconds": config.maximum_seconds,
            "spare_seconds": SPARE_SECONDS,
            "window_seconds": WINDOW_SECONDS,
            "shortest_window_seconds": MINIMUM_SECONDS,
        },
        "silence": {"decibels": SILENCE_DBFS, "stretch_seconds": 0.1, "text": SILENCE},
        "front_end": {
            **asdict(captioner.front_end),
            "frames_per_second": captioner.front_end.frames_per_second,
            "shortest_seconds": MINIMUM_SECONDS,
            "padded_seconds": config.minimum_seconds,
            "silent_log_mel": floor_of(captioner.front_end),
        },
        "evidence": _evidence(),
        "selection": {**asdict(config.selection), "considered_classes": CONSIDERED_CLASSES},
        "plan": _plan(),
        "search": _search(captioner),
        "wording": _wording(config.rerank),
        "confidence": None if config.confidence is None else asdict(config.confidence),
        "tags_per_caption": TAGS_PER_CAPTION,
    }


def describe_classes(classes: SoundClasses, by_people: np.ndarray) -> list[dict[str, object]]:
    """Returns the contents of `classes.json`: an object for each class, by index.

    Classes refer to each other by index. Texts are in lower case, without punctuation.

    Args:
        classes: all classes.
        by_people: (classes,) bool, true where people wrote enough captions of the class.
    """
    return [
        {
            "name": entry.name,
            "label": entry.label,
            "weight": float(classes.weights[index]),
            "repeats": entry.repeats,
            "moves": entry.moves,
            "noise": entry.noise,
            "by_people": bool(by_people[index]),
            "ancestors": sorted(classes.ancestors[index]),
            "incompatible": np.flatnonzero(~classes.compatible[index]).tolist(),
            "phrases": [" ".join(phrase) for phrase in entry.phrases],
            "own_words": sorted(entry.own_words),
            "clause": plain(entry.clause),
            "sentences": [plain(text) for text in plain_sentences(entry)],
        }
        for index, entry in enumerate(classes.classes)
    ]


def _evidence() -> dict[str, float]:
    """Returns the thresholds for evidence in the log-mel, by name."""
    names = (
        "BANDS",
        "STEP_SECONDS",
        "SHORTEST_PART_SECONDS",
        "FLOOR_POWER",
        "SAME_SOUND_DECIBELS",
        "LOUD_PERCENTILE",
        "SILENT_PART_DECIBELS",
        "SMOOTHING_SECONDS",
        "BURST_DECIBELS",
        "CLEAR_DECIBELS",
        "QUIET_PERCENTILE",
        "SHORTEST_GAP_SECONDS",
        "LONGEST_BURST_SECONDS",
        "CONTINUOUS_SHARE",
        "TREND_DECIBELS",
        "TREND_CORRELATION",
        "SHORTEST_TREND_SECONDS",
    )
    return {name.lower(): getattr(evidence, name) for name in names}


def _plan() -> dict[str, object]:
    """Returns the numbers that the decoder knows relations, counts, trends and manners by."""
    return {
        "relations": {value.name.lower(): int(value) for value in Relation},
        "repetitions": {value.name.lower(): int(value) for value in Repetition},
        "trends": {value.name.lower(): int(value) for value in Trend},
        "manners": {
            "two_events": manner_index(AUDIOCAPS, LENGTHS[2]),
            "one_event_by_people": manner_index(AUDIOCAPS, LENGTHS[1]),
            "one_event_by_us": manner_index(OURS, LENGTHS[1]),
        },
    }


def _search(captioner: Captioner) -> dict[str, object]:
    """Returns the options of the beam search and its special tokens."""
    vocabulary = captioner.checkpoint.vocabulary
    return {
        **asdict(captioner.options),
        "start": SOS,
        "end": EOS,
        "padding": PAD,
        "unknown": UNKNOWN,
        "never": [PAD, SOS, UNKNOWN],
        "repeatable": sorted(set(vocabulary.repeatable_numbers)),
    }


def _wording(rerank: float) -> dict[str, object]:
    """Returns the phrases and rules that word a plan and check a caption."""
    return {
        "least_score": LEAST_SCORE,
        "similarity_weight": rerank,
        "order_phrases": list(ORDER),
        "relation_words": {
            relation.name.lower(): sorted(told) for relation, told in RELATION_WORDS.items()
        },
        "joining_words": sorted(JOINING_WORDS),
        "repetition_phrases": {phrase: int(value) for phrase, value in COUNTS.items()},
        "trend_phrases": {phrase: int(value) for phrase, value in TRENDS.items()},
        "time_words": sorted(TIME_WORDS),
        "people": sorted(PEOPLE),
        "stem_endings": list(sound_classes.STEM_ENDINGS),
        "shortest_stem": sound_classes.SHORTEST_STEM,
        "template_repetitions": {
            int(value): phrases[0] for value, phrases in COUNT_PHRASES.items()
        },
        "template_trends": {int(value): phrases[0] for value, phrases in TREND_PHRASES.items()},
        "comma_before": list(LOOSE_PHRASES),
    }
