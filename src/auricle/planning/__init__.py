"""Plans of captions: classes of sounds, their English, and checks. Imports no torch."""
