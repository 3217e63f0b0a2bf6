"""Draws the log of a training."""

from collections.abc import Sequence
from pathlib import Path

from auricle.storage.files import written_whole

# Values whose names contain one of these share a panel.
SHARED_PANELS = ("loss", "audio_to_text", "text_to_audio")
NOT_DRAWN = ("epoch", "seconds", "waiting")


def draw_curves(log: Sequence[dict[str, float]], path: Path) -> None:
    """Draws losses, learning rate and all other measured values over epochs, as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for name in log[-1]:
        if name not in NOT_DRAWN:
            panel = next((panel for panel in SHARED_PANELS if panel in name), name)
            panels.setdefault(panel, []).append(name)
    figure = Figure(figsize=(4 * len(panels), 3))
    figure.subplots_adjust(
        left=0.2 / len(panels), right=1 - 0.05 / len(panels), bottom=0.16, top=0.97, wspace=0.25
    )
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (panel, names) in zip(all_axes, panels.items(), strict=True):
        for name in names:
            epochs, values = [line["epoch"] for line in log], [line[name] for line in log]
            axes.plot(epochs, values, label=name.replace("_", " "))
        axes.set_xlabel("epoch")
        # A learning rate may end at 0, which has no logarithm.
        positive = panel == "learning_rate" and any(line[panel] > 0 for line in log)
        axes.set_yscale("log" if positive else "linear")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path) as part:
        figure.savefig(part, format="png", dpi=120)
