"""Text of others (names, replies, file names) made harmless to look at, in whatever it is shown."""

from __future__ import annotations

_MOST = 500  # characters: more than any name or reply that is meant to be read


def printable(text: object) -> str:
    r"""Return `text` with all that cannot be seen written out, as in ``\x1b`` or ``\u202e``.

    Control characters (line ends too), escape sequences and marks that turn the direction of writing neither
    act on a terminal nor hide what stands next to them. A text of more than 500 characters is cut, with `…`.
    Markup of a certain kind (HTML, math) is the business of those who write that kind.
    """
    text = str(text)
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_MOST])
    return shown + "…" * (len(text) > _MOST)
