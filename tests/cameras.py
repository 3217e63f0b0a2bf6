"""RTSP cameras on loopback: GStreamer's server, in the system's Python, which has its bindings."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mosquitto import wait_for_server

PYTHON = shutil.which("python3", path="/usr/bin")
NEEDS = 'import gi; gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")'
PROGRAM = (
    NEEDS
    + """
import sys
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
for name, wave in (("/tone", "sine"), ("/ticks", "ticks")):
    camera = GstRtspServer.RTSPMediaFactory.new()
    camera.set_shared(True)
    camera.set_launch(
        f"( audiotestsrc is-live=true wave={wave} ! audio/x-raw,rate=16000,channels=1,"
        "format=S16BE ! rtpL16pay name=pay0 pt=96 )"
    )
    server.get_mount_points().add_factory(name, camera)
assert server.attach(None)
GLib.MainLoop().run()
"""
)


class Cameras:
    """A server with the streams `tone` and `ticks`, which tests stop and start again."""

    def __init__(self) -> None:
        if PYTHON is None or subprocess.run([PYTHON, "-c", NEEDS], capture_output=True).returncode:
            pytest.skip(
                "there is no RTSP server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi "
                "gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, name: str) -> str:
        """The address of a stream; cameras want passwords, this one takes any."""
        return f"rtsp://me:secret@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        assert PYTHON is not None
        self._process = subprocess.Popen([PYTHON, "-c", PROGRAM, str(self.port)])
        wait_for_server(self.port)

    def stop(self) -> None:
        """Stops it, as a cut of the power does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def cameras() -> Iterator[Cameras]:
    """Yields cameras that run until the end of the context."""
    server = Cameras()
    server.start()
    try:
        yield server
    finally:
        server.stop()
