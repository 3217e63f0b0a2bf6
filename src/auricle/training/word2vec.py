"""Word2Vec (Mikolov et al. 2013) on the training captions.

Its vectors are the initial word vectors of the text tower and the decoder.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from auricle.checkpoint.vocabulary import PAD, SPECIAL, Vocabulary, words
from auricle.training.config import Word2VecConfig


def train_word2vec(
    captions: Sequence[str], vocabulary: Vocabulary, config: Word2VecConfig, seed: int
) -> Tensor:
    """Trains skip-gram vectors of the vocabulary's words, the same for the same seed.

    `<sos>` and `<eos>` are learnt as words of every caption. `<unk>` is the mean of all words.

    Returns:
        (len(vocabulary), size) float32, scaled so that elements have a mean square of 1, as the
        sinusoids they are added to have about; zeros for `<pad>`.
    """
    from gensim.models import Word2Vec  # two seconds to import

    sentences = [[SPECIAL[1], *words(caption), SPECIAL[2]] for caption in captions]
    # With several workers, the order of updates would change from run to run, and so the result.
    model = Word2Vec(
        sentences,
        vector_size=config.size,
        window=config.window,
        epochs=config.epochs,
        min_count=1,
        sg=1,
        workers=1,
        seed=seed + 1,
    )
    vectors = np.zeros((len(vocabulary), config.size), np.float32)
    for number, word in enumerate(vocabulary.words):
        if word in model.wv:
            vectors[number] = model.wv[word]
    known = np.abs(vectors).sum(1) > 0
    vectors[~known] = vectors[known].mean(0)
    vectors /= np.sqrt((vectors**2).mean())
    vectors[PAD] = 0
    return torch.from_numpy(vectors)
