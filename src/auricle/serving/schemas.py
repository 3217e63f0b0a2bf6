"""The JSON of the API: requests and answers, as its OpenAPI description shows them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from auricle.output.formats import SubtitleFormat

LATEST = 359_999.0  # seconds that subtitles can say: 99:59:59
Similarity = Annotated[float, Field(ge=-1, le=1)]


class TagJson(BaseModel):
    """A class of AudioSet, and its probability."""

    name: str
    probability: float = Field(allow_inf_nan=False)


class AlternativeJson(BaseModel):
    """Another possible caption of the sound."""

    caption: str
    score: float = Field(
        description="Log-probability, length-normalised: at most 0, higher is likelier."
    )
    similarity: float | None = Field(
        description="To the sound, from -1 to 1; null where sentences are not reranked by it."
    )


class Explanation(BaseModel):
    """When each word was heard.

    That is when its event lasted, or where the decoder attended: the mean over layers and heads.
    """

    start: float = Field(description="Of the attended stretch, in seconds.")
    end: float
    words: list[str]
    sound: list[list[float]] = Field(
        description="A row for each word, a number for each frame, evenly over the stretch."
    )
    tags: list[float] = Field(description="Each word's attention to the tags instead of the sound.")


class CaptionEventJson(BaseModel):
    """An event that a caption mentions."""

    name: str = Field(description="Of its class.")
    label: str = Field(description="A few words for it, as in subtitles.")
    probability: float = Field(description="Of the class, from 0 to 1.")
    start: float = Field(description="Seconds from the beginning of the sound.")
    end: float
    repetition: Literal["once", "twice", "several", "continuous"] | None
    trend: Literal["approaching", "fading"] | None


class CaptionJson(BaseModel):
    """A caption of a stretch of sound."""

    id: int = Field(description="Counted from 1.")
    state: Literal["begin", "revise", "end"] = Field(
        description="`end` is final; streamed events begin and are revised first."
    )
    start: float = Field(description="Seconds from the beginning of the sound.")
    end: float
    caption: str
    confidence: float | None = Field(
        description="From 0 to 1, that the caption is right; null where it was not calibrated."
    )
    tags: list[TagJson] = Field(description="The likeliest, the likeliest first.")
    score: float | None = Field(default=None, description="Log-probability, length-normalised.")
    alternatives: list[AlternativeJson] = Field(
        default=[], description="The best sentences, the caption itself first."
    )
    events: list[CaptionEventJson] = Field(
        default=[], description="The events that the caption mentions, in its order."
    )
    explanation: Explanation | None = Field(
        default=None, description="Where `explain` was asked for; null for silence."
    )


class Captions(BaseModel):
    """A captioned sound."""

    file: str = Field(description="The sender's name for it.")
    seconds: float
    captions: list[CaptionJson]


class ComparedSound(BaseModel):
    """A sound, compared with sentences."""

    file: str
    similarities: list[Similarity] | None = Field(
        default=None, description="To each sentence, in their order."
    )
    error: str | None = Field(default=None, description="Why it could not be read.")


class Ranking(BaseModel):
    """Sounds sorted by a sentence."""

    sentence: str
    order: list[int] = Field(description="Numbers of the sounds, from 0, the most similar first.")


class Rankings(BaseModel):
    """Sounds compared with sentences."""

    sounds: list[ComparedSound] = Field(description="In the order in which they came.")
    rankings: list[Ranking] = Field(description="In the order of the sentences.")
    unknown: list[str] = Field(
        description="Words of the sentences that the model does not know, and passed over."
    )


class SentenceCheck(BaseModel):
    """Whether alerts can wait for a sentence."""

    usable: bool = Field(description="Whether the model knows enough words of each part of it.")
    unknown: list[str] = Field(description="Words that the model does not know.")


class Line(BaseModel, allow_inf_nan=False):
    """A caption to write as a subtitle."""

    start: float = Field(ge=0, le=LATEST, description="Seconds.")
    end: float = Field(ge=0, le=LATEST)
    caption: str = Field(max_length=1000)
    tags: list[TagJson] = []


class Subtitles(BaseModel):
    """Captions to write as subtitles."""

    captions: list[Line] = Field(max_length=20_000)
    format: SubtitleFormat = "srt"
    style: Literal["written", "label", "sentence"] = Field(
        "written",
        description="`written`: as they stand. `label`: [dog barking]. `sentence`: a sentence. "
        "Labels and sentences look as in `auricle subtitle`.",
    )


class Info(BaseModel):
    """The version, the model and the limits of a server."""

    version: str
    licence: str = Field(description="Of the model's weights.")
    rate: int = Field(description="Hz at which the model hears.")
    longest: float = Field(description="Seconds of sound that get one caption.")
    upload: int = Field(description="Bytes of the largest upload.")
    seconds: float = Field(description="Of the longest sound.")
    microphone: bool = Field(description="Whether the server's own microphone can be listened to.")
    examples: list[str] = Field(description="Sounds to try, below /examples/.")


class ServerState(BaseModel):
    """The state of the server."""

    status: Literal["ok", "ready"]


class Failure(BaseModel):
    """Why there is no answer."""

    error: str


class CaptionsFailure(Failure):
    """Why a sound is not captioned to its end, with the captions until then."""

    file: str | None = Field(default=None, description="The sender's name for the sound.")
    seconds: float | None = Field(
        default=None, description="Of sound that was decoded before the error."
    )
    captions: list[CaptionJson] | None = None
