"""The two forms of a module of functions: interpreted, at once, and compiled, a hundred times faster."""

from __future__ import annotations

import functools
import sys
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
    numba = _numba()
    space: dict[str, Any] = dict(vars(module))
    for name, function in vars(module).items():
        if isinstance(function, FunctionType):
            copy = FunctionType(function.__code__, space, name, function.__defaults__)
            # Nothing here makes a table: to count who holds those given would take most of the time.
            compile_ = numba.njit(cache=True, nogil=True, _nrt=False)
            space[name] = compile_(copy)
    return SimpleNamespace(**space, view=lambda table: table)


def _numba() -> Any:
    """Return numba, whose loading small inputs do without.

    It would load scipy's linear algebra, too, only for convolutions, in half of the time that it takes.
    """
    hidden = sys.modules.setdefault("scipy.linalg", None) is None  # type: ignore[arg-type]
    try:
        import numba
        import numba.np.arraymath
    finally:
        if hidden:
            del sys.modules["scipy.linalg"]
    return numba
