"""Run a notebook and make of it one file to send: HTML that needs nothing else, or a PDF of that.

The notebook is the report's source; what the command line prints is what its verdict found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from papermill.execute import remove_error_markers
from traitlets import default

from smtpkit.files import located
from smtpkit.printable import printable
from smtpkit.show import DOCUMENT

PRINTING = 120  # seconds that chromium may take


class ReportError(RuntimeError):
    """No report could be made, or a step of it failed: one sentence says which, where and what to do.

    `document` is what the notebook had found until then, None if nothing.
    """

    def __init__(self, sentence: str, document: dict[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.document = document


class _Kernel(AsyncKernelManager):
    """Run this very Python, import nothing from the working directory, and encrypt what is said to it.

    The working directory may hold files of others, and other users of the machine reach its TCP ports.
    """

    @default("transport_encryption")
    def _encrypt(self) -> str:
        return "auto"

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        return [sys.executable, "-P", *super().format_kernel_cmd(extra_arguments)[1:]]


def render(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    show_payload: bool = False,
    **filters: str | None,
) -> dict[str, Any]:
    """Run the notebook `1-incident` on `inputs` and write `output`.

    Parameters
    ----------
    inputs
        Captures, logs, messages and folders, as for `smtpkit.load`; relative to the working directory.
    output
        The report: PDF if the name ends in .pdf, else HTML. Missing folders are made.
    show_payload
        Draw the bytes of a packet that does not get through, part of somebody's mail.
    filters
        Keywords of `smtpkit.load`.

    Returns
    -------
        The document that the notebook found (`smtpkit.findings.document`).

    Raises
    ------
    ReportError
        If a step of the notebook failed (the report is written, and says so at its top), if there is no
        chromium for a PDF, if it fails, or if the name of an input is not UTF-8.
    OSError
        If `output` cannot be written.
    """
    names = [_name(path) for path in inputs]
    executed = _write("1-incident", Path(output), inputs=names, show_payload=show_payload, **filters)
    failure, document = _failure(executed), _document(executed)
    if failure or document is None:
        raise ReportError(f"{output}: written, but incomplete. {failure}", document)
    return document


def render_comparison(
    before: str | os.PathLike[str], after: str | os.PathLike[str], output: str | os.PathLike[str]
) -> None:
    """Run the notebook `5-before-and-after` on two inputs and write `output`.

    Parameters
    ----------
    before, after
        A capture, a log, or a folder, each.
    output
        As for `render`.

    Raises
    ------
    ReportError, OSError
        As for `render`.
    """
    executed = _write("5-before-and-after", Path(output), before=[_name(before)], after=[_name(after)])
    if failure := _failure(executed):
        raise ReportError(f"{output}: written, but incomplete. {failure}")


def _write(notebook: str, output: Path, **parameters: Any) -> NotebookNode:
    """Run a notebook, write its page, and return it with its outputs."""
    browser = _browser(output) if output.suffix.lower() == ".pdf" else None
    output.parent.mkdir(parents=True, exist_ok=True)
    executed = run(find(notebook), **parameters)
    page = to_html(executed)
    if browser:
        _print(browser, page, output)
    else:
        output.write_text(page, encoding="utf-8")
    return executed


def find(name: str) -> Path:
    """Return where the notebook `name` is: inside the installed package, or beside it in its source."""
    package = Path(__file__).parent
    folders = (package / "notebooks", package.parent / "notebooks")
    return next(path for folder in folders if (path := folder / f"{name}.ipynb").is_file())


def run(notebook: Path, **parameters: Any) -> NotebookNode:
    """Run `notebook` with `parameters` in the working directory and return it with its outputs.

    Cells after one that fails are run too: a figure that cannot be drawn does not cost the table below it.

    Raises
    ------
    ReportError
        If the process that runs the cells could not start, or was killed.
    """
    with TemporaryDirectory() as folder:
        executed = Path(folder, notebook.name)
        options = {"progress_bar": False, "kernel_manager_class": _Kernel, "allow_errors": True}
        try:
            papermill.execute_notebook(notebook, executed, parameters, **options)
        except papermill.PapermillExecutionError:
            pass  # it stands in the notebook as well, where `_failure` finds it
        except RuntimeError as error:
            raise ReportError(
                f"{notebook.name}: its Python ended ({error}); was there enough memory?"
            ) from error
        return remove_error_markers(nbformat.read(executed, as_version=4))


def to_html(notebook: NotebookNode) -> str:
    """Return the page of an executed notebook: no code of it, no script, nothing to load from elsewhere."""
    templates = str(Path(__file__).parent / "templates")
    exporter = HTMLExporter(template_name="page", extra_template_basedirs=[templates])
    exporter.register_filter("printable", printable)
    page, _ = exporter.from_notebook_node(_telling(notebook), {"failure": _failure(notebook)})
    return page


def _telling(notebook: NotebookNode) -> NotebookNode:
    """Leave out each text tagged `figure` with the cell below it where that has nothing to draw."""
    cells = notebook.cells
    silent = {
        number
        for number, (text, cell) in enumerate(pairwise(cells))
        if "figure" in text.metadata.get("tags", []) and not _draws(cell)
    }
    told = [cell for number, cell in enumerate(cells) if not {number, number - 1} & silent]
    return nbformat.from_dict(notebook | {"cells": told})


def _draws(cell: NotebookNode) -> bool:
    outputs = cell.get("outputs", [])
    failed = any(output.output_type == "error" for output in outputs)
    return failed or any("<figure" in output.get("data", {}).get("text/html", "") for output in outputs)


def _name(path: str | os.PathLike[str]) -> str:
    """Return `path` as a parameter: a notebook is UTF-8, a file name need not be."""
    name = os.fspath(path)
    located(name)  # standard input is this process's own: its copy is made here
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ReportError(
            f"{name}: the name is not UTF-8, as a notebook needs it; rename the file."
        ) from error
    return name


def _outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _failure(notebook: NotebookNode) -> str:
    """Return what the first failed cell said, in a sentence; an empty string if none failed."""
    errors = [o for o in _outputs(notebook) if o.output_type == "error"]
    return printable(f"{errors[0].evalue} ({errors[0].ename}).") if errors else ""


def _document(notebook: NotebookNode) -> dict[str, Any] | None:
    found = (output.get("data", {}).get(DOCUMENT) for output in _outputs(notebook))
    return next((document for document in found if document is not None), None)


def _browser(output: Path) -> str:
    browser = shutil.which("chromium")
    if browser is None:
        advice = "install it (Debian: apt install chromium) or name a file that ends in .html"
        raise ReportError(f"{output}: a PDF is printed by chromium, which is not installed; {advice}.")
    return browser


def _print(browser: str, page: str, output: Path) -> None:
    """Print `page` with no host that can be resolved.

    The page's own policy forbids scripts; with chromium's switch against them it prints nothing at all.
    """
    with TemporaryDirectory() as folder:
        source, printed = Path(folder, "report.html"), Path(folder, "report.pdf")
        source.write_text(page, encoding="utf-8")
        command = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium gives root no sandbox
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile"]
        command += [f"--print-to-pdf={printed}", source.as_uri()]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PRINTING)
            shutil.copyfile(printed, output)
        except (subprocess.SubprocessError, FileNotFoundError) as error:
            raise ReportError(f"{output}: chromium could not print it: {error}.") from error
