"""Words, numbers and the file that ties them."""

import csv
import json
import re
from pathlib import Path
from string import ascii_lowercase, digits
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.checkpoint.vocabulary import (
    BART_SPECIAL,
    EOS,
    PAD,
    SOS,
    SPECIAL,
    UNKNOWN,
    Subwords,
    Vocabulary,
    sentence,
    words,
)
from auricle.errors import AuricleError

part = st.text(ascii_lowercase + digits, min_size=1, max_size=4)
word = part | st.tuples(part, st.sampled_from("-'"), part).map("".join)


def clotho(shared: Path, *splits: str) -> list[str]:
    captions: list[str] = []
    for split in splits:
        path = shared / "corpus" / "captions" / "clotho_v2.1" / f"clotho_captions_{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            captions += [row[f"caption_{k}"] for row in csv.DictReader(file) for k in range(1, 6)]
    return captions


def test_clotho_has_as_many_words_as_table_1_assumes(shared: Path):
    parameters = pytest.importorskip("auricle.training.parameters", reason="needs the extra train")
    vocabulary = Vocabulary.build(clotho(shared, "development", "validation"))
    assert len(vocabulary) - len(SPECIAL) == parameters.CLOTHO_WORDS


def test_clothos_captions_survive(shared: Path):
    captions = clotho(shared, "development")[:5_000]
    vocabulary = Vocabulary.build(captions)
    for caption in captions:
        numbers = vocabulary.encode(caption)
        assert UNKNOWN not in numbers
        assert vocabulary.decode(numbers[1:]) == words(caption)


@given(st.lists(word, min_size=1, max_size=12))
def test_known_words_come_back(caption: list[str]):
    vocabulary = Vocabulary.build([" ".join(caption)])
    numbers = vocabulary.encode(" ".join(caption))
    assert numbers[0] == SOS
    assert numbers[-1] == EOS
    assert vocabulary.decode(numbers[1:]) == caption
    assert vocabulary.decode(vocabulary.numbers(caption)) == caption


@given(st.lists(word, unique=True, max_size=12), st.lists(word, max_size=12))
def test_unknown_words_become_one_number_and_are_not_said(known: list[str], caption: list[str]):
    vocabulary = Vocabulary(known)
    numbers = vocabulary.encode(" ".join(caption))[1:-1]
    assert [number == UNKNOWN for number in numbers] == [w not in known for w in caption]
    assert vocabulary.decode(numbers) == [w for w in caption if w in known]
    assert vocabulary.numbers(caption) == [n for n in numbers if n != UNKNOWN]


@settings(deadline=None)
@given(st.text(max_size=60))
def test_words_are_a_fixed_point_and_lower_case(text: str):
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(w == w.lower() and w.isprintable() and w.split() == [w] for w in found)


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_ascii_text_falls_into_runs_of_letters_and_digits(text: str):
    assert words(text) == re.findall(r"[a-z0-9]+(?:[-'][a-z0-9]+)*", text.lower())


def test_words_of_other_scripts_are_whole():
    assert words("Der Stein FÄLLT ins Wasser – über 2 m!") == (
        "der stein fällt ins wasser über 2 m".split()
    )
    assert words("Pes štěká, kočka mňouká.") == "pes štěká kočka mňouká".split()
    assert words("一只狗在叫，3 times。") == [*"一只狗在叫", "3", "times"]
    assert words("कुत्ता भौंकता है") == "कुत्ता भौंकता है".split()  # vowel signs are marks


@settings(deadline=None)
@given(st.text(max_size=60))
def test_composed_and_decomposed_letters_are_the_same_words(text: str):
    assert words(normalize("NFD", text)) == words(text)


def test_characters_of_scripts_without_blanks_may_be_said_twice():
    vocabulary = Vocabulary(["dog", "the", "狗", "叫"])
    assert vocabulary.repeatable_numbers == vocabulary.numbers(["the", "狗", "叫"])


def test_what_counts_as_a_word():
    assert words("A dog's bark -- far-off, 2 (two) times!") == [
        "a",
        "dog's",
        "bark",
        "far-off",
        "2",
        "two",
        "times",
    ]
    assert words("someone\N{RIGHT SINGLE QUOTATION MARK}s radio") == ["someone's", "radio"]
    assert words(" .,;'- ") == []


def test_decoding_stops_at_the_end_and_leaves_out_the_special():
    vocabulary = Vocabulary(["dog", "barks"])
    assert vocabulary.decode([SOS, 4, PAD, UNKNOWN, 5, EOS, 4]) == ["dog", "barks"]


@given(st.lists(word, min_size=1, max_size=30), st.integers(1, 3))
def test_built_words_are_frequent_enough_and_ordered(text: list[str], minimum: int):
    vocabulary = Vocabulary.build([" ".join(text)], minimum)
    known = vocabulary.words[len(SPECIAL) :]
    assert set(known) == {w for w in text if text.count(w) >= minimum}
    assert [(-text.count(w), w) for w in known] == sorted((-text.count(w), w) for w in known)
    assert all(w in vocabulary for w in known)


@settings(deadline=None)  # it writes files
@given(st.lists(word, unique=True, max_size=12))
def test_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, known: list[str]):
    path = tmp_path_factory.getbasetemp() / "vocabulary.txt"
    Vocabulary(known).save(path)
    assert Vocabulary.load(path).words == (*SPECIAL, *known)
    assert path.read_text("utf-8").splitlines() == [*SPECIAL, *known]


@pytest.mark.parametrize(
    "text", ["", "dog\nbarks\n", "<pad>\n<sos>\n<eos>\n", "<sos>\n<pad>\n<eos>\n<unk>\ndog\n"]
)
def test_what_is_no_vocabulary_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "vocabulary.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(AuricleError, match=r"vocabulary\.txt: not a vocabulary"):
        Vocabulary.load(path)


def test_a_word_twice_is_refused():
    with pytest.raises(AuricleError, match="twice"):
        Vocabulary(["dog", "cat", "dog"])


def test_sentences():
    assert sentence(["a", "dog", "barks"]) == "A dog barks."
    assert sentence([]) == ""
    assert sentence([*"一只狗在叫"]) == "一只狗在叫。"
    assert sentence([*"狗", "dj", "mix", *"叫"]) == "狗 dj mix 叫。"


def test_a_task_has_a_token_of_its_own_before_the_caption():
    vocabulary = Vocabulary(["dog"]).with_tasks(2)
    assert vocabulary.encode("dog <task 1>") == [SOS, 4, UNKNOWN, UNKNOWN, EOS]
    assert vocabulary.encode("dog", 2) == [len(vocabulary) - 1, 4, EOS]
    assert vocabulary.encode("dog", 1) == [len(vocabulary) - 2, 4, EOS]


def test_words_are_added_after_those_that_are_known():
    assert Vocabulary(["dog", "cat"]).with_words(["bird", "dog", "fly"]).words[4:] == (
        "dog",
        "cat",
        "bird",
        "fly",
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, shared: Path):
    """A small tokenizer of BART's kind, by the library that made BART's own, and the captions that
    it learnt from."""
    tokenizers = pytest.importorskip(
        "tokenizers", reason="compared with tokenizers: pip install 'auricle[sentences]'"
    )
    captions = [" ".join(words(caption)) for caption in clotho(shared, "validation")]
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(
        captions, vocab_size=1500, special_tokens=list(BART_SPECIAL), show_progress=False
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    trained.save_model(str(folder))
    return trained, folder


def test_pieces_are_those_of_barts_own_tokenizer(tokenizer, shared: Path):
    theirs, folder = tokenizer
    ours = Subwords.read_published(folder)
    assert len(ours) == theirs.get_vocab_size()
    captions = [
        *clotho(shared, "evaluation"),
        "it's o'clock, they're 3d t-shirts' 'tis rock'n'roll 1990s",
        "Ein Stein fällt ins Wasser",
        "一只狗在叫",
    ]
    for caption in captions:
        encoded = ours.encode(caption)
        assert encoded[:1] == [SOS]
        assert encoded[-1:] == [EOS]
        assert encoded[1:-1] == theirs.encode(" ".join(words(caption))).ids
        assert ours.decode(encoded) == words(caption)


def test_pieces_are_saved_and_loaded(tokenizer, tmp_path: Path):
    pieces = Subwords.read_published(tokenizer[1])
    pieces.save(tmp_path / "vocabulary.txt")
    loaded = Vocabulary.load(tmp_path / "vocabulary.txt")
    assert isinstance(loaded, Subwords)
    assert loaded.words == pieces.words
    caption = "Something whirrs unfathomably"
    assert loaded.encode(caption) == pieces.encode(caption)
    assert loaded.decode(loaded.encode(caption)) == words(caption)
    assert "unfathomably" in loaded
    begins, follows = loaded.numbers(["the"])
    assert loaded.encode("the the")[1:-1] == [begins, follows]


def test_bytes_that_are_no_letters_come_back():
    pieces = Subwords(["\u0120caf", "\u00c3", "\u00a9"], [])
    assert pieces.decode([SOS, 4, 5, 6, EOS]) == ["caf\u00e9"]
    assert pieces.encode("dog") == [SOS, UNKNOWN, UNKNOWN, UNKNOWN, EOS]
    assert "dog" not in pieces


def test_what_is_no_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(AuricleError, match="auricle data weights bart-tokenizer"):
        Subwords.read_published(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    for wrong in (
        {"a": 0, "b": 1},
        {**BART_SPECIAL, "a": 5},
        dict(zip(SPECIAL, range(4), strict=True)),
    ):
        (tmp_path / "vocab.json").write_text(json.dumps(wrong))
        with pytest.raises(AuricleError, match="not BART's vocabulary"):
            Subwords.read_published(tmp_path)
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(AuricleError, match="expected two pieces per line"):
        Subwords.read_published(tmp_path)
