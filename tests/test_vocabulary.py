"""Words, numbers and the file that ties them."""

import csv
from pathlib import Path
from string import ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import AuricleError
from auricle.vocabulary import EOS, PAD, SOS, SPECIAL, UNKNOWN, Vocabulary, sentence, words

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
    parameters = pytest.importorskip("auricle.training.parameters", reason="wants the extra train")
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


@given(st.text(max_size=60))
def test_words_are_a_fixed_point_and_lower_case(text: str):
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(w == w.lower() and w.isascii() for w in found)
    assert words(text.upper()) == words(text.upper().lower())


def test_what_counts_as_a_word():
    assert words("A dog's bark -- far-off, 2 (two) times!") == ["a", "dog's", "bark", "far-off", "2", "two", "times"]
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


@given(st.lists(word, unique=True, max_size=12))
def test_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, known: list[str]):
    path = tmp_path_factory.getbasetemp() / "vocabulary.txt"
    Vocabulary(known).save(path)
    assert Vocabulary.load(path).words == (*SPECIAL, *known)
    assert path.read_text("utf-8").splitlines() == [*SPECIAL, *known]


@pytest.mark.parametrize("text", ["", "dog\nbarks\n", "<pad>\n<sos>\n<eos>\n", "<sos>\n<pad>\n<eos>\n<unk>\ndog\n"])
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
