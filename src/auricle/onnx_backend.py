"""The networks of a checkpoint folder on ONNX Runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
import onnxruntime

from auricle.beam_search import NextLogProbs
from auricle.errors import AuricleError
from auricle.vocabulary import PAD, SOS, UNKNOWN


@dataclass(frozen=True)
class Heard:
    """What the encoder makes of one sound."""

    memory_keys: np.ndarray  # (layers, 1, heads, positions, size): frames first, then tags if they guide the decoder
    memory_values: np.ndarray  # likewise
    tags: np.ndarray | None = None  # (classes,), probabilities, where tags are heard
    embedding: np.ndarray | None = None  # (space,), of length 1, where sounds and sentences can be compared


class OnnxModel:
    """The networks of a checkpoint folder; safe to be called from several threads.

    Each call runs on one thread: sounds are captioned side by side instead, and what a sound gets depends on nothing else.

    Args:
        folder: holds `encoder.onnx` and `decoder.onnx`, and `text.onnx`, which is read when a sentence is first embedded.

    Raises:
        AuricleError: one of them is missing or cannot be run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder = _session(folder / "encoder.onnx")
        self._decoder = _session(folder / "decoder.onnx")
        self._outputs = [output.name for output in self._encoder.get_outputs()]
        self._text: onnxruntime.InferenceSession | None = None
        self._text_lock = Lock()

    def hear(self, log_mel: np.ndarray) -> Heard:
        """(frames, mels) float32 -> what the decoder and comparisons with sentences need of the sound."""
        found = dict(zip(self._outputs, _run(self._encoder, self._outputs, {"log_mel": log_mel[None]}), strict=True))
        tags, embedding = found.get("tags"), found.get("sound_embedding")
        return Heard(
            found["memory_keys"],
            found["memory_values"],
            None if tags is None else tags[0],
            None if embedding is None else embedding[0],
        )

    def next_log_probs(self, heard: Heard) -> NextLogProbs:
        """What the beam search needs to caption one sound."""
        step = self._steps(heard)
        return lambda tokens, parents: step(tokens, parents)[0]

    def attention(self, heard: Heard, tokens: Sequence[int]) -> np.ndarray:
        """Where the decoder attends as it says these words: (words, positions), each row's sum 1; see `Heard`."""
        step, parents = self._steps(heard), np.zeros(1, np.int64)
        return np.concatenate([step(np.array([token]), parents)[1] for token in (SOS, *tokens[:-1])])

    def embed_sentences(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """Numbers of each sentence's known words -> (sentences, space), of length 1; without words it is as one unknown."""
        with self._text_lock:
            if self._text is None:
                self._text = _session(self._folder / "text.onnx")
        tokens = np.full((len(sentences), max([1, *map(len, sentences)])), PAD)
        for row, numbers in zip(tokens, sentences, strict=True):
            row[: len(numbers) or 1] = numbers or [UNKNOWN]
        return _run(self._text, ["sentence_embedding"], {"tokens": tokens})[0]

    def _steps(self, heard: Heard) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """As `NextLogProbs`, but that it also gives where each hypothesis attended: (rows, positions)."""
        layers, _, heads, _, size = heard.memory_keys.shape
        past_keys = past_values = np.zeros((layers, 1, heads, 0, size), np.float32)

        def step(tokens: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal past_keys, past_values
            log_probs, past_keys, past_values, attention = _run(
                self._decoder,
                ["log_probs", "keys", "values", "attention"],
                {
                    "tokens": tokens,
                    "parents": parents,
                    "past_keys": past_keys,
                    "past_values": past_values,
                    "memory_keys": heard.memory_keys,
                    "memory_values": heard.memory_values,
                },
            )
            return log_probs, attention

        return step


def _run(session: onnxruntime.InferenceSession, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    # ONNX has outputs of other kinds too; ours are all tensors.
    return cast("list[np.ndarray]", session.run(outputs, inputs))


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base
        reason = "it is not there" if not path.is_file() else str(error).splitlines()[0]
        raise AuricleError(f"{path} cannot be run: {reason}") from None
