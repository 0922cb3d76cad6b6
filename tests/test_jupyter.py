"""The notebooks in JupyterLab, in a real browser: all cells run, figures and the bar are drawn."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, needs

NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
CHROMIUM = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
TOKEN = "for-this-test"
OPTIONS = {
    "ServerApp.ip": "127.0.0.1",
    "ServerApp.port": 0,  # a free one
    "ServerApp.token": TOKEN,
    "ServerApp.open_browser": False,
    "ServerApp.allow_root": True,
    "LabApp.expose_app_in_browser": True,
    "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
}
# Otherwise cells out of sight are not in the page.
SETTINGS = {"@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"}}
RUN = """async name => {
    const app = window.jupyterapp;
    const panel = await app.commands.execute("docmanager:open", {path: "notebooks/" + name});
    await panel.context.ready;
    await panel.sessionContext.ready;
    await app.commands.execute("notebook:run-all-cells");
    const cells = Array.from(panel.content.model.cells).map(cell => cell.toJSON());
    return cells.flatMap(cell => cell.outputs ?? []);
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample):
    """Copies of the notebooks, as JupyterLab writes into what it runs, with their samples beside them."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for one in (sample, sample.parent / "after-the-remedy"):
        shutil.copytree(one, folder / "data" / "samples" / one.name)
    for name, settings in SETTINGS.items():
        file = folder / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """The address of a JupyterLab that was started for this, once it answers."""
    names = {"RUNTIME": "runtime", "CONFIG": "config"}
    own = {f"JUPYTER_{name}_DIR": str(folder / where) for name, where in names.items()}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in OPTIONS.items())]
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | own, stderr=subprocess.PIPE, text=True
    ) as lab:
        try:
            yield next(address for line in lab.stderr if (address := _address(line)))
        finally:
            lab.terminate()


def _address(line):
    """Return the address in a line of the log, which hides the token."""
    found = re.search(r"http://127\.0\.0\.1:\d+/lab", line)
    return f"{found[0]}?token={TOKEN}" if found else None


@pytest.fixture(scope="module")
def tab(address):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        tab = chromium.new_page(viewport={"width": 1280, "height": 1000})
        tab.set_default_timeout(120_000)
        tab.goto(address)
        tab.wait_for_function("window.jupyterapp && window.jupyterapp.restored")
        tab.evaluate("() => window.jupyterapp.restored")
        yield tab
        chromium.close()


@needs("chromium")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_run_and_are_drawn(tab, name):
    outputs = tab.evaluate(RUN, name)
    assert [output for output in outputs if output["output_type"] in ("error", "stream")] == []
    assert any("application/vnd.jupyter.widget-view+json" in output["data"] for output in outputs)  # a bar
    drawn = sum("<figure" in "".join(output["data"].get("text/html", "")) for output in outputs)
    images = tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden) figure img")
    assert images.count() == drawn > 0
    assert all(images.nth(n).evaluate("image => image.naturalWidth") > 600 for n in range(drawn))
    if shots := os.environ.get("SMTPKIT_SCREENSHOTS"):
        for n in range(drawn):
            images.nth(n).scroll_into_view_if_needed()
            tab.screenshot(path=Path(shots) / f"{Path(name).stem}-{n}.png")
