"""The page's store of captions, which two writers share, and its reading and writing of files."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auricle.subtitles.cues import Cue
from auricle.subtitles.files import write_cues

# Runs steps in the page's store, and returns what it shows after each.
RUN = """
async (steps) => {
  const { CaptionStore } = await import("/store.js");
  let store = new CaptionStore();
  const seen = [];
  for (const [name, ...values] of steps) {
    const { captions } = store;
    const target = captions[values[0] % captions.length];
    if (name === "receive") store.receive(values[0]);
    else if (name === "undo" || name === "redo") store[name]();
    else if (name === "close" || name === "dropOpen") store[name]();
    else if (name === "restore") store = CaptionStore.restored(JSON.parse(JSON.stringify(store)));
    else if (name === "add")
      store.add({ start: values[0], end: values[0] + 1, caption: values[1] });
    else if (!target) ;
    else if (name === "words") store.edit({ [target.id]: { caption: values[1] } });
    else if (name === "remove") store.remove(target.id);
    else if (name === "split") store.split(target.id, (target.start + target.end) / 2);
    else if (name === "merge") store.merge(target.id);
    seen.push({
      captions: store.captions.map(({ tags, confidence, state, ...shown }) => shown),
      edits: store.toJSON().edits, canUndo: store.canUndo, canRedo: store.canRedo,
      target: target?.id ?? null,
    });
  }
  return seen;
}
"""

TEXTS = st.sampled_from(["a dog barks", "rain falls", "", "a bell"])
ROWS = st.builds(
    lambda number, state, length, text: [
        "receive",
        {
            "id": f"1-{number}",
            "state": state,
            "start": number * 2.0,
            "end": number * 2.0 + length,
            "caption": text,
        },
    ],
    st.integers(1, 5),
    st.sampled_from(["begin", "revise", "end"]),
    st.floats(0.5, 4),
    TEXTS,
)
PLACES = st.integers(0, 9)
EDITS = st.one_of(
    st.tuples(st.just("words"), PLACES, TEXTS).map(list),
    st.tuples(st.sampled_from(["remove", "split", "merge"]), PLACES).map(list),
    st.tuples(st.just("add"), PLACES, TEXTS).map(list),
)
MOVES = st.sampled_from(["undo", "redo"]).map(lambda name: [name])


@pytest.fixture(scope="module")
def run(browser: Any, server: Any) -> Any:
    """Runs a function of the page's own code."""
    page = browser.new_page()
    page.goto(f"{server.url}/icon.svg")  # the page's origin, without the page
    yield page.evaluate
    page.close()


PROPERTY = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@PROPERTY
@given(steps=st.lists(st.one_of(ROWS, EDITS, MOVES), max_size=30))
def test_undoing_everything_leaves_exactly_what_the_server_sent(run: Any, steps: list[Any]):
    undone = [*steps, *([["undo"]] * 31)]
    after = run(RUN, undone)[-1]
    sent = {row["id"]: row for name, *values in steps if name == "receive" for row in values}
    shown = {caption["id"]: caption for caption in after["captions"]}
    assert shown.keys() == sent.keys()
    for key, row in sent.items():
        assert (shown[key]["caption"], shown[key]["end"]) == (row["caption"], row["end"])
    assert after["edits"] == []
    assert not after["canUndo"]


@PROPERTY
@given(
    before=st.lists(st.one_of(ROWS, EDITS), max_size=12),
    words=TEXTS,
    after=st.lists(st.one_of(ROWS, st.just(["close"]), st.just(["restore"])), max_size=12),
)
def test_whatever_the_server_sends_the_words_of_the_person_stay(
    run: Any, before: list[Any], words: str, after: list[Any]
):
    row = [
        "receive",
        {"id": "1-1", "state": "begin", "start": 2.0, "end": 3.0, "caption": "heard first"},
    ]
    seen = run(RUN, [*before, row, ["words", 0, words], *after])
    edited = seen[len(before) + 1]["target"]
    for later in seen[len(before) + 1 :]:
        assert {c["id"]: c["caption"] for c in later["captions"]}[edited] == words


@PROPERTY
@given(steps=st.lists(st.one_of(ROWS, EDITS, MOVES), max_size=25))
def test_redo_repeats_what_undo_took_back_and_no_row_is_lost(run: Any, steps: list[Any]):
    seen = run(RUN, [*steps, ["undo"], ["redo"]])
    if len(steps) and seen[len(steps) - 1]["canUndo"]:
        assert seen[-1]["captions"] == seen[len(steps) - 1]["captions"]
    for place, (name, *values) in enumerate(steps):
        if name == "receive":
            row = values[0]
            edits = dict(seen[place]["edits"]).get(row["id"], {})
            if not edits.get("removed"):
                assert row["id"] in [c["id"] for c in seen[place]["captions"]]


@PROPERTY
@given(steps=st.lists(st.one_of(ROWS, EDITS, MOVES), max_size=20))
def test_kept_captions_come_back_as_they_were(run: Any, steps: list[Any]):
    seen = run(RUN, [*steps, ["restore"]])
    if steps:
        assert seen[-1]["captions"] == seen[-2]["captions"]


def test_a_stopped_run_drops_open_captions_but_keeps_edited_ones(run: Any):
    rows = [
        {"id": f"1-{n}", "state": s, "start": n, "end": n + 1.0, "caption": "heard"}
        for n, s in ((1, "end"), (2, "begin"), (3, "begin"))
    ]
    steps = [*(["receive", row] for row in rows), ["words", 1, "mine"], ["dropOpen"]]
    shown = run(RUN, steps)[-1]["captions"]
    assert [(c["id"], c["caption"], c["open"]) for c in shown] == [
        ("1-1", "heard", False),
        ("1-2", "mine", False),
    ]


CAPTIONS = [
    {"start": 0.0, "end": 1.257, "caption": "A <b>dog</b> & a {cat}\n\nbark \\N --> loud."},
    {"start": 3599.5, "end": 3601.0, "caption": "Rain."},
]


@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_subtitles_are_written_as_python_writes_them_and_read_back(run: Any, form: Any):
    code = "async ([rows, form]) => (await import('/subtitles.js')).write(rows, form)"
    written = run(code, [CAPTIONS, form])
    cues = [Cue(c["start"], c["end"], c["caption"]) for c in CAPTIONS]
    expected = write_cues(cues, form).decode()
    ours = [line for line in written.splitlines() if not line.startswith(("[", "Style", "Format"))]
    for line in expected.splitlines():
        if "-->" in line or line.startswith("Dialogue"):
            assert line in ours
    read = run(
        "async ([text, form]) => (await import('/subtitles.js')).read(`a.${form}`, text)",
        [written, form],
    )
    assert [(c["start"], c["end"]) for c in read] == [
        (pytest.approx(c["start"], abs=0.01), pytest.approx(c["end"], abs=0.01)) for c in CAPTIONS
    ]
    assert read[1]["caption"] == "Rain."
    assert "dog" in read[0]["caption"]
    assert "bark" in read[0]["caption"]


def test_captions_of_other_programs_are_read(run: Any):
    read = "async ([name, text]) => (await import('/subtitles.js')).read(name, text)"
    srt = (
        "\ufeff1\r\n00:00:01,000 --> 00:00:02,5\r\n<i>First</i>\r\nline\r\n\r\n"
        "2\r\n0:0:3.0 --> 0:0:4.0\r\n{\\an8}Second\r\n"
    )
    found = run(read, ["film.srt", srt])
    assert [(c["start"], c["end"], c["caption"]) for c in found] == [
        (1.0, 2.5, "First\nline"),
        (3.0, 4.0, "Second"),
    ]
    cue = "00:01.000 --> 00:02.000 align:left\n<v Anna>Hello &amp; bye\n"
    vtt = f"WEBVTT\n\nNOTE a note\n\nname\n{cue}"
    assert run(read, ["a.vtt", vtt])[0]["caption"] == "Hello & bye"
    rows = json.dumps({"captions": [{"start": 1, "end": 2, "caption": "Rain.", "confidence": 0.5}]})
    assert run(read, ["a.json", rows])[0]["confidence"] == 0.5
    for name, text in (("a.srt", "no cues"), ("a.json", "{"), ("a.json", "{}")):
        message = run(
            "([name, text]) => import('/subtitles.js').then((module) => module.read(name, text))"
            ".catch((error) => error.message)",
            [name, text],
        )
        assert name in message
