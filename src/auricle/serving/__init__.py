"""A page for people and an HTTP API beside it: `auricle serve`. Needs the extra `serve`.

browser, curl ──> guard ──> app ──> uploads ──> workers ══> worker      files: decoded and captioned
in other processes
                            └─────> live ─────> segmenter               PCM: heard in threads of
                            this one
"""
