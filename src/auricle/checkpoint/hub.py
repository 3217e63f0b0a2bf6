"""Folders on the Hugging Face Hub: fetched by name, and pushed."""

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
    """The folder of a repository; from the Hub's cache if it is there, even without a network.

    Args:
        name: owner/name.
        revision: a branch, tag or commit; the newest state if None.
        files: those that are fetched if they are there, and how many bytes each may have; nothing
            is fetched if one has more.

    Raises:
        AuricleError: there is no such repository or revision, a file is too large, or the Hub
            cannot be reached.
    """
    api = _api()
    with _problems(api, name, revision):
        # The very state that is looked at is fetched, also if somebody pushes meanwhile.
        state = api.resolve_revision(name, revision=revision)
        snapshot = partial(api.snapshot_download, name, revision=state, allow_patterns=[*files])
        try:
            return Path(snapshot(local_files_only=True))
        except LocalEntryNotFoundError:
            for file in snapshot(dry_run=True):
                if (file.file_size or 0) > files[file.filename]:
                    raise AuricleError(
                        f"{name}: {file.filename} has {file.file_size} bytes, and at most "
                        f"{files[file.filename]} are read"
                    ) from None
        return Path(snapshot())


def push(name: str, files: Mapping[str, Path | bytes], *, private: bool, message: str) -> str:
    """Puts files into a repository, in one commit; the repository is made if there is none.

    Args:
        name: owner/name.
        files: by their names there.
        private: whether a repository that is made is one's own only.
        message: of the commit.

    Returns:
        The repository's address.

    Raises:
        AuricleError: one may not, or the Hub cannot be reached.
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
    """The Hub's errors as ours."""
    wanted = name if revision is None else f"{name}@{revision}"
    try:
        yield
    except GatedRepoError:
        raise AuricleError(
            f"{wanted}: its owner wants to be asked first: see {api.endpoint}/{name}"
        ) from None
    except RepositoryNotFoundError:
        raise AuricleError(
            f"{wanted} is no folder, and no repository on {api.endpoint} that you may see: `hf "
            f"auth login` logs you in"
        ) from None
    except RevisionNotFoundError:
        raise AuricleError(f"{name} on {api.endpoint} has no revision {revision}") from None
    except (LocalEntryNotFoundError, RevisionResolutionError):
        raise AuricleError(
            f"{wanted} is no folder, not in the cache, and {api.endpoint} cannot be reached"
        ) from None
    except (HTTPError, OSError, ValueError) as error:
        raise AuricleError(f"{wanted} on {api.endpoint}: {str(error).splitlines()[0]}") from None
