"""Builds the log-mel spectrogram of a front end as an ONNX graph."""

import math
from typing import TYPE_CHECKING

import numpy as np

from auricle.errors import AuricleError
from auricle.sound.features import MINIMUM_SECONDS, FrontEnd, mel_filters, window_weights

if TYPE_CHECKING:
    from onnx import ModelProto

# Opset 17 is the first with STFT. The transform computes in double precision, because a single one
# loses faint bands next to loud ones.
BEGINNING = """
<ir_version: 8, opset_import: ["" : 17]>
front_end (float[1, samples] samples) => (float[1, frames, {mels}] log_mel) {{
    length = Shape <start = 1> (samples)
    missing = Sub (shortest, length)
    padding = Max (missing, none)
    pads = Concat <axis = 0> (no_pads, padding)
    long_enough = Pad (samples, pads)
"""
PRE_EMPHASIS = """
    later = Slice (long_enough, one, end, time_axis)
    earlier = Slice (long_enough, none, minus_one, time_axis)
    faded = Mul (earlier, pre_emphasis)
    signal = Sub (later, faded)
"""
NO_PRE_EMPHASIS = "signal = Identity (long_enough)"
CENTRED = 'centred = Pad <mode = "reflect"> (signal, margins)'
NOT_CENTRED = "centred = Identity (signal)"
# A window shorter than the transform ends with zeros, so the last frame needs samples after the
# signal that do not matter.
TRANSFORM = """
    whole = Pad (centred, unheard)
    precise = Cast <to = 11> (whole)
    channel = Unsqueeze (precise, channel_axis)
    spectrum = STFT <onesided = 1> (channel, hop, window)
    squares = Mul (spectrum, spectrum)
    precise_power = ReduceSum <keepdims = 0> (squares, channel_axis)
"""
POWERS = "magnitude = Cast <to = 1> (precise_power)"
MAGNITUDES = """
    power = Cast <to = 1> (precise_power)
    magnitude = Sqrt (power)
"""
MEL = "mel = MatMul (magnitude, mel_filters)"
DECIBEL = "floored = Max (mel, floor)"
NATURAL = "floored = Add (mel, floor)"
END = """
    logarithm = Log (floored)
    scaled = Mul (logarithm, factor)
    log_mel = Add (scaled, summand)
}}
"""


def front_end_graph(front_end: FrontEnd) -> "ModelProto":
    """Returns a graph: `samples` (1, samples) float32 -> `log_mel` (1, frames, mels) float32.

    Like `auricle.sound.features.log_mel`, it pads sounds shorter than a second with zeros.

    Raises:
        AuricleError: the package `onnx` is missing.
    """
    try:
        from onnx import checker, numpy_helper, parser
    except ModuleNotFoundError:
        raise AuricleError("onnx is not installed: pip install 'auricle[portable]'") from None
    parts = (
        BEGINNING,
        PRE_EMPHASIS if front_end.pre_emphasis else NO_PRE_EMPHASIS,
        CENTRED if front_end.centred else NOT_CENTRED,
        TRANSFORM,
        POWERS if front_end.power == 2 else MAGNITUDES,
        MEL,
        DECIBEL if front_end.logarithm == "decibel" else NATURAL,
        END,
    )
    text = "\n".join(parts).format(mels=front_end.mels)
    model = parser.parse_model(text)
    used = {name for node in model.graph.node for name in node.input}
    for name, value in _constants(front_end).items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    checker.check_model(model, full_check=True)
    return model


def _constants(front_end: FrontEnd) -> dict[str, np.ndarray]:
    """Returns the constants of the graph, by name."""
    margin = front_end.window // 2 if front_end.centred else 0
    padding = front_end.fft - front_end.window
    window = np.pad(window_weights(front_end), (0, padding))
    decibel = front_end.logarithm == "decibel"
    floats = {
        "pre_emphasis": front_end.pre_emphasis,
        "floor": front_end.floor,
        "factor": 10 / math.log(10) if decibel else 1 / front_end.scale,
        "summand": 0.0 if decibel else front_end.offset / front_end.scale,
    }
    integers = {
        "shortest": [int(MINIMUM_SECONDS * front_end.rate)],
        "none": [0],
        "one": [1],
        "minus_one": [-1],
        "end": [np.iinfo(np.int64).max],
        "time_axis": [1],
        "channel_axis": [-1],
        "no_pads": [0, 0, 0],
        "margins": [0, margin, 0, margin],
        "unheard": [0, 0, 0, padding],
    }
    return {
        **{name: np.array(value, np.float32) for name, value in floats.items()},
        **{name: np.array(value, np.int64) for name, value in integers.items()},
        "hop": np.array(front_end.hop, np.int64),
        "window": window,
        "mel_filters": mel_filters(front_end),
    }
