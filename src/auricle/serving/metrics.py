"""The counters at `/metrics`, for Prometheus."""

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        common = {"namespace": "auricle", "registry": self.registry}
        self.requests = Counter("requests", "Requests answered", ["path", "status"], **common)
        self.seconds = Histogram(
            "request_seconds",
            "From a request to the end of its answer",
            ["path"],
            buckets=SECONDS,
            **common,
        )
        self.running = Gauge("jobs_running", "Requests that a worker is on", **common)
        self.waiting = Gauge("jobs_waiting", "Requests that wait for a worker", **common)
        self.workers = Gauge("workers", "Workers that take requests", **common)
        self.replaced = Counter(
            "workers_replaced", "Workers that died, or had to be ended", **common
        )
        self.listeners = Gauge("listeners", "Live streams", **common)
        self.listening = 0
        self.sound = Counter("sound_seconds", "Seconds of sound captioned", ["source"], **common)

    @contextlib.contextmanager
    def listener(self) -> Iterator[None]:
        """Count a live stream while it lasts."""
        self.listening += 1
        self.listeners.set(self.listening)
        try:
            yield
        finally:
            self.listening -= 1
            self.listeners.set(self.listening)
