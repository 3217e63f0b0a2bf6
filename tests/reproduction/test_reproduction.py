"""The paper's tables by one command: planned, trained once, scored, compared and reported."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if not find_spec("torch") or not find_spec("accelerate"):
    pytest.skip("trainings run on torch: pip install 'auricle[train]'", allow_module_level=True)

from auricle.captioning.results import Alternative, Caption, Row
from auricle.checkpoint.vocabulary import words
from auricle.cli import reproduce as cli
from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.errors import AuricleError
from auricle.reproduction import captions, corpus, plan, stages
from auricle.reproduction.comparison import compare_systems, draw_recordings
from auricle.reproduction.report import Results, _comparisons, _order, _table_2, compared
from auricle.sound.container import Source
from auricle.training import run as run_module
from auricle.training import train as train_module
from sounds import tone, write_wav

RATE = 32_000
CAPTIONS = (
    "A dog barks loudly",
    "Rain falls on a roof",
    "A bell rings far away",
    "Wind blows through trees",
)
SMALL = (
    "data.front_end=panns",
    "data.pad=batch",
    "encoder.width=0.0625",
    "decoder.width=16",
    "decoder.layers=2",
    "decoder.feedforward=32",
    "word2vec.size=16",
    "word2vec.epochs=2",
    "pretrain.initial=random",
    "pretrain.epochs=1",
    "train.epochs=1",
    "train.batch_size=4",
)


class Speaker:
    """Stands for a captioner: the seconds of its export are tested elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._shift = len(folder.parent.name)  # systems do not say the same

    def caption_files(self, sources: Iterable[tuple[str, Source]]) -> Iterator[Row]:
        for number, (name, _) in enumerate(sources):
            text = f"{CAPTIONS[(number + self._shift) % 4]}."
            yield Row(name, Caption(0.0, 1.0, text, -1.0, (Alternative(text, -1.0),)))


@pytest.fixture
def clotho(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like Clotho's, of made sounds; trainings that export nothing; and no Java."""
    items = []
    for number in range(16):
        path = write_wav(
            tmp_path / "clotho" / f"{number}.wav", tone(1.0, 200 * 1.2**number, RATE), RATE
        )
        split = ("development", "development", "validation", "evaluation")[number // 4]
        items.append(
            Item(
                path,
                split,
                (CAPTIONS[number % 4], f"{CAPTIONS[number % 4]} again"),
                group=str(number),
            )
        )
    write_manifest(tmp_path / "clotho" / "manifest.csv", items)
    monkeypatch.setattr(
        train_module, "export_onnx", lambda folder: (folder / "decoder.onnx").touch()
    )
    monkeypatch.setattr(run_module, "draw_curves", lambda *_: None)
    monkeypatch.setattr(captions, "load", Speaker)
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("auricle.evaluation.meteor._running", {})  # whatever other tests started
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "clotho"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "clotho").mkdir()


def reproduce(
    clotho: Path, systems: str = "scratch,exp2", *, seeds: int = 2, dry_run: bool = False
) -> Path:
    output = clotho.parent / "report"
    cli.reproduce(
        data=clotho,
        systems=systems,
        seeds=seeds,
        output=output,
        runs=clotho.parent / "runs",
        settings=[*SMALL],
        dry_run=dry_run,
    )
    return output


def test_from_nothing_to_the_tables_and_nothing_twice(
    clotho: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    reproduce(clotho, dry_run=True)
    planned = capsys.readouterr().out
    assert "scratch-1" in planned
    assert "pretrain" in planned
    assert not (clotho.parent / "runs").exists()

    folder = reproduce(clotho)
    report = (folder / "README.md").read_text("utf-8")
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "scores.json",
        "curves.png",
        "captions_evaluation.csv",
    }
    for told in (
        "0.613",
        "0.266",
        "## Table 1",
        "METEOR is missing: Java",
        "Experiment 2",
        "auricle pretrain paper",
        " ± ",
    ):
        assert told in report, told
    scores = json.loads((folder / "scores.json").read_text("utf-8"))["evaluation"]
    assert scores.keys() == {"scratch-0", "scratch-1", "exp2-0", "exp2-1"}
    assert all(of_run["cider_d"] >= 0 for of_run in scores.values())
    with (folder / "captions_evaluation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["12.wav", "13.wav", "14.wav", "15.wav"]
    assert "again" not in "".join(
        path.read_text("utf-8") for path in folder.iterdir() if path.suffix != ".png"
    )

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(stages, "STAGE_TRAININGS", {"pretrain": refuse, "train": refuse})
    monkeypatch.setattr(captions, "load", refuse)
    reproduce(clotho)
    assert (folder / "README.md").read_text("utf-8") == report
    reproduce(clotho, dry_run=True)
    assert capsys.readouterr().out.count("done") == 6


def test_another_recipe_is_not_taken_for_done(clotho: Path):
    reproduce(clotho, "scratch", seeds=1)
    made = plan.make_plan(
        "full", clotho, ["scratch"], 1, clotho.parent / "runs", [*SMALL, "train.epochs=2"]
    )
    with pytest.raises(AuricleError, match=r"another recipe: train\.epochs differ"):
        made.runs[0].is_done("train")


class Counted:
    """Captions like `Speaker`, and counts how often it is asked to load."""

    loads = 0

    def __init__(self, folder: Path) -> None:
        Counted.loads += 1
        self.caption_files = Speaker(folder).caption_files


def test_captions_are_made_again_when_their_makers_change(
    clotho: Path, monkeypatch: pytest.MonkeyPatch
):
    reproduce(clotho, "scratch", seeds=1)
    monkeypatch.setattr(captions, "load", Counted)
    made = plan.make_plan("full", clotho, ["scratch"], 1, clotho.parent / "runs", SMALL)
    run, checkpoint = made.runs[0], made.runs[0].recipe.captioner_folder

    def loads() -> int:
        Counted.loads = 0
        captions.caption_run(run, made.sets[0], captions.sounds_fingerprint(made.sets[0]))
        return Counted.loads

    assert loads() == 0
    config = json.loads((checkpoint / "config.json").read_text())
    config["decoding"]["beam"] = 2
    changes = {
        checkpoint / "decoder.onnx": b"other weights",
        checkpoint / "config.json": json.dumps(config).encode(),
        clotho / "12.wav": (clotho / "13.wav").read_bytes(),
        run.folder / "evaluation.json": b"[",
    }
    for path, content in changes.items():
        path.write_bytes(content)
        assert loads() == 1, path
        assert loads() == 0, path


def test_a_captioner_of_another_pre_encoder_is_refused(clotho: Path):
    reproduce(clotho, "exp2", seeds=1)
    run = plan.make_plan("full", clotho, ["exp2"], 1, clotho.parent / "runs", SMALL).runs[0]
    assert run.is_done("train")
    weights = run.recipe.pre_encoder_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(AuricleError, match=r"another pre-encoder/model\.safetensors"):
        run.is_done("train")


def test_exported_files_of_other_weights_are_not_taken_for_done(clotho: Path):
    reproduce(clotho, "scratch", seeds=1)
    run = plan.make_plan("full", clotho, ["scratch"], 1, clotho.parent / "runs", SMALL).runs[0]
    shutil.rmtree(run.recipe.captioner_folder / "state")
    assert not run.is_done("train")


def test_a_plan_needs_no_weights(clotho: Path, capsys: pytest.CaptureFixture[str]):
    (clotho / "0.wav").unlink()
    reproduce(clotho, "exp1", dry_run=True)
    assert "exp1-1" in capsys.readouterr().out


def test_what_is_missing_is_named_first(clotho: Path):
    with pytest.raises(AuricleError, match="no system 'exp3': choose of baseline, gru"):
        reproduce(clotho, "exp3")
    with pytest.raises(AuricleError, match="auricle data weights"):
        reproduce(clotho, "exp1")
    with pytest.raises(AuricleError, match="no systems"):
        reproduce(clotho, ",")


def test_differences_are_of_the_same_sounds_drawn_by_recording(clotho: Path):
    """A sound cut in two is no surer than one, a seed told twice no surer than once, and nobody
    differs from himself."""
    made = plan.make_plan(
        "full", clotho, ["scratch", "gru"], 2, clotho.parent / "runs", [*SMALL, "decoder.heads=1"]
    )
    items = [
        Item(Path(f"{name}.wav"), "evaluation", (text,), group=name)
        for name, text in zip("abcd", CAPTIONS, strict=True)
    ]
    halves = [replace(item, file=Path(f"{half}/{item.file}")) for item in items for half in (1, 2)]
    said = {"scratch": CAPTIONS[::-1], "gru": ("A dog barks", "Rain falls", *CAPTIONS[2:])}
    by_set = {}
    for name, some in (("once", items), ("halves", halves)):
        scored = corpus.ScoredSet(name, some)
        scores = {}
        for run in made.runs:
            texts = dict(zip("abcd", said[run.system], strict=True))
            scores[run.name] = stages.score_run(
                run, scored, {str(item.file): texts[item.group] for item in some}
            )
        drawn = draw_recordings(made.runs, scored, scores)
        by_set[name] = {
            comparison.metric: comparison
            for comparison in compare_systems(made, scores, drawn, "scratch", "gru")
        }
        for same in compare_systems(made, scores, drawn, "gru", "gru"):
            assert same.difference == same.interval.low == same.interval.high == 0
            assert same.p == 1
    for metric in ("bleu_1", "rouge_l"):
        once, halved = by_set["once"][metric], by_set["halves"][metric]
        assert once.difference > 0
        assert halved.difference == pytest.approx(once.difference)
        assert (halved.interval.low, halved.interval.high) == pytest.approx(
            (once.interval.low, once.interval.high)
        )


def test_collapsed_systems_are_called_so_and_not_compared(clotho: Path):
    made = plan.make_plan(
        "full", clotho, ["scratch", "gru"], 2, clotho.parent / "runs", [*SMALL, "decoder.heads=1"]
    )
    items = [Item(Path(f"{n}.wav"), "evaluation", (CAPTIONS[n % 4],)) for n in range(8)]
    scored = corpus.ScoredSet("evaluation", items)

    def results(of_gru: list[str]) -> Results:
        said = {
            run.name: {
                str(item.file): text
                for item, text in zip(
                    items, of_gru if run.system == "gru" else CAPTIONS * 2, strict=True
                )
            }
            for run in made.runs
        }
        scores = {run.name: stages.score_run(run, scored, said[run.name]) for run in made.runs}
        return compared(made, [Results(scored, said, scores)])[0]

    different = results([*CAPTIONS[::-1]] * 2)
    metrics = {comparison.metric for comparison in different.comparisons}
    assert metrics >= {"bleu_1", "bleu_4", "rouge_l"}
    assert all(comparison.corrected_p >= comparison.p for comparison in different.comparisons)
    assert "4 of 8" in "\n".join(_table_2(made, different))
    assert "p, corrected" in "\n".join(_comparisons(made, different))
    collapsed = results([CAPTIONS[0]] * 7 + [CAPTIONS[1]])
    assert collapsed.comparisons == []
    assert "collapsed: 7 of 8 captions are equal" in "\n".join(_table_2(made, collapsed))


def test_the_order_of_systems_is_told_for_all_columns(clotho: Path):
    made = plan.make_plan("full", clotho, ["scratch"], 1, clotho.parent / "runs", SMALL)
    runs = [replace(made.runs[0], system=system) for system in ("exp1", "exp2")]
    high, low = dict.fromkeys(plan.TABLE_2_COLUMNS, 0.5), dict.fromkeys(plan.TABLE_2_COLUMNS, 0.5)
    high |= {"cider_d": 0.6}
    low |= {"bleu_4": 0.6}
    scores = {
        run.name: stages.Scored(of_run, {}, {})
        for run, of_run in zip(runs, (low, high), strict=True)
    }
    results = Results(corpus.ScoredSet("evaluation", ()), {}, scores)
    told = "\n".join(_order(replace(made, runs=tuple(runs)), results))
    higher, _, lower = told.partition("; not higher in ")
    assert "CIDEr-D" in higher
    assert "BLEU-4" in lower
    assert all(title in told for title in ("BLEU-1", "METEOR", "SPICE", "SPIDEr", "ROUGE-L"))


def test_one_recording_in_three_of_each_label(tmp_path: Path):
    items = [
        Item(
            tmp_path / f"{number}.wav",
            "train" if number % 5 else "valid",
            ("A sound",),
            f"label {number % 3}",
            f"r{number // 2}",
        )
        for number in range(120)
    ]
    write_manifest(tmp_path / "all.csv", items)
    kept = read_manifest(
        corpus.thinned_manifest(tmp_path / "all.csv", tmp_path / "some.csv"), check_files=False
    )
    assert [item for item in kept if item.split == "valid"] == [
        item for item in items if item.split == "valid"
    ]
    for label in {item.label for item in items}:
        recordings, chosen = (
            {item.group for item in some if item.label == label and item.split == "train"}
            for some in (items, kept)
        )
        assert chosen <= recordings
        assert len(chosen) == -(-len(recordings) // corpus.CNN10_SHARE)
    assert {item.file for item in kept} <= {item.file for item in items}


def test_pseudo_references_are_the_labels_and_people_stand_apart(shared: Path, tmp_path: Path):
    data = shared / "corpus"
    if not data.is_dir():
        pytest.skip(f"no development corpus: {data} is not there")
    expected = ("label_train", "label_valid", "human_train", "human_valid")
    with (data / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in expected]
    splits = {"label_train": "train"}
    items = [
        Item(
            data / row["file"],
            splits.get(row["split"], row["split"]),
            tuple(row[f"caption_{n}"] for n in range(1, 6) if row[f"caption_{n}"])
            or (row["label_caption"] or "A sound",),
            row["label"],
            row["fsid"],
        )
        for row in rows
    ]
    write_manifest(tmp_path / "sounds.csv", items)
    people, to_score, to_select = corpus.corpus_sets(tmp_path / "sounds.csv", data)
    assert (len(to_score.items), len(to_select.items)) == (104, 107)
    assert [scored.for_selection for scored in (people, to_score, to_select)] == [
        False,
        False,
        True,
    ]
    recordings = [{item.group for item in half.items} for half in (to_score, to_select)]
    assert not recordings[0] & recordings[1]
    labelled = replace(to_score, items=[*to_score.items, *to_select.items])
    assert {item.split for item in people.items} == {"human_train", "human_valid"}
    by_label = {item.label: item.captions for item in labelled.items}
    assert all(item.captions == by_label[item.label] for item in labelled.items)
    assert Counter(map(len, by_label.values())).most_common(1)[0][0] == corpus.REFERENCES
    assert labelled.label_words is not None
    names = [
        not labelled.label_words[label].isdisjoint(words(text))
        for label, texts in by_label.items()
        for text in texts
    ]
    assert np.mean(names) > 0.8
    with (data / "captions" / "exclude.csv").open(encoding="utf-8", newline="") as file:
        aside = {row["file_name"] for row in csv.DictReader(file)}
    secret = set()
    for split in ("development", "validation", "evaluation"):
        path = data / "captions" / "clotho_v2.1" / f"clotho_captions_{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["file_name"] in aside:
                    secret |= {row[f"caption_{n}"].strip() for n in range(1, 6)}
    assert not secret & {text.strip() for texts in by_label.values() for text in texts}
