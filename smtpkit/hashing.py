"""A hash for the tables of the compiled modules, which all have open addressing."""

# mypy: disable-error-code="no-untyped-def"


def mix(a, b):
    """Mix two numbers into 32 bits; products stay below 2^63, so that both forms agree."""
    h = (a & 0xFFFFFFFF) * 0x3C6EF35F + (b & 0xFFFFFFFF) * 0x2545F491
    h = ((h >> 29) ^ h) & 0xFFFFFFFF
    h = h * 0x45D9F3B
    return ((h >> 17) ^ h) & 0xFFFFFFFF
