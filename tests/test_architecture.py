"""Imports go one way, as the layout says; what is declared twice is declared alike."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

PACKAGE = ROOT / "smtpkit"

GROUND = {
    "tables",
    "addresses",
    "cores",
    "files",
    "forms",
    "hashing",
    "measure",
    "phrases",
    "printable",
    "spool",
}
READERS = {"capture", "exim", "content"}
ANALYSES = {"tcp", "smtp", "mtu"}
# What each module may import of the others: rows above its own, never a group beside it.
MAY_IMPORT = {
    **{name: set() for name in GROUND},
    "measure": {"tables"},
    "printable": {"addresses"},
    "spool": {"tables"},
    **dict.fromkeys(READERS, GROUND),
    "tcp": GROUND,
    **dict.fromkeys({"smtp", "mtu"}, GROUND | {"tcp"}),
    "plot": GROUND,
    "join": GROUND,
    "octets": GROUND | READERS | ANALYSES,
    "traffic": GROUND | ANALYSES,
    "listener": GROUND | {"capture", "smtp"},
    "reading": GROUND | READERS | ANALYSES | {"listener", "traffic"},
    "logs": GROUND | {"exim"},
    "workers": GROUND | {"traffic", "reading", "logs"},
    "stored": GROUND | {"traffic", "reading"},
    "incident": GROUND
    | READERS
    | ANALYSES
    | {"join", "octets", "traffic", "reading", "logs", "workers", "stored"},
    "cluster": GROUND | {"capture", "exim", "traffic", "reading", "logs"},
    "redact": GROUND | {"incident"},
    "correlation": GROUND,
    "observations": GROUND | ANALYSES | {"incident", "correlation"},
    "causes": GROUND | {"observations"},
    "summary": GROUND | {"incident", "observations", "correlation"},
    "findings": GROUND | {"incident", "observations", "causes"},
    "compare": GROUND | {"incident", "correlation", "observations", "findings"},
    "excerpt": GROUND | {"capture", "incident"},
    "show": GROUND | {"capture", "excerpt", "plot", "incident", "observations", "findings"},
    "report": GROUND | {"incident", "show"},
    "terminal": GROUND,
    "cli": GROUND
    | {
        "capture",
        "workers",
        "cluster",
        "incident",
        "redact",
        "observations",
        "findings",
        "compare",
        "excerpt",
        "terminal",
        "report",
    },
}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def top(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "smtpkit":
            names = [f"smtpkit.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = top(path)
    if own == "__init__":
        return
    assert own in MAY_IMPORT, f"{own} has no place in the layout"
    others = {name.split(".")[1] for name in imported(path) if name.startswith("smtpkit.")}
    assert others - {own} <= MAY_IMPORT[own]


@pytest.mark.parametrize(
    ("library", "modules_"), [("matplotlib", {"plot"}), ("dpkt", {"capture"}), ("numba", {"forms"})]
)
def test_only_one_module_knows_the_library(library, modules_):
    users = {top(path) for path in modules() for name in imported(path) if name.split(".")[0] == library}
    assert users <= modules_


def test_importing_smtpkit_loads_nothing_heavy():
    heavy = ("matplotlib", "scipy", "numba", "papermill", "nbconvert", "IPython", "jinja2")
    code = f"import smtpkit, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_compiler_comes_without_linear_algebra_which_is_there_for_others():
    code = (
        "import sys; from smtpkit import forms; from smtpkit.exim import lines;"
        "forms.compiled(lines).digit(53);"
        "print('scipy.linalg' in sys.modules); import scipy.linalg; print(scipy.linalg.norm([3, 4]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "5.0"]


def test_environment_yml_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "environment.yml").read_text().splitlines()
    conda = [line.strip()[2:].split()[0] for line in lines if re.match(r" +- [a-z0-9_.]+[>=]", line)]
    dependencies = [d.split(";")[0] for d in project["dependencies"]]  # conda knows no markers
    assert conda == [f"python{project['requires-python']}", *dependencies]


def test_the_lock_has_hashes_and_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "-index" not in lock
    assert "find-links" not in lock
    entries = re.split(r"\n(?=[a-z])", lock.strip())
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    locked = {entry.split("==")[0] for entry in entries}
    assert {re.split(r"[>=]", name)[0].translate(str.maketrans("_.", "--")) for name in wanted} <= locked
