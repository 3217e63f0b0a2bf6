"""The port's wording: events -> a sentence, by beam search, checks and our own sentences."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from port_selection import Chosen

Run = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Worded:
    """A caption; tokens are None for one of the folder's own sentences."""

    text: str
    score: float
    fit: float
    tokens: list[int] | None


class Speaker:
    """Words the events of a sound."""

    def __init__(
        self,
        model: Any,
        classes: Any,
        vocabulary: list[str],
        arrays: dict[str, np.ndarray],
        run: Run,
    ) -> None:
        self.model, self.classes, self.vocabulary, self.run = model, classes, vocabulary, run
        self.numbers = {word: number for number, word in enumerate(vocabulary)}
        bits = np.unpackbits(arrays["class_words"], axis=1, count=len(vocabulary))
        self.class_words = bits.astype(bool)
        self.arrays = arrays
        self.phrases: dict[str, set[int]] = {}
        for index, entry in enumerate(classes):
            for phrase in entry["phrases"]:
                self.phrases.setdefault(phrase, set()).add(index)
        self.longest_phrase = max(len(phrase.split(" ")) for phrase in self.phrases)

    def word(self, chosen: Chosen, embedding: np.ndarray) -> list[Worded]:
        """Returns captions, the best first."""
        rule, plan = self.model["plan"], chosen.events
        if len(plan) > 1:
            manner = rule["manners"]["two_events"]
        elif self.classes[plan[0].index]["by_people"]:
            manner = rule["manners"]["one_event_by_people"]
        else:
            manner = rule["manners"]["one_event_by_us"]
        rows = [(e.index, rule["repetitions"][e.repetition], rule["trends"][e.trend]) for e in plan]
        whole = [[rule["relations"][chosen.relation], manner]]
        memory = self.run(
            "plan", {"events": np.array([rows], np.int64), "whole": np.array(whole, np.int64)}
        )
        used = np.asarray(self.class_words[[e.index for e in plan]].any(0))
        class_words = {word for e in plan for word in self.classes[e.index]["own_words"]}
        told = self.told_words(chosen)
        forbidden = set(self.model["wording"]["time_words"]) - told - class_words
        allowed = used.copy()
        allowed[[self.numbers[word] for word in told if word in self.numbers]] = True
        allowed[[self.numbers[word] for word in forbidden if word in self.numbers]] = False
        usual = {self.vocabulary[number] for number in np.flatnonzero(used)}
        captions = []
        for tokens, score in self.search(memory, allowed):
            said = [self.vocabulary[token] for token in tokens]
            probable = score >= self.model["wording"]["least_score"]
            if probable and self.is_faithful(said, chosen, forbidden, class_words | usual):
                captions.append((" ".join(said), score, tokens))
        weight = self.model["wording"]["similarity_weight"]
        if not captions:
            captions = [(text, 0.0, None) for text in self.plain_captions(chosen)]
            weight = 1.0
        worded = []
        fits = self.embed([text for text, _, _ in captions]) @ embedding
        for (text, score, tokens), fit in zip(captions, fits, strict=True):
            worded.append(Worded(text, score, float(fit), tokens))
        return sorted(worded, key=lambda one: -(one.score + weight * one.fit))

    def told_words(self, chosen: Chosen) -> set[str]:
        """Returns words of relation, count and trend that the caption may hold."""
        phrases = list(self.model["wording"]["relation_words"].get(chosen.relation, ()))
        for event in chosen.events:
            phrases += self.telling("repetition", event.repetition)
            phrases += self.telling("trend", event.trend)
        return {word for phrase in phrases for word in phrase.split(" ")}

    def telling(self, kind: str, name: str) -> list[str]:
        """Returns the phrases that tell a repetition or a trend."""
        number = self.model["plan"][f"{kind}s"][name]
        table = self.model["wording"][f"{kind}_phrases"]
        return [phrase for phrase, value in table.items() if value == number]

    def embed(self, texts: list[str]) -> np.ndarray:
        """Returns (texts, space)."""
        search = self.model["search"]
        rows = [[self.numbers[w] for w in text.split(" ") if w in self.numbers] for text in texts]
        rows = [row or [search["unknown"]] for row in rows]
        longest = max(map(len, rows))
        padded = [row + [search["padding"]] * (longest - len(row)) for row in rows]
        return self.run("text", {"tokens": np.array(padded, np.int64)})["sentence_embedding"]

    def search(
        self, memory: dict[str, np.ndarray], allowed: np.ndarray
    ) -> list[tuple[list[int], float]]:
        """Beam search: finished captions and their scores, the best first."""
        rule = self.model["search"]
        beam, end = rule["beam"], rule["end"]
        living: list[tuple[list[int], float]] = [([], 0.0)]
        parents = [0]
        layers, _, heads, _, size = memory["memory_keys"].shape
        keys = values = np.zeros((layers, 1, heads, 0, size), np.float32)
        finished: list[tuple[list[int], float]] = []
        for length in range(rule["max_length"] + 1):
            last = [tokens[-1] if tokens else rule["start"] for tokens, _ in living]
            outputs = self.run(
                "step",
                {
                    "tokens": np.array(last, np.int64),
                    "parents": np.array(parents, np.int64),
                    "past_keys": keys,
                    "past_values": values,
                    **memory,
                },
            )
            keys, values = outputs["keys"], outputs["values"]
            choices = []
            for row, (tokens, total) in enumerate(living):
                for token in self.possible(tokens, allowed):
                    choices.append((total + float(outputs["log_probs"][row, token]), row, token))
            choices.sort(key=lambda choice: (-choice[0], choice[1], choice[2]))
            grown, parents = [], []
            for rank, (total, row, token) in enumerate(choices[: 2 * beam]):
                if len(grown) == beam:
                    break
                if token != end:
                    grown.append(([*living[row][0], token], total))
                    parents.append(row)
                elif rank < beam:
                    score = total / (length + 1) ** rule["length_penalty"]
                    finished.append((living[row][0], score))
            if not grown or len(finished) >= beam:
                break
            living = grown
        return sorted(finished, key=lambda one: -one[1])[:beam]

    def followers(self, tokens: list[int]) -> list[int]:
        """Returns the tokens that may follow the last two, or the start."""
        starts, start = self.arrays["starts"], self.model["search"]["start"]
        first, *second = [start, *tokens][-2:]
        after = self.arrays["followers"][starts[first] : starts[first + 1]].tolist()
        if not second:
            return after
        pair = starts[first] + after.index(second[0])
        pair_starts = self.arrays["pair_starts"]
        return self.arrays["pair_followers"][pair_starts[pair] : pair_starts[pair + 1]].tolist()

    def possible(self, tokens: list[int], allowed: np.ndarray) -> list[int]:
        """Returns the tokens that may come next."""
        rule, size = self.model["search"], self.model["search"]["no_repeat_ngram"]
        followers = self.followers(tokens)
        if len(tokens) == rule["max_length"]:
            return [token for token in followers if token == rule["end"]]
        said = set()
        if rule["no_repeat_words"]:
            said = set(tokens) - set(rule["repeatable"])
        if size and len(tokens) >= size:
            beginning = tokens[len(tokens) - size + 1 :]
            for place in range(len(tokens) - size + 1):
                if tokens[place : place + size - 1] == beginning:
                    said.add(tokens[place + size - 1])
        return [
            token
            for token in followers
            if token not in said
            and token not in rule["never"]
            and (allowed[token] or token == rule["end"])
            and (token != rule["end"] or len(tokens) >= rule["min_length"])
        ]

    def is_faithful(
        self, said: list[str], chosen: Chosen, forbidden: set[str], known: set[str]
    ) -> bool:
        """Whether a caption tells all events, and nothing else."""
        starts = [self.first_mention(said, e.index) for e in chosen.events]
        if math.inf in starts or (chosen.relation == "then" and starts != sorted(starts)):
            return False
        told = [
            self.telling("repetition", e.repetition)
            for e in chosen.events
            if e.repetition != "none"
        ]
        told += [self.telling("trend", e.trend) for e in chosen.events if e.trend != "none"]
        if chosen.relation == "then":
            told.append(self.model["wording"]["order_phrases"])
        text = f" {' '.join(said)} "
        if not all(any(f" {phrase} " in text for phrase in phrases) for phrases in told):
            return False
        if not forbidden.isdisjoint(said) or self.tells_twice(said, chosen):
            return False
        return not self.invents(said, chosen, known)

    def tells_twice(self, said: list[str], chosen: Chosen) -> bool:
        """Whether two clauses tell a single event."""
        if len(chosen.events) != 1:
            return False
        index, joining = chosen.events[0].index, self.model["wording"]["joining_words"]
        parts = [(said[:p], said[p + 1 :]) for p, word in enumerate(said) if word in joining]
        return any(
            all(self.first_mention(part, index) < math.inf for part in pair) for pair in parts
        )

    def first_mention(self, said: list[str], index: int) -> float:
        """Returns where a caption first mentions a class, or infinity."""
        phrases = self.classes[index]["phrases"]
        found = [
            start
            for start in range(len(said))
            for end in range(start + 1, len(said) + 1)
            if " ".join(said[start:end]) in phrases
        ]
        return min(found, default=math.inf)

    def invents(self, said: list[str], chosen: Chosen, known: set[str]) -> bool:
        """Whether a caption mentions a class or people that its events do not."""
        people = set(self.model["wording"]["people"])
        fine = {e.index for e in chosen.events}
        for event in chosen.events:
            fine.update(self.classes[event.index]["ancestors"])
        known_stems = {self.stem(word) for word in known}
        start = 0
        while start < len(said):
            most = min(len(said), start + self.longest_phrase)
            ends = [e for e in range(most, start, -1) if " ".join(said[start:e]) in self.phrases]
            if not ends:
                start += 1
                continue
            phrase = said[start : ends[0]]
            if (
                fine.isdisjoint(self.phrases[" ".join(phrase)])
                and not known_stems.issuperset(map(self.stem, phrase))
                and not people.issuperset(phrase)
            ):
                return True
            start = ends[0]
        return people.isdisjoint(known) and not people.isdisjoint(said)

    def stem(self, word: str) -> str:
        """Returns a word roughly without its ending."""
        rule = self.model["wording"]
        shortest = rule["shortest_stem"]
        for ending in rule["stem_endings"]:
            if word.endswith(ending) and len(word) - len(ending) >= shortest:
                word = word[: -len(ending)]
                break
        return word[:-1] if len(word) > shortest and word[-1] == word[-2] else word

    def plain_captions(self, chosen: Chosen) -> list[str]:
        """Returns the folder's own captions of the events."""
        rule, first = self.model["wording"], chosen.events[0]
        if len(chosen.events) == 1 and first.repetition == first.trend == "none":
            return self.classes[first.index]["sentences"]
        clauses = []
        for event in chosen.events:
            parts = [self.classes[event.index]["clause"]]
            for kind in ("repetition", "trend"):
                number = str(self.model["plan"][f"{kind}s"][getattr(event, kind)])
                parts += [rule[f"template_{kind}s"][number]] if number != "0" else []
            clauses.append(" ".join(parts))
        return [(" and then " if chosen.relation == "then" else " while ").join(clauses)]

    def written(self, text: str) -> str:
        """Returns a caption with commas, a capital and a full stop."""
        words = text.split(" ")
        for phrase in self.model["wording"]["comma_before"]:
            size = len(phrase.split(" "))
            for place in range(1, len(words) - size + 1):
                if " ".join(words[place : place + size]) == phrase:
                    words[place - 1] += ","
        sentence = " ".join(words)
        return f"{sentence[0].upper()}{sentence[1:]}."
