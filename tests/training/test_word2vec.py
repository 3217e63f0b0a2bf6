"""Word vectors: one for every word, the same for the same seed, scaled as the networks want
them."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny import CAPTIONS

from auricle.checkpoint.vocabulary import PAD, UNKNOWN, Vocabulary
from auricle.training.config import Word2VecConfig
from auricle.training.word2vec import train_word2vec

CONFIG = Word2VecConfig(size=12, epochs=3)


def digest() -> str:
    vectors = train_word2vec(CAPTIONS, Vocabulary.build(CAPTIONS), CONFIG, 0)
    return hashlib.sha256(vectors.numpy().tobytes()).hexdigest()


def test_every_word_has_a_vector_of_unit_mean_square():
    vocabulary = Vocabulary.build(CAPTIONS)
    vectors = train_word2vec(CAPTIONS, vocabulary, CONFIG, 0)
    assert vectors.shape == (len(vocabulary), 12)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()
    assert not vectors[PAD].any()
    assert vectors[1:].abs().sum(1).min() > 0
    assert float((vectors[1:] ** 2).mean()) == pytest.approx(1, rel=0.05)


def test_words_that_are_not_learnt_are_the_mean_of_those_that_are():
    vocabulary = Vocabulary([*Vocabulary.build(CAPTIONS).words[4:], "zebra"])
    vectors = train_word2vec(CAPTIONS, vocabulary, CONFIG, 0)
    known = [i for i in range(1, len(vocabulary) - 1) if i != UNKNOWN]
    np.testing.assert_allclose(vectors[UNKNOWN], vectors[known].mean(0), atol=1e-6)
    np.testing.assert_allclose(vectors[-1], vectors[UNKNOWN])


def test_the_same_seed_gives_the_same_vectors_in_any_process():
    code = "import test_word2vec as t; print(t.digest())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest()
    vocabulary = Vocabulary.build(CAPTIONS)
    vectors = [train_word2vec(CAPTIONS, vocabulary, CONFIG, seed) for seed in (0, 1)]
    assert not torch.equal(*vectors)
