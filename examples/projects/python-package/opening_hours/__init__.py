"""Opening hours as intervals of minutes since midnight."""

from .intervals import is_open, merged

__all__ = ["is_open", "merged"]
