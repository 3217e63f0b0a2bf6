"""Live sound: its sources, the listener, the view of its rows, and the recordings kept of it."""
