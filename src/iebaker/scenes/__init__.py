"""The embedded benchmark `synthetic`: drawn overhead scenes with five captions each."""

from iebaker.scenes.generate import write_raw

__all__ = ["write_raw"]
