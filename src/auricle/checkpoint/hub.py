"""Downloads folders from the Hugging Face Hub by name, and uploads them."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from auricle.errors import AuricleError


def fetch(name: str, revision: str | None, files: Mapping[str, int]) -> Path:
    """Returns the folder of a repository, from the Hub's cache if possible, even without a network.

    Args:
        name: owner/name.
        revision: a branch, tag or commit; the newest state if None.
        files: the files to download, by name, with the maximum size of each in bytes. Files that
            the repository lacks are skipped. If a file is larger, nothing is downloaded.

    Raises:
        AuricleError: there is no such repository or revision, a file is too large, or the Hub
            cannot be reached.
    """
    api = _api()
    with _problems(api, name, revision):
        # Resolves the revision once, so that a push in between cannot change the checked files.
        state = api.resolve_revision(name, revision=revision)
        snapshot = partial(api.snapshot_download, name, revision=state, allow_patterns=[*files])
        try:
            return Path(snapshot(local_files_only=True))
        except LocalEntryNotFoundError:
            for file in snapshot(dry_run=True):
                if (file.file_size or 0) > files[file.filename]:
                    raise AuricleError(
                        f"{name}: {file.filename} has {file.file_size} bytes: expected at most "
                        f"{files[file.filename]}"
                    ) from None
        return Path(snapshot())


def push(name: str, files: Mapping[str, Path | bytes], *, private: bool, message: str) -> str:
    """Uploads files into a repository in one commit; creates a missing repository.

    Args:
        name: owner/name.
        files: by their names in the repository.
        private: whether a new repository is private.
        message: of the commit.

    Returns:
        The repository's address.

    Raises:
        AuricleError: the user may not do this, or the Hub cannot be reached.
    """
    api = _api()
    with _problems(api, name, None):
        api.create_repo(name, private=private, exist_ok=True)
        operations = [CommitOperationAdd(file, content) for file, content in files.items()]
        return str(api.create_commit(name, operations, commit_message=message).repo_url)


def _api() -> HfApi:
    return HfApi(library_name="auricle", library_version=version("auricle"))


@contextlib.contextmanager
def _problems(api: HfApi, name: str, revision: str | None) -> Iterator[None]:
    """Turns errors of the Hub into AuricleError."""
    requested = name if revision is None else f"{name}@{revision}"
    try:
        yield
    except GatedRepoError:
        raise AuricleError(
            f"{requested} needs its owner's permission: ask for it at {api.endpoint}/{name}"
        ) from None
    except RepositoryNotFoundError:
        raise AuricleError(
            f"no folder {requested}, and no such repository on {api.endpoint} that you may read: "
            "check the name, or log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise AuricleError(f"{name} on {api.endpoint} has no revision {revision}") from None
    except (LocalEntryNotFoundError, RevisionResolutionError):
        raise AuricleError(
            f"no folder {requested}, it is not in the cache, and {api.endpoint} cannot be reached: "
            "check the name and the network"
        ) from None
    except (HTTPError, OSError, ValueError) as error:
        raise AuricleError(f"{requested} on {api.endpoint}: {str(error).splitlines()[0]}") from None
