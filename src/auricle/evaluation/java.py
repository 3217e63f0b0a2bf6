"""Finds Java, checks its version, and runs programs in it.

METEOR, SPICE and the PTB tokenizer are Java programs.
"""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from auricle.errors import AuricleError

OLDEST = 8
OLDEST_FOR_SPICE = 17
START_SECONDS = 120.0  # the limit for a program that loads its tables or models
# METEOR reads and writes numbers in the user's locale; decimal commas would break it.
LOCALE = ("-Duser.country=US", "-Duser.language=en", "-Dfile.encoding=UTF-8")


class MissingJavaError(AuricleError):
    """Raised if there is no usable Java; the message names the places that were searched."""


class JavaError(AuricleError):
    """Raised if a Java program fails."""


class JavaTimeoutError(JavaError):
    """Raised if a Java program takes longer than its limit."""


class JavaProcess:
    """A Java program that stays alive and answers each line with a line.

    Close it, or let the program end with this process. Threads must not share it.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], *, oldest: int, folder: Path | None = None
    ) -> None:
        """Starts Java; returns before the program is ready.

        Args:
            name: the program's name, for messages.
            arguments: of Java.
            oldest: the oldest version of Java that runs the program.
            folder: the working folder.

        Raises:
            MissingJavaError: Java is missing or too old.
        """
        self.name = name
        command = [find_java(oldest), *LOCALE, *arguments]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )

    @property
    def alive(self) -> bool:
        """True while the program runs."""
        return self._process.poll() is None

    def ask(self, lines: Sequence[str], seconds: float, *, answers: int | None = None) -> list[str]:
        """Writes lines and returns the answers.

        Args:
            lines: without line breaks.
            seconds: the limit of all answers together.
            answers: the number of lines of the answer; the number of `lines` if None.

        Raises:
            JavaTimeoutError: the answers took longer; the process has been closed.
            JavaError: the program stopped; the process has been closed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        stdin, stdout = self._process.stdin, self._process.stdout
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        def write() -> None:
            # The reader notices a broken pipe too, and reports the program's last output.
            with contextlib.suppress(OSError, ValueError):
                stdin.write("".join(line + "\n" for line in lines).encode("utf-8"))
                stdin.flush()

        # A thread writes while this one reads, so that neither side waits for a full pipe.
        writer = threading.Thread(target=write, daemon=True)
        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        writer.start()
        timer.start()
        expected = len(lines) if answers is None else answers
        read: list[str] = []
        try:
            while len(read) < expected:
                answer = stdout.readline()
                if not answer.endswith(b"\n"):
                    break
                read.append(answer.decode("utf-8").strip())
        except BaseException:  # later calls would read the answers of these lines
            self.close()
            raise
        finally:
            timer.cancel()
        if len(read) == expected and not expired.is_set():
            writer.join()
            return read
        last_output = self._last_output()
        writer.join()
        self.close()
        if expired.is_set():
            raise JavaTimeoutError(f"{self.name} took more than {seconds:g} s")
        raise JavaError(f"{self.name} stopped: {_cause(last_output)}")

    def _last_output(self) -> bytes:
        self._process.kill()
        self._process.wait()
        self._complaints.seek(0)
        return self._complaints.read()

    def close(self) -> None:
        """Ends the program."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            # Closing flushes, which fails on a pipe whose reader is gone.
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        self._process.wait()
        self._complaints.close()


@functools.cache
def _version(java: str) -> int:
    """Returns the major version of the Java at a path: 17 for `17.0.15`, 8 for `1.8.0_392`."""
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingJavaError(
            f"{java} cannot be run ({error}): install Java {OLDEST_FOR_SPICE} or newer"
        ) from error
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if answer.returncode != 0 or version is None:
        output = " ".join((answer.stderr + answer.stdout).split())[:120]
        raise MissingJavaError(
            f"{java} -version printed {output!r}: install Java {OLDEST_FOR_SPICE} or newer"
        )
    return int(version[1])


def find_java(oldest: int = OLDEST) -> str:
    """Returns the path of `$JAVA_HOME/bin/java`, else of `java` on the PATH.

    Raises:
        MissingJavaError: Java is missing or too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    if java is None:
        in_home = "none in JAVA_HOME" if home else "JAVA_HOME not set"
        raise MissingJavaError(
            f"Java is not installed (no `java` on the PATH, {in_home}): "
            f"install Java {OLDEST_FOR_SPICE} or newer"
        )
    version = _version(java)
    if version < oldest:
        raise MissingJavaError(
            f"{java} is Java {version}: install Java {oldest} or newer, or set JAVA_HOME to it"
        )
    return java


def run_java(arguments: Sequence[str], *, oldest: int = OLDEST, folder: Path | None = None) -> str:
    """Runs Java in `folder` until it ends and returns its output.

    Raises:
        MissingJavaError: Java is missing or too old.
        JavaError: the program failed; the message gives the cause.
    """
    command = [find_java(oldest), *LOCALE, *arguments]
    done = subprocess.run(command, capture_output=True, cwd=folder, check=False)
    if done.returncode != 0:
        raise JavaError(f"Java failed with exit status {done.returncode}: {_cause(done.stderr)}")
    return done.stdout.decode("utf-8")


def _cause(stderr: bytes) -> str:
    """Returns the line that names the exception, else the last line."""
    lines = [
        line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    named = [
        line
        for line in lines
        if re.search(r"(Exception|Error)\b", line) and not line.startswith("at ")
    ]
    return (named or lines or ["no error message"])[-1][:300]
