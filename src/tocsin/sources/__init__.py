"""Doors: one file a format; `read.open_source` recognises what a path holds."""
