"""A Space of Hugging Face: a sound goes in, a sentence and its events come out."""

import gradio

import auricle

captioner = auricle.load()


def caption(path: str) -> str:
    """Returns a line for each caption of a sound."""
    rows = captioner.captions(path)
    return "\n".join(f"{row.start:.1f} s to {row.end:.1f} s: {row.text}" for row in rows)


page = gradio.Interface(caption, gradio.Audio(type="filepath"), "text", title="auricle")
if __name__ == "__main__":
    page.launch()
