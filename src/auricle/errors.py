"""The errors that a user meets: one line with the finding, the expectation and the way out."""


class AuricleError(Exception):
    """Base of all expected errors.

    The command line prints the message as one line and exits with 1.
    """


class AudioError(AuricleError):
    """A sound that cannot be read; the message begins with its name."""


class TooLongError(AudioError):
    """A sound that lasts longer than the caller allows."""


def printable(name: str) -> str:
    """A name fit for one line of a terminal, whatever the file is called."""
    return "".join(character if character.isprintable() else "?" for character in name)
