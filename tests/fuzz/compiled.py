"""Read captures, and mutations of each, with the compiled decoder and all of its indices checked.

    python tests/fuzz/compiled.py MUTATIONS [FOLDER]

Without a folder the hand-made captures are read.
"""

import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change, cut out, repeat or cut off some bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at, size = chance.randrange(len(changed) + 1), chance.randint(1, 64)
        kind = chance.randrange(8)
        if kind < 5:
            changed[at : at + 1] = chance.choice([b"\0", b"\xff", bytes([chance.randrange(256)])])
        elif kind == 5:
            del changed[at : at + size]
        elif kind == 6:
            changed[at:at] = changed[at : at + size]
        else:
            del changed[len(changed) - size :]
    return bytes(changed)


def main() -> None:
    """Check every capture and so many mutations of it."""
    with TemporaryDirectory() as cache:
        # Code that was compiled without the checks must not be taken from the cache.
        os.environ |= {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": cache}
        from harness import FILES, check, reader

        reader.INTERPRETED_FRAMES = 0
        given = [p.read_bytes() for folder in sys.argv[2:] for p in Path(folder).rglob("*") if p.is_file()]
        chance, count = random.Random(1), 0
        for data in given or FILES.values():
            check(data)
            for _ in range(int(sys.argv[1])):
                check(mutated(data, chance))
                count += 1
        print(f"{count} mutated files read")


if __name__ == "__main__":
    main()
