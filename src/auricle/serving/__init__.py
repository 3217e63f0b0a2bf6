"""The page and the HTTP API of `auricle serve`. Needs the extra `serve`.

browser, curl ──> guard ──> routes ──> uploads ──> workers ══ messages ══> worker
                              │                    in this process         in processes of
                              │                                            their own: jobs
                              └──> listening ──> segmenter, in threads of this process
"""
