"""Encoder and decoder of a checkpoint folder on ONNX Runtime."""

from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime

from auricle.beam_search import NextLogProbs
from auricle.errors import AuricleError


class OnnxModel:
    """The two networks of a checkpoint folder; safe to be called from several threads.

    Each call runs on one thread: sounds are captioned side by side instead, and what a sound gets depends on nothing else.

    Args:
        folder: holds `encoder.onnx` and `decoder.onnx`.

    Raises:
        AuricleError: one of them is missing or cannot be run.
    """

    def __init__(self, folder: Path) -> None:
        self._encoder = _session(folder / "encoder.onnx")
        self._decoder = _session(folder / "decoder.onnx")

    def next_log_probs(self, log_mel: np.ndarray) -> NextLogProbs:
        """What the beam search needs to caption one sound: (frames, mels) float32."""
        memory_keys, memory_values = _run(self._encoder, ["memory_keys", "memory_values"], {"log_mel": log_mel[None]})
        layers, _, heads, _, size = memory_keys.shape
        past_keys = past_values = np.zeros((layers, 1, heads, 0, size), np.float32)

        def function(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
            nonlocal past_keys, past_values
            log_probs, past_keys, past_values = _run(
                self._decoder,
                ["log_probs", "keys", "values"],
                {
                    "tokens": tokens,
                    "parents": parents,
                    "past_keys": past_keys,
                    "past_values": past_values,
                    "memory_keys": memory_keys,
                    "memory_values": memory_values,
                },
            )
            return log_probs

        return function


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
