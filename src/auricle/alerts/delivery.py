"""Delivers alerts in the background, and keeps those that must be tried again.

    put ──> kept alerts, each with its next time ──> thread: deliver ──> delivered
                 └──────────── try later ────────────────────┘  └──> refused: reported

Each alert has a time of its own, so one that must wait an hour does not delay the others.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# Seconds before each further try; the last one repeats.
WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
MOST_WAITING_ALERTS = 100  # alerts; the oldest give way
SHORTEST_WAIT_SECONDS = 0.01  # a server that asks for no wait gets a short one
REPORTED_WAIT_SECONDS = 60.0  # a wait from this length on is reported

Say = Callable[[str], None]
Fields = Mapping[str, object]


class TryLaterError(Exception):
    """The alert was not delivered, and may be later.

    Args:
        problem: why, without secrets.
        seconds: the wait that the receiver asks for; None if it asks for none.
    """

    def __init__(self, problem: str, seconds: float | None = None) -> None:
        super().__init__(problem)
        self.seconds = seconds


class DeliveryRefusedError(Exception):
    """The alert was not delivered, and a further try would end the same; the text says why."""


@dataclass(eq=False)
class _Kept:
    """An alert that is not delivered yet."""

    fields: Fields
    due: float  # by `time.monotonic`: not tried before
    failures: int = 0
    problem: str = "it was not tried"


class Delivery:
    """Delivers alerts to one receiver on a thread of its own.

    Args:
        name: of the receiver, for messages.
        deliver: delivers an alert, once; may raise TryLaterError and DeliveryRefusedError.
        say: takes messages about alerts that were not delivered.
        most_kept: alerts that wait, `MOST_WAITING_ALERTS` if None; the oldest give way.
        counted: whether messages give the number of lost alerts instead of their text. A receiver
            of all rows would fill the log with them.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Fields], None],
        say: Say,
        *,
        most_kept: int | None = None,
        counted: bool = False,
    ) -> None:
        self._name, self._deliver, self._say = name, deliver, say
        self._most_kept = MOST_WAITING_ALERTS if most_kept is None else most_kept
        self._counted = counted
        self._lost = 0  # counted, and not reported yet
        self._changed = threading.Condition()
        self._kept: list[_Kept] = []  # the oldest first
        self._current: _Kept | None = None  # one of them, while it is tried
        self._deadline: float | None = None  # by `time.monotonic`, once `close` was called
        # A daemon: a server that never answers must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, fields: Fields) -> None:
        """Takes an alert; returns at once."""
        lost = None
        with self._changed:
            waiting = [kept for kept in self._kept if kept is not self._current]
            if len(waiting) >= self._most_kept:
                lost = waiting[0]
                self._kept.remove(lost)
            self._kept.append(_Kept(fields, time.monotonic()))
            self._changed.notify()
        if lost is not None:
            lost.problem = f"{self._most_kept} alerts wait, and the oldest is lost"
            self._report([lost])

    def close(self, deadline: float) -> None:
        """Waits until all alerts are delivered, and reports those that are not.

        Args:
            deadline: the end of the wait, by `time.monotonic`.
        """
        with self._changed:
            self._deadline = deadline
            self._changed.notify()
        with contextlib.suppress(KeyboardInterrupt):  # the user does not want to wait
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._deadline = 0.0
            left, self._kept = self._kept, []
        self._report(left)
        self._report_count()

    def _work(self) -> None:
        while (kept := self._next()) is not None:
            message, again = None, False
            try:
                self._deliver(kept.fields)
            except TryLaterError as error:
                message, again = self._postpone(kept, error), True
            except DeliveryRefusedError as error:
                message = f"{error}: not delivered: {_line(kept.fields)}"
            except Exception as error:  # the next alert must still be delivered
                # Without its text, which may repeat a secret.
                message = f"{type(error).__name__}: not delivered: {_line(kept.fields)}"
            with self._changed:
                self._current = None
                if kept not in self._kept:  # `close` has reported it
                    return
                if not again:
                    self._kept.remove(kept)
            if message is not None:
                self._say(f"{self._name}: {message}")
            self._report_count()

    def _next(self) -> _Kept | None:
        """Waits for the alert to try next; None when there is nothing left to try in time."""
        with self._changed:
            while True:
                kept = min(self._kept, key=lambda kept: kept.due, default=None)
                if self._deadline is not None and (kept is None or kept.due > self._deadline):
                    return None
                wait = None if kept is None else kept.due - time.monotonic()
                if kept is not None and wait is not None and wait <= 0:
                    self._current = kept
                    return kept
                self._changed.wait(wait)

    def _postpone(self, kept: _Kept, error: TryLaterError) -> str | None:
        """Sets the time of the next try; returns a message where the wait is long."""
        own_wait = WAITS_SECONDS[min(kept.failures, len(WAITS_SECONDS) - 1)]
        wait = own_wait if error.seconds is None else max(error.seconds, SHORTEST_WAIT_SECONDS)
        first_long_wait = wait >= REPORTED_WAIT_SECONDS and kept.problem != str(error)
        with self._changed:
            kept.due = time.monotonic() + wait
            kept.failures += 1
            kept.problem = str(error)
        return (
            f"{error}: an alert is kept, and tried again in {wait:.0f} s"
            if first_long_wait
            else None
        )

    def _report(self, lost: Sequence[_Kept]) -> None:
        """Reports lost alerts one by one, or counts them."""
        if self._counted:
            with self._changed:
                self._lost += len(lost)
            return
        for kept in lost:
            self._say(f"{self._name}: {kept.problem}: not delivered: {_line(kept.fields)}")

    def _report_count(self) -> None:
        """Reports the number of alerts that were counted since the last report."""
        with self._changed:
            lost, self._lost = self._lost, 0
        if lost:
            self._say(f"{self._name}: {lost} messages were lost")


def _line(fields: Fields) -> str:
    """Returns an alert as one line, so that the log keeps it."""
    return json.dumps(fields, ensure_ascii=True)
