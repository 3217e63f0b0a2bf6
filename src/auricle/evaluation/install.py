"""Installs CoreNLP, which SPICE needs, into the user's cache: `auricle metrics install`.

CoreNLP 3.6.0 is downloaded from its publisher, or copied from a folder. Of its 378 MB of models,
only the 9 MB that SPICE reads are kept. SPICE also loads models of named entities and never uses
them. A stub replaces their 70 MB: CoreNLP trains it here on four sentences of ours, and the scores
are the same. Newer versions of Java lack a JavaScript engine; `spice_engine` replaces it.
"""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from auricle.errors import AuricleError
from auricle.evaluation.chunks import Unscored
from auricle.evaluation.java import OLDEST_FOR_SPICE, find_java, run_java
from auricle.evaluation.spice import CODE_JAR, MODELS_JAR, classpath, metrics_folder, run_spice
from auricle.evaluation.toolkit import toolkit_folder
from auricle.storage.download import DownloadProgress, download

CORENLP = "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
_ARCHIVE = CORENLP.rpartition("/")[2]
_WHOLE_MODELS_JAR = "stanford-corenlp-3.6.0-models.jar"
_MOST_BYTES = 1 << 30

_CODE_SHA256 = "d341d5863276f55782c5ef73212222d6b3b48e02ae1951ab6de7618d28b12742"
_MODELS = "edu/stanford/nlp/models/"
# The SHA-256 and name of each file.
_MODEL_FILES = """
ed674cce7311f76c018806e61cdb045e219258ee30014da4e3e686b9230ebea9 lexparser/englishPCFG.ser.gz
46ba13e43fe7312039fcb02d01cc00ead71de36070084b59c6f488f51da630ae sutime/defs.sutime.txt
424d04e255509d22bfdd1e8debd91fe67c494f7286faf078a21a915dade662da sutime/jollyday/Holidays_sutime.xml
044e81b5cf93c919ce53f8657399afd00b47557a86729c3790367b1911baf0c5 sutime/english.sutime.txt
c9679758bf8fb8a8080380088bffbcbb5db4444fbf7b73f47d41594550d0330b sutime/english.holidays.sutime.txt
59d6f108e8d9d7511f386a76c8aacf1ae67a8a1d0635d91b82fdb27da15ac5f2 dcoref/demonyms.txt
390bf299f876b557ecf7d383059b77957466b172e1c6d953b0479594d7424430 dcoref/state-abbreviations.txt
5b186bd60d88cdf7cb6fda51ec6bcb24975d503e155283b1b1e49f30b393ae76 dcoref/gender.map.ser.gz
00cd22f600bb20c7906e754322486968b8d76d8905b02e634a2142c8083d2484 dcoref/statesandprovinces
f098d0dec513de3729b4274d16bb0cc35c4bf2b801219885ee3c7e7fbbf56374 dcoref/animate.unigrams.txt
3e4bcd3c30f80138bafb4c7995b358f84d698632246b552286cad629592b3754 dcoref/inanimate.unigrams.txt
aca387cfc0033623bcdf6d0d876e850abcda0d88cdef58ea6dc6dccf7caaae87 dcoref/countries
"""
_MODELS_SHA256 = {
    name: sha256 for sha256, name in (line.split() for line in _MODEL_FILES.split("\n") if line)
}
_NER_MODELS = ("all.3class", "muc.7class", "conll.4class")

# Words with their entity: each kind of entity once, and words without one.
_NER_SENTENCES = (
    "A/O cat/O meows/O ./O",
    "Ann/PERSON whistles/O ./O",
    "Bells/O ring/O in/O Rome/LOCATION ./O",
    "NASA/ORGANIZATION launches/O rockets/O ./O",
)
_NER_PROPERTIES = """\
trainFile = entities.tsv
serializeTo = entities.ser.gz
map = word=0,answer=1
useClassFeature = true
useWord = true
maxLeft = 1
type = crf
readerAndWriter = edu.stanford.nlp.sequences.ColumnDocumentReaderAndWriter
"""


class InstallError(AuricleError):
    """Raised if CoreNLP cannot be installed."""


def install(
    source: Path | None = None, *, url: str = CORENLP, progress: DownloadProgress | None = None
) -> Path:
    """Installs CoreNLP into the user's cache, scores a caption with it, and returns the folder.

    Args:
        source: a folder with CoreNLP's archive, its two jars, or the jars of another installation.
            If None, 500 MB are downloaded; the next call resumes a broken download.
        url: the archive's address.
        progress: receives the bytes downloaded and all bytes.

    Raises:
        MissingJavaError: there is no Java for SPICE.
        MissingToolkitError: the extra `metrics` is not installed.
        DownloadError: the archive cannot be downloaded.
        InstallError: a file is damaged or missing, or SPICE does not run.
    """
    find_java(OLDEST_FOR_SPICE)
    toolkit_folder("spice")
    folder = metrics_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="installing-") as name:
        work = Path(name)
        if source is None:
            archive = folder / _ARCHIVE
            download(
                url,
                archive,
                check=_checked(lambda path: _unpack(path, work)),
                progress=progress,
                max_bytes=_MOST_BYTES,
            )
        else:
            archive = None
            _copy_jars(source, work)
        _add_entities(work)
        (score,) = run_spice(work, ["a dog barks"], [["a dog barks while rain falls"]])
        if isinstance(score, Unscored) or not 0 < score < 1:
            raise InstallError(
                f"SPICE scored {score} for a test caption: expected between 0 and 1: please report "
                "this"
            )
        for jar in (CODE_JAR, MODELS_JAR):
            (work / jar).replace(folder / jar)
        if archive is not None:
            archive.unlink()
    return folder


def _checked(unpack: Callable[[Path], None]) -> Callable[[Path], str | None]:
    """Turns `unpack`, which compares checksums, into a check for `download`."""

    def check(path: Path) -> str | None:
        try:
            unpack(path)
        except InstallError as error:
            return str(error)
        return None

    return check


def _copy_jars(source: Path, work: Path) -> None:
    """Copies both jars from a folder into `work`."""
    if not source.is_dir():
        raise InstallError(f"{source} is not a folder: give a folder with CoreNLP 3.6.0")
    if (source / _ARCHIVE).is_file():
        _unpack(source / _ARCHIVE, work)
        return
    code = source / CODE_JAR
    models = next(
        (source / jar for jar in (_WHOLE_MODELS_JAR, MODELS_JAR) if (source / jar).is_file()), None
    )
    if not code.is_file() or models is None:
        raise InstallError(
            f"{source}: expected {_ARCHIVE}, or both {CODE_JAR} and {_WHOLE_MODELS_JAR}"
        )
    shutil.copyfile(code, work / CODE_JAR)
    _check_code(work / CODE_JAR)
    _keep_models(models, work / MODELS_JAR)


def _unpack(archive: Path, work: Path) -> None:
    """Unpacks both jars from CoreNLP's archive into `work`."""
    try:
        with zipfile.ZipFile(archive) as whole:
            for jar in (CODE_JAR, _WHOLE_MODELS_JAR):
                member = next((name for name in whole.namelist() if name.endswith("/" + jar)), None)
                if member is None:
                    raise InstallError(f"{archive.name} does not hold {jar}")
                with whole.open(member) as packed, (work / jar).open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
    except zipfile.BadZipFile as error:
        raise InstallError(f"{archive.name} is not a complete zip archive ({error})") from error
    _check_code(work / CODE_JAR)
    _keep_models(work / _WHOLE_MODELS_JAR, work / MODELS_JAR)
    (work / _WHOLE_MODELS_JAR).unlink()


def _check_code(jar: Path) -> None:
    actual = hashlib.sha256(jar.read_bytes()).hexdigest()
    if actual != _CODE_SHA256:
        raise InstallError(
            f"{jar.name} has sha256 {actual}: expected that of CoreNLP 3.6.0, {_CODE_SHA256}"
        )


def _keep_models(whole: Path, kept: Path) -> None:
    """Copies the entries that SPICE reads."""
    try:
        with (
            zipfile.ZipFile(whole) as jar,
            zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as small,
        ):
            for name, sha256 in _MODELS_SHA256.items():
                try:
                    content = jar.read(_MODELS + name)
                except KeyError:
                    raise InstallError(f"{whole.name} does not hold {_MODELS}{name}") from None
                actual = hashlib.sha256(content).hexdigest()
                if actual != sha256:
                    raise InstallError(
                        f"{name} in {whole.name} has sha256 {actual}: "
                        f"expected that of CoreNLP 3.6.0, {sha256}"
                    )
                small.writestr(_MODELS + name, content)
    except zipfile.BadZipFile as error:
        raise InstallError(f"{whole.name} is not a complete jar ({error})") from error


def _add_entities(work: Path) -> None:
    """Trains the stub of a named-entity model, and stores it instead of the three real models."""
    sentences = (
        "\n".join(word.replace("/", "\t") for word in line.split()) for line in _NER_SENTENCES
    )
    (work / "entities.tsv").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    (work / "entities.prop").write_text(_NER_PROPERTIES, encoding="utf-8")
    trainer = [
        "-cp",
        classpath(work),
        "edu.stanford.nlp.ie.crf.CRFClassifier",
        "-prop",
        "entities.prop",
    ]
    run_java(trainer, oldest=OLDEST_FOR_SPICE, folder=work)
    with zipfile.ZipFile(work / MODELS_JAR, "a") as jar:
        for model in _NER_MODELS:
            jar.write(work / "entities.ser.gz", f"{_MODELS}ner/english.{model}.distsim.crf.ser.gz")
