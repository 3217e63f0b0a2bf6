"""Sends alerts to the receivers that a file names: a webhook and a command.

Listening must not wait for a receiver, so each has its own thread (see `delivery`).
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from auricle.alerts.config import AlertConfig, Command
from auricle.alerts.delivery import Delivery, DeliveryRefusedError, Fields, Say
from auricle.alerts.webhook import post

LAST_DELIVERY_SECONDS = 10.0  # at the end, for alerts that still wait


@contextlib.contextmanager
def actions(config: AlertConfig, say: Say) -> Iterator[Callable[[Fields], None]]:
    """Yields a function that takes each alert's fields and returns at once.

    At the end, alerts that still wait have `LAST_DELIVERY_SECONDS` to be delivered; the others are
    reported.

    Args:
        config: the receivers.
        say: takes messages about alerts that were not delivered.
    """
    deliveries: list[Delivery] = []
    if (webhook := config.webhook) is not None:
        deliveries.append(Delivery("webhook", lambda fields: post(webhook, fields), say))
    if (command := config.command) is not None:
        deliveries.append(Delivery("command", lambda fields: _run(command, fields), say))

    def tell(fields: Fields) -> None:
        for delivery in deliveries:
            delivery.put(fields)

    try:
        yield tell
    finally:
        deadline = time.monotonic() + LAST_DELIVERY_SECONDS
        for delivery in deliveries:
            delivery.close(deadline)


def _run(command: Command, fields: Fields) -> None:
    """Runs the program for an alert, and stops it with its children when its time is over.

    Raises:
        DeliveryRefusedError: it failed, or was stopped.
    """
    body = json.dumps(fields, ensure_ascii=False).encode()
    # Its output would mix with the rows of `auricle listen`.
    process = subprocess.Popen(
        command.run,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=os.name == "posix",
    )
    try:
        process.communicate(body, timeout=command.seconds)
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        raise DeliveryRefusedError(
            f"{command.run[0]} was stopped after {command.seconds:g} s"
        ) from None
    if process.returncode:
        raise DeliveryRefusedError(f"{command.run[0]} ended with {process.returncode}")
