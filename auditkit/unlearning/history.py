"""What training left behind on the owner's side, for methods that use it."""

from __future__ import annotations


class History:
    """Base of the histories that training can write."""
