"""A worker process: it runs one job after another, and survives every job that it can refuse."""

import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

import numpy as np

from auricle.captioning.captioner import Captioner, load
from auricle.errors import AuricleError
from auricle.serving import messages
from auricle.serving.jobs import caption_job, decode_job, film_job, rank_job
from auricle.serving.messages import (
    Begun,
    CaptionJob,
    DecodeJob,
    Done,
    Failed,
    FilmJob,
    FromServer,
    FromWorker,
    Job,
    RankJob,
    Ready,
    Stop,
)
from auricle.serving.tape import LostUploadError, StoppedError


class SocketChannel:
    """The worker's end of the socket to the server."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._file = end.makefile("rwb")

    def receive(self) -> FromServer | None:
        """Return the server's next message, or None if the server is gone."""
        head = self._file.read(messages.LENGTH.size)
        if len(head) < messages.LENGTH.size:
            return None
        return messages.decode_job(self._file.read(messages.LENGTH.unpack(head)[0]))

    def send(self, message: FromWorker) -> None:
        """Send a message to the server."""
        self._file.write(messages.encode_answer(message))
        self._file.flush()

    def check(self) -> None:
        """Raise `StoppedError` if the server sent `Stop`; during a job it sends nothing else."""
        if select.select([self._socket], [], [], 0)[0]:
            self.receive()
            raise StoppedError


def work(end: socket.socket, checkpoint: Path | None, memory: int) -> None:
    """Run jobs until the server closes the socket.

    Args:
        end: the worker's end of the socket.
        checkpoint: the folder to caption with; the embedded model if None.
        memory: bytes that a job may allocate beyond the model's, on systems with such a limit.
    """
    # Ctrl-C reaches all processes of a terminal; the server stops its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = SocketChannel(end)
    try:
        captioner = load(checkpoint)
        noise = np.random.default_rng(0).normal(0, 0.1, captioner.rate).astype(np.float32)
        captioner.caption(noise)  # so that memory that every job needs does not count
        _limit_memory(memory)
        channel.send(Ready())
        while (message := channel.receive()) is not None:
            if isinstance(message, Stop):  # it came too late: the job has ended already
                continue
            channel.send(Begun())
            end_message = _ended(captioner, message, channel, memory)
            channel.send(end_message)
            if isinstance(end_message, Failed) and end_message.worker_exits:
                return
    except AuricleError as error:  # the checkpoint is gone, say
        channel.send(Failed(str(error), 503, worker_exits=True))
    except (BrokenPipeError, ConnectionError):
        return


def _ended(captioner: Captioner, job: Job, channel: SocketChannel, memory: int) -> Done | Failed:
    """Run a job to its end, and return how it ended."""
    try:
        match job:
            case CaptionJob():
                caption_job(captioner, job, channel)
            case RankJob():
                rank_job(captioner, job, channel)
            case DecodeJob():
                decode_job(captioner, job, channel)
            case FilmJob():
                film_job(job, channel)
    except StoppedError:
        return Done()
    except LostUploadError as error:
        return Failed(str(error), 503)
    except AuricleError as error:
        return Failed(str(error))
    except (BrokenPipeError, ConnectionError):
        raise
    except Exception as error:
        # After an unexpected error or without memory, this process cannot be relied on.
        if isinstance(error, MemoryError) or "alloc" in str(error).lower():
            limit = f"it takes more than the allowed {memory >> 20} MB of memory"
            return Failed(limit, worker_exits=True)
        traceback.print_exc(file=sys.stderr)
        return Failed("the server failed; its log says why", 500, worker_exits=True)
    return Done()


def _limit_memory(extra: int) -> None:
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError):  # Windows, and systems that do not tell how much is in use
        return
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, now + extra))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
