"""From one encoded sound to its caption, for a captioner that words a plan.

encoded sound -> Selector -> plan -> plan.onnx -> beam search -> faithful captions
                                      decoder.onnx               the one most like the sound
"""

from collections.abc import Sequence

import numpy as np

from auricle.captioning.confidence import with_confidence
from auricle.captioning.inference import likeliest_tags
from auricle.captioning.onnx_backend import EncodedSound, Memory, OnnxModel
from auricle.captioning.results import Alternative, Caption, CaptionEvent
from auricle.captioning.selection import HeardClip, SelectedEvent, Selection, Selector
from auricle.captioning.wording import WordedCaption, word_plan
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.folder import Checkpoint
from auricle.checkpoint.vocabulary import sentence, words
from auricle.errors import AuricleError
from auricle.planning.classes import SoundClasses
from auricle.planning.grammar import punctuated
from auricle.planning.language import Language
from auricle.planning.plans import plan_arrays
from auricle.sound.features import FrontEnd, from_log, pad_with_silence

MOMENT_SECONDS = 0.1


class PlanDescriber:
    """Selects the events of a sound and words them.

    Args:
        checkpoint: a folder whose decoder words a plan.
        model: its networks.
        front_end: its spectrogram.

    Raises:
        AuricleError: the classes or the language cannot be read, or do not fit the folder.
    """

    def __init__(self, checkpoint: Checkpoint, model: OnnxModel, front_end: FrontEnd) -> None:
        config = checkpoint.config
        assert config.selection is not None
        self._checkpoint, self._model, self._front_end = checkpoint, model, front_end
        self.classes = SoundClasses.load(checkpoint.folder / "classes.json")
        if self.classes.names != checkpoint.tags:
            raise AuricleError(
                f"{checkpoint.folder} is not a checkpoint: classes.json and tags.txt differ"
            )
        self.language = Language.load(
            checkpoint.folder / "language.npz", len(self.classes), len(checkpoint.vocabulary)
        )
        self._selector = Selector(self.classes, config.selection, self._hear_tags)

    def select(self, sound: EncodedSound, seconds: float) -> Selection:
        """Returns the events of an encoded sound of `seconds`."""
        assert sound.log_mel is not None
        assert sound.tags is not None
        rate = self._front_end.frames_per_second
        frames = max(1, min(len(sound.log_mel), round(seconds * rate)))
        power = from_log(sound.log_mel[:frames], self._front_end)
        clip = HeardClip(sound.log_mel[:frames], power, sound.tags, rate, seconds)
        return self._selector.select(clip)

    def remember(self, selection: Selection) -> Memory:
        """Returns a selection as the decoder gets it."""
        plan = selection.plan
        return self._model.remember_plan(*plan_arrays(plan, self.language.manner(plan)))

    def word(
        self, selection: Selection, options: BeamOptions, embedding: np.ndarray | None
    ) -> list[WordedCaption]:
        """Returns captions of a selection, the best first.

        Args:
            selection: the events.
            options: of the beam search.
            embedding: (space,), the embedding of the sound. Captions are compared with it.
        """
        plan, vocabulary = selection.plan, self._checkpoint.vocabulary

        def fit(texts: Sequence[str]) -> np.ndarray:
            numbers = [vocabulary.numbers(words(text)) for text in texts]
            return self._model.embed_sentences(numbers) @ embedding

        return word_plan(
            plan,
            self._model.next_log_probs(self.remember(selection)),
            vocabulary,
            self.classes,
            self.language,
            options=options,
            fit=None if embedding is None else fit,
            weight=self._checkpoint.config.rerank,
        )

    def describe(self, sound: EncodedSound, options: BeamOptions, seconds: float) -> Caption:
        """Returns the caption of an encoded sound of `seconds`, whether it is silent or not."""
        selection = self.select(sound, seconds)
        worded = self.word(selection, options, sound.embedding)
        alternatives = tuple(
            Alternative(sentence(punctuated(found.text).split(" ")), found.score, found.fit)
            for found in worded
        )
        caption = Caption(
            0.0,
            seconds,
            alternatives[0].text,
            alternatives[0].score,
            alternatives,
            tags=likeliest_tags(self._checkpoint, sound),
            embedding=sound.embedding,
            events=tuple(map(self._caption_event, selection.events)),
        )
        return with_confidence(caption, self._checkpoint.config.confidence, selection.margin)

    def moments(
        self, text: str, events: Sequence[CaptionEvent], start: float, end: float
    ) -> np.ndarray:
        """Returns when the event of each word was heard.

        A word belongs to the event that is mentioned last up to it, or to the first event.

        Args:
            text: the caption.
            events: the events that it mentions.
            start: of the captioned stretch, in seconds.
            end: likewise.

        Returns:
            (words, steps of 0.1 s): rows whose sum is 1, 0 where the event was not heard.
        """
        said = words(text)
        times = start + (np.arange(max(1, round((end - start) / MOMENT_SECONDS))) + 0.5) * (
            MOMENT_SECONDS
        )
        rows = np.zeros((len(said), len(times)))
        owner = np.zeros(len(said), int)
        for place, event in enumerate(events):
            sound_class = self.classes.classes[self.classes.indices[event.name]]
            first = sound_class.find_mention(said)
            if place and first is not None:
                owner[first:] = place
        for word, place in enumerate(owner):
            if events:
                rows[word] = (times >= events[place].start) & (times < events[place].end)
        return rows / np.maximum(rows.sum(1, keepdims=True), 1)

    def _caption_event(self, event: SelectedEvent) -> CaptionEvent:
        sound_class = self.classes.classes[event.class_index]
        return CaptionEvent(
            sound_class.name,
            sound_class.label,
            event.probability,
            event.start,
            event.end,
            event.repetition.name.lower() if event.repetition else None,
            event.trend.name.lower() if event.trend else None,
            tuple(
                self.classes.names[index]
                for index in sorted(self.classes.ancestors[event.class_index])
            ),
        )

    def _hear_tags(self, log_mel: np.ndarray) -> np.ndarray:
        padded = pad_with_silence(log_mel, self._checkpoint.config.minimum_seconds, self._front_end)
        tags = self._model.hear(padded).tags
        assert tags is not None
        return tags
