"""Alerts: waits for sounds that sentences name, and tells receivers. Not a safety device."""
