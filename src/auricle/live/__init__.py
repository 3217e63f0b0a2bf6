"""Sound as it happens: where it comes from, what is heard in it, how that is shown, and what is
kept of it.
"""
