"""The networks of a checkpoint folder on ONNX Runtime."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
import onnxruntime

from auricle.captioning.beam_search import NextLogProbs
from auricle.checkpoint.vocabulary import PAD, SOS, UNKNOWN
from auricle.errors import AuricleError

# Sizes of a tensor's axes; None where they vary.
Shape = tuple[int | None, ...]
MEMORY: Shape = (None,) * 5  # layers, rows, heads, positions, size
# The key under which ONNX names another file; it stands in a file as it is, however that is encoded
# otherwise.
EXTERNAL = b"location"
NUMBERS = ("tokens", "parents")  # all other tensors are float32
CPU = "CPUExecutionProvider"
# Convolutions are not tried out anew for each length of a sound, and multiplied as exactly as on a
# processor.
CUDA = "CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}


@dataclass(frozen=True)
class Heard:
    """What the encoder makes of one sound."""

    # (layers, 1, heads, positions, size): frames first, then tags if they guide the decoder
    memory_keys: np.ndarray
    memory_values: np.ndarray  # likewise
    tags: np.ndarray | None = None  # (classes,), probabilities, where tags are heard
    # (space,), of length 1, where sounds and sentences can be compared
    embedding: np.ndarray | None = None


@dataclass(frozen=True)
class Sizes:
    """What the networks of a folder must agree with, lest a file is another checkpoint's."""

    mels: int  # of the spectrogram
    words: int  # of the vocabulary
    tags: int  # classes of sounds that have a name
    space: int  # of the space in which sounds and sentences are compared; 0: they are not


class OnnxModel:
    """The networks of a checkpoint folder; safe to be called from several threads.

    Each call runs on one thread: sounds are captioned side by side instead, and what a sound gets
    depends on nothing else. Where ONNX Runtime finds a GPU (`onnxruntime-gpu` does), the encoder
    runs on it; the decoder's steps are too small to gain.

    Args:
        folder: holds `encoder.onnx` and `decoder.onnx`, and `text.onnx`, which is read when a
            sentence is first embedded.
        sizes: what the folder says of itself beside.

    Raises:
        AuricleError: one of them is missing, cannot be run, or does not fit the others.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._folder, self._space = folder, sizes.space
        heard: dict[str, Shape] = {"memory_keys": MEMORY, "memory_values": MEMORY}
        if sizes.space:
            heard["sound_embedding"] = (None, sizes.space)
        paths = folder / "encoder.onnx", folder / "decoder.onnx"
        with ThreadPoolExecutor(len(paths)) as pool:  # loading them is a third of a cold start
            self._encoder, self._decoder = pool.map(_load, paths, (True, False))
        _check(paths[0], self._encoder, {"log_mel": (None, None, sizes.mels)}, heard)
        self._outputs = [output.name for output in self._encoder.get_outputs()]
        shapes = {output.name: output.shape for output in self._encoder.get_outputs()}
        if "tags" in shapes:
            _check_shape(paths[0], "tags", (None, sizes.tags), shapes["tags"])
        memory = {
            name: tuple(size if isinstance(size, int) else None for size in shapes[name])
            for name in ("memory_keys", "memory_values")
        }
        _check(
            paths[1],
            self._decoder,
            {
                "tokens": (None,),
                "parents": (None,),
                "past_keys": MEMORY,
                "past_values": MEMORY,
                **memory,
            },
            {
                "log_probs": (None, sizes.words),
                "keys": MEMORY,
                "values": MEMORY,
                "attention": (None, None),
            },
        )
        self._text: onnxruntime.InferenceSession | None = None
        self._text_lock = Lock()

    def hear(self, log_mel: np.ndarray) -> Heard:
        """(frames, mels) float32 -> what the decoder and comparisons with sentences need of the
        sound.
        """
        found = dict(
            zip(
                self._outputs,
                _run(self._encoder, self._outputs, {"log_mel": log_mel[None]}),
                strict=True,
            )
        )
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
        """Where the decoder attends as it says these words: (words, positions), each row's sum 1;
        see `Heard`.
        """
        step, parents = self._steps(heard), np.zeros(1, np.int64)
        return np.concatenate(
            [step(np.array([token]), parents)[1] for token in (SOS, *tokens[:-1])]
        )

    def embed_sentences(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """Numbers of each sentence's known words -> (sentences, space), of length 1; without words
        it is as one unknown.
        """
        with self._text_lock:
            if self._text is None:
                path, found = (
                    self._folder / "text.onnx",
                    {"sentence_embedding": (None, self._space)},
                )
                text = _load(path)
                _check(path, text, {"tokens": (None, None)}, found)
                self._text = text
        tokens = np.full((len(sentences), max([1, *map(len, sentences)])), PAD)
        for row, numbers in zip(tokens, sentences, strict=True):
            row[: len(numbers) or 1] = numbers or [UNKNOWN]
        return _run(self._text, ["sentence_embedding"], {"tokens": tokens})[0]

    def _steps(
        self, heard: Heard
    ) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """As `NextLogProbs`, but that it also gives where each hypothesis attended: (rows,
        positions).
        """
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


def _run(
    session: onnxruntime.InferenceSession, outputs: list[str], inputs: dict[str, np.ndarray]
) -> list[np.ndarray]:
    try:
        # ONNX has outputs of other kinds too; ours are all tensors.
        return cast("list[np.ndarray]", session.run(outputs, inputs))
    except Exception as error:  # ONNX Runtime's errors have no common base
        if "Failed to allocate memory" in str(error):
            raise MemoryError from None
        raise AuricleError(f"the model fails: {str(error).splitlines()[0]}") from None


def _load(path: Path, large: bool = False) -> onnxruntime.InferenceSession:
    """A network, ready to run: a large one on a GPU, where there is one.

    A checkpoint may be a stranger's. An ONNX file can name others, which ONNX Runtime would read:
    ours do not, and one that could is refused. What has been looked at is what is run, so that it
    is read once.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        content = path.read_bytes()
        if EXTERNAL in content:
            raise AuricleError(
                f"{path} keeps tensors in other files: export it with all of them inside"
            )
        gpu = large and CUDA[0] in onnxruntime.get_available_providers()
        return onnxruntime.InferenceSession(
            content, options, providers=[CUDA, CPU] if gpu else [CPU]
        )
    except AuricleError:
        raise
    except FileNotFoundError:
        raise AuricleError(f"{path} cannot be run: it is not there") from None
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise AuricleError(f"{path} cannot be run: {str(error).splitlines()[0]}") from None


def _check(
    path: Path,
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
) -> None:
    """Refuses a network whose inputs are not these, or whose outputs are not these at least."""
    if unknown := {value.name for value in session.get_inputs()} - inputs.keys():
        raise AuricleError(f"{path} does not fit: nothing is known of its input {min(unknown)}")
    for wanted, found in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        values = {value.name: value for value in found}
        for name, shape in wanted.items():
            if name not in values:
                raise AuricleError(f"{path} does not fit: it has no {name}")
            _check_shape(path, name, shape, values[name].shape)
            kind = "tensor(int64)" if name in NUMBERS else "tensor(float)"
            if values[name].type != kind:
                raise AuricleError(
                    f"{path} does not fit: {name} is a {values[name].type}, and a {kind} is wanted"
                )


def _check_shape(path: Path, name: str, wanted: Shape, found: Sequence[object]) -> None:
    if len(wanted) != len(found) or any(
        size not in (None, other) for size, other in zip(wanted, found, strict=True)
    ):
        shapes = (
            " x ".join("*" if size is None else str(size) for size in shape)
            for shape in (wanted, found)
        )
        raise AuricleError("{} does not fit: {} is to be {}, and is {}".format(path, name, *shapes))
