import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.evaluation.tokenizer import is_plain, ptb_tokenize, regex_tokenize

SENTENCES = [
    "A dog's bark, then it doesn't.",
    "",
    "He cannot; they're gonna (perhaps) go -- at 5:30 pm, for $5...",
    'A "loud" bang & a crash/smash, e.g. at U.S. bases etc.',
    "Café noise\u2028and\x0ba na\u00efve\u00a0voice\r\nin two\nlines",
    "walkie-talkie | beeps || twice ||| thrice",
    "...",
]


def pycocoevalcap_tokenize(captions: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenized = PTBTokenizer().tokenize({0: [{"caption": caption} for caption in captions]})
    return tokenized[0]


@pytest.mark.usefixtures("java")
def test_ptb_equals_pycocoevalcap() -> None:
    # Other breaks than \n make pycocoevalcap lose count of its captions.
    captions = [" ".join(caption.split()) for caption in SENTENCES]
    assert ptb_tokenize(captions)[0] == pycocoevalcap_tokenize(captions)


@pytest.mark.usefixtures("java")
def test_every_list_is_tokenized_as_if_alone() -> None:
    lists = [SENTENCES, [], ["a dog."], [""]]
    together = ptb_tokenize(*lists)
    assert together == [ptb_tokenize(captions)[0] for captions in lists]
    assert [len(captions) for captions in together] == [len(captions) for captions in lists]
    assert together[0][4] == "café noise and a naïve voice in two lines"


@pytest.mark.usefixtures("java")
def test_regex_equals_ptb_on_all_of_clotho(shared: Callable[[str], Path]) -> None:
    captions = []
    for path in sorted(shared("corpus/captions/clotho_v2.1").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            captions += [row[f"caption_{k}"] for row in csv.DictReader(file) for k in range(1, 6)]
    assert len(captions) == 5 * (3839 + 1045 + 1045)
    assert [regex_tokenize(caption) for caption in captions] == ptb_tokenize(captions)[0]


@pytest.mark.usefixtures("java")
def test_regex_equals_ptb_on_what_is_called_plain(shared: Callable[[str], Path]) -> None:
    captions = []
    for path in sorted(shared("corpus/captions/audiocaps_v1").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            captions += [row["caption"] for row in csv.DictReader(file)]
    words = sorted(
        {word for caption in captions for word in regex_tokenize(caption).split() if word.isalpha()}
    )
    made = [
        form.format(word) for word in words for form in ("a dog {}.", "{}, a dog", "a {}-dog barks")
    ]
    plain = [caption for caption in captions + made if is_plain(caption)]
    assert len(plain) > 0.98 * len(captions + made)
    assert [regex_tokenize(caption) for caption in plain] == ptb_tokenize(plain)[0]


def test_what_ptb_takes_apart_is_not_called_plain() -> None:
    for caption in (
        "a dog's bark",
        "about 5:30",
        "they wanna go",
        "rain, wind etc.",
        "plan b.",
        "café",
        "a (b)",
        "a/b",
    ):
        assert not is_plain(caption), caption
    for caption in (
        "",
        "A dog barks.",
        "Rain falls, and a walkie-talkie beeps",
        "a dog cannot bark",
    ):
        assert is_plain(caption), caption
