"""The two forms of a module of functions: interpreted, at once, and compiled, a hundred times faster."""

from __future__ import annotations

import functools
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any


def interpreted(module: ModuleType) -> SimpleNamespace:
    """Return the module's functions, and `view`, which makes a buffer or table ready for them."""
    return SimpleNamespace(**vars(module), view=memoryview)


@functools.cache
def compiled(module: ModuleType) -> SimpleNamespace:
    """Return the same functions compiled by numba, from its cache if this version was compiled before.

    They are compiled as copies in a namespace of their own, where each finds the others compiled.
    """
    import numba  # takes a second, which small inputs do without

    space: dict[str, Any] = dict(vars(module))
    for name, function in vars(module).items():
        if isinstance(function, FunctionType):
            copy = FunctionType(function.__code__, space, name, function.__defaults__)
            space[name] = numba.njit(cache=True, nogil=True)(copy)
    return SimpleNamespace(**space, view=lambda table: table)
