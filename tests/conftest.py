"""What several tests need: the sample, the corpora, and programs that a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORPORA = ROOT.parent / "shared" / "corpora"


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where `program` is missing, unless SMTPKIT_REQUIRE (a list with commas) names it."""
    required = program in os.environ.get("SMTPKIT_REQUIRE", "").split(",")
    missing = shutil.which(program, path=f"{os.defpath}:/usr/sbin:/sbin:{os.environ['PATH']}") is None
    return pytest.mark.skipif(missing and not required, reason=f"{program} is not installed")


@pytest.fixture(scope="session")
def sample() -> Path:
    return ROOT / "data" / "samples" / "pmtu-black-hole"


@pytest.fixture(scope="session")
def corpora() -> Path:
    if not CORPORA.exists():
        pytest.skip("the corpora are not here")
    return CORPORA
