"""Reserved for the machines of the ward."""

from tocsin.watch.standing import Standing

__all__ = ["Standing"]
