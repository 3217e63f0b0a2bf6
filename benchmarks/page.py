r"""The cost of the page in Chromium: first caption, long tasks, and memory over hours.

    export OMP_NUM_THREADS=1
    python benchmarks/page.py file --minutes 30
    python benchmarks/page.py file --minutes 180 --film --sounds ../shared/corpus/audio
    python benchmarks/page.py live --hours 8

`file` gives the page a file that is made here, and counts the tasks of its main thread that take
longer than 50 ms: by the clock, and in time of the processor, which a busy machine does not change.
`live` lets the page listen to the server's microphone, whose sound comes as fast as it is heard.
Both print the memory of the server, with its workers, and of the browser's tab.
"""

import contextlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import typer
from numpy.typing import NDArray
from playwright.sync_api import Page, sync_playwright

from auricle.sound.decode import load_audio
from serve import memory

EXAMPLES = Path(__file__).parents[1] / "examples"
ENDINGS = (".wav", ".flac", ".ogg")
RATE = 48_000
PICTURES_PER_SECOND = 2
NICENESS = 10  # of the server: a person's browser often has a processor of its own
TASK = "ThreadControllerImpl::RunTask"  # as Chromium calls one in its traces
TRACED_SECONDS = 600  # from the beginning; a trace of hours does not fit into memory
PATIENCE = 120_000  # milliseconds until the page shows something
OBSERVER = """
    window.longTasks = [];
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) longTasks.push([task.startTime, task.duration]);
    }).observe({ type: "longtask", buffered: true });
    window.firstCaption = 0;
    addEventListener("DOMContentLoaded", () => {
        new MutationObserver(() => {
            if (document.querySelector(".option p")) firstCaption ||= performance.now();
        }).observe(document.querySelector("#list"), { childList: true, subtree: true });
    });
"""  # the measurements that the page takes of itself

app = typer.Typer(
    help="Measures the costs of the page in a browser.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Sounds = Annotated[Path, typer.Option(help="A folder of sounds.")]


def some_sounds(folder: Path, rate: int) -> Iterator[NDArray[np.float32]]:
    """Yields sounds of a folder in a fixed random order, without end, (samples,) each."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS)
    rng = np.random.default_rng(0)
    while True:
        samples = load_audio(files[rng.integers(len(files))], rate)
        yield samples * np.float32(rng.uniform(0.2, 1))


def write_media(path: Path, sounds: Iterator[NDArray[np.float32]], seconds: int) -> None:
    """Writes sounds to a file; a .webm gets a test pattern with a bar that moves, too."""
    film = path.suffix == ".webm"
    with av.open(path, "w") as container:
        audio = container.add_stream("libopus" if film else "flac", rate=RATE, layout="mono")
        video = container.add_stream("libvpx", rate=PICTURES_PER_SECOND) if film else None
        if video:
            video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
            video.options = {"deadline": "realtime", "cpu-used": "8"}
        pictures, written = 0, 0
        while written < seconds * RATE:
            samples = next(sounds)[: seconds * RATE - written]
            written += len(samples)
            while video and pictures * RATE < written * PICTURES_PER_SECOND:
                frame = av.VideoFrame.from_ndarray(test_pattern(pictures), "rgb24")
                container.mux(video.encode(frame))
                pictures += 1
            values = samples[None] if film else (samples.clip(-1, 1) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(values, "flt" if film else "s16", "mono")
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
        for stream in filter(None, (audio, video)):
            container.mux(stream.encode(None))


def test_pattern(number: int) -> NDArray[np.uint8]:
    """Returns a picture of eight colours and a white bar, (180, 320, 3)."""
    colours = np.array(
        [[red, green, blue] for red in (0, 1) for green in (0, 1) for blue in (0, 1)]
    )
    picture = np.repeat(np.repeat(colours[None], 180, 0), 40, 1) * 180
    picture[:, 4 * number % 320 :][:, :8] = 255
    return picture.astype(np.uint8)


@contextlib.contextmanager
def serving(niceness: int = NICENESS) -> Iterator[tuple[int, int]]:
    """Runs `auricle serve`; returns its port and its process."""
    command = [sys.executable, "-m", "auricle", "serve", "--port", "0", "--jobs", "1"]
    command += ["--max-wait", "600", "--max-minutes", "600"]
    nicer = ["nice", "-n", str(niceness)]
    with subprocess.Popen([*nicer, *command], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = re.search(r":(\d+)/", server.stdout.readline())
            assert address, "the server did not start"
            yield int(address[1]), server.pid
        finally:
            server.terminate()


@contextlib.contextmanager
def opened(port: int, path: str = "") -> Iterator[Page]:
    """Opens the page in Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("dialog", lambda dialog: dialog.accept())
        page.add_init_script(OBSERVER)
        page.goto(f"http://127.0.0.1:{port}/{path}")
        page.locator("body[data-ready]").wait_for(timeout=PATIENCE)
        yield page
        browser.close()


def tab_memory() -> float:
    """Megabytes of the largest renderer process that this process began."""
    largest = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"--type=renderer" in (folder / "cmdline").read_bytes() and is_ours(folder):
                found = re.search(r"VmRSS:\s*(\d+)", (folder / "status").read_text())
                largest = max(largest, int(found[1]) if found else 0)
    return largest / 1024


def is_ours(folder: Path) -> bool:
    """Whether a process descends from this one."""
    while folder.name != "0":
        if int(folder.name) == os.getpid():
            return True
        parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        folder = folder.with_name(parent)
    return False


def script_memory(page: Page) -> float:
    """Megabytes of the page's JavaScript heap, after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return used / 2**20


def tell_tasks(page: Page) -> None:
    """Prints the long tasks of the page by the clock, which other programs slow down."""
    tasks: list[Any] = page.evaluate("longTasks")
    longest = max((duration for _, duration in tasks), default=0)
    typer.echo(f"over 50 ms by clock   {len(tasks)} tasks, longest {longest:.0f} ms")


def tell_processor(trace: bytes) -> None:
    """Prints the long tasks of the page in time of the processor.

    Args:
        trace: of the browser, as JSON.
    """
    events = json.loads(trace)["traceEvents"]
    pages = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    of_thread: dict[tuple[int, int], list[float]] = {}
    for event in events:
        thread = event["pid"], event["tid"]
        if event["name"] == TASK and thread in pages:
            of_thread.setdefault(thread, []).append(event.get("tdur", 0) / 1000)
    tasks = max(of_thread.values(), key=len)  # other renderers do next to nothing
    typer.echo(
        f"over 50 ms of work    {sum(one > 50 for one in tasks)} of {len(tasks)} tasks, longest "
        f"{max(tasks):.0f} ms; {sum(tasks) / 1000:.1f} s in all"
    )


@app.command()
def file(
    minutes: Annotated[int, typer.Option(help="Of the file.")] = 30,
    film: Annotated[bool, typer.Option("--film", help="With pictures.")] = False,
    sounds: Sounds = EXAMPLES,
) -> None:
    """Caption one long file in the page."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving() as (port, server),
        opened(port) as page,
    ):
        path = Path(folder) / ("long.webm" if film else "long.flac")
        write_media(path, some_sounds(sounds, RATE), 60 * minutes)
        typer.echo(
            f"{minutes} minutes, {path.stat().st_size / 2**20:.0f} MB, "
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
        )
        browser = page.context.browser
        assert browser is not None
        browser.start_tracing(page=page, categories=["toplevel"])
        page.evaluate("longTasks.length = 0")
        began = page.evaluate("performance.now()")
        page.set_input_files("#chooser", path)
        told = time.monotonic()
        traced_until, trace = told + TRACED_SECONDS, b""
        while page.locator("#said", has_text=re.compile("Done|partial|Failed")).count() == 0:
            page.wait_for_timeout(1_000)
            if not trace and time.monotonic() > traced_until:
                trace = browser.stop_tracing()
            if time.monotonic() > told:
                told += max(20, 60 * minutes / 90)
                typer.echo(
                    f"{page.inner_text('#doing'):40} server {memory(server):6.0f} MB  "
                    f"tab {tab_memory():5.0f} MB"
                )
        trace = trace or browser.stop_tracing()
        took = (page.evaluate("performance.now()") - began) / 1000
        first = (page.evaluate("firstCaption") - began) / 1000
        typer.echo(f"{page.inner_text('#summary')}")
        typer.echo(f"first caption         {first:.2f} s after the file was given")
        typer.echo(f"all captions          {took:.0f} s, {60 * minutes / took:.0f} x real time")
        tell_tasks(page)
        tell_processor(trace)
        typer.echo(
            f"tab at the end        {tab_memory():.0f} MB, {script_memory(page):.1f} of scripts"
        )
        worked_on(page)


def worked_on(page: Page) -> None:
    """Works on the captions of a file, and prints the long tasks."""
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=["toplevel"])
    page.evaluate("longTasks.length = 0")
    page.locator("#list").focus()
    for key in ("End", "Home", "ArrowDown", "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(1_000)
    page.fill("#text", "A correction.")
    page.fill("#find", "a")
    page.wait_for_timeout(1_000)
    typer.echo("then: keys, playing, a correction, a search")
    tell_tasks(page)
    tell_processor(browser.stop_tracing())


def serve_sounds(sounds: Path, port: "Synchronized[int]", heard: "Synchronized[float]") -> None:
    """Serves sounds as the server's microphone, as fast as they are heard."""
    os.nice(NICENESS)
    import uvicorn

    from auricle.captioning.captioner import load
    from auricle.cli.serve import bound
    from auricle.live.sources import PIECE_SECONDS, LiveSource
    from auricle.serving.app import make_app
    from auricle.serving.limits import Limits
    from auricle.serving.listening import Microphone

    rate = load().rate
    size = round(PIECE_SECONDS * rate)

    class PatientMicrophone(Microphone):
        """Waits for its listeners; a real microphone drops samples instead."""

        def _give(self, piece: Any) -> None:
            while not self._listeners:
                time.sleep(0.1)
            for listener in tuple(self._listeners):
                listener.put(piece, timeout=60)
            heard.value += PIECE_SECONDS

    def pieces() -> Iterator[NDArray[np.float32]]:
        for samples in some_sounds(sounds, rate):
            for start in range(0, len(samples) - size, size):
                yield samples[start : start + size]

    microphone = PatientMicrophone(LiveSource("sounds", pieces, endless=True), print)
    microphone.start()
    application = make_app(None, Limits(jobs=1), microphone=microphone)
    config = uvicorn.Config(application, log_level="warning", ws="websockets-sansio")
    with contextlib.closing(bound("127.0.0.1", 0)) as socket:
        port.value = socket.getsockname()[1]
        uvicorn.Server(config).run(sockets=[socket])


@app.command()
def live(
    hours: Annotated[float, typer.Option(help="Of sound.")] = 8.0,
    sounds: Sounds = EXAMPLES,
) -> None:
    """Listen for hours in the page."""
    context = multiprocessing.get_context("spawn")
    port, heard = context.Value("i", 0), context.Value("d", 0.0)
    server = context.Process(target=serve_sounds, args=(sounds, port, heard))
    server.start()
    while not port.value:
        time.sleep(0.1)
    assert server.pid is not None
    try:
        with opened(port.value, "#live") as page:
            page.select_option("#source", "server")
            page.check("#keep-history")
            page.fill("#alert-sentence", "a dog barks")
            page.click("#wish button")
            page.click("#listen")
            began, told, shown = time.monotonic(), 0.0, 0
            while heard.value < 3600 * hours:
                page.wait_for_timeout(1_000)
                if heard.value >= told:
                    told += 150 * hours
                    shown = page.locator("#history li").count()
                    typer.echo(
                        f"{heard.value / 3600:5.2f} h  server {memory(server.pid):6.0f} MB  "
                        f"tab {tab_memory():5.0f} MB  scripts {script_memory(page):5.1f} MB  "
                        f"{shown} rows  {page.inner_text('#live-state')}"
                    )
            took = time.monotonic() - began
            typer.echo(f"{heard.value / took:.0f} x real time, load {os.getloadavg()[0]:.1f}")
            tell_tasks(page)
    finally:
        server.terminate()


if __name__ == "__main__":
    app()
