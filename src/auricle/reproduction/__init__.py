"""The paper's tables by one command: `auricle reproduce` plans trainings, carries them out, and
reports.
"""
