"""The two forms of the functions in `lines`: interpreted, at once, and compiled, a hundred times faster."""

from __future__ import annotations

import functools
from types import FunctionType, SimpleNamespace
from typing import Any

from smtpkit.exim import lines


def interpreted() -> SimpleNamespace:
    """Return the functions, and `view`, which makes a buffer or table ready for them."""
    return SimpleNamespace(**vars(lines), view=memoryview)


@functools.cache
def compiled() -> SimpleNamespace:
    """Return the same functions compiled by numba, from its cache if this version was compiled before.

    They are compiled as copies in a namespace of their own, where each finds the others compiled.
    """
    import numba  # takes a second, which small inputs do without

    space: dict[str, Any] = dict(vars(lines))
    for name, function in vars(lines).items():
        if isinstance(function, FunctionType) and not name.startswith("_"):
            copy = FunctionType(function.__code__, space, name, function.__defaults__)
            space[name] = numba.njit(cache=True, nogil=True)(copy)
    return SimpleNamespace(**space, view=lambda table: table)
