"""The report: one page that works alone, opened in a real browser too."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import needs
from test_show import ESCAPED, NASTY, document, finding

from smtpkit import report, show

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CHROMIUM = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]


@pytest.fixture(scope="module")
def rendered(sample, tmp_path_factory):
    """The sample's report and the document that was found."""
    output = tmp_path_factory.mktemp("report") / "new folder" / "incident.html"
    return output, report.render([sample], output)


@pytest.fixture(scope="module")
def page(rendered):
    return rendered[0].read_text(encoding="utf-8")


def notebook(*cells):
    """An executed notebook of these texts, and lists of outputs."""
    made = nbformat.v4.new_notebook()
    for cell in cells:
        if isinstance(cell, str):
            made.cells.append(nbformat.v4.new_markdown_cell(cell))
        else:
            made.cells.append(nbformat.v4.new_code_cell("secret_code()", outputs=cell))
    return made


def output(shown):
    return nbformat.v4.new_output("display_data", shown._repr_mimebundle_())


def error(name, value):
    return nbformat.v4.new_output("error", ename=name, evalue=value, traceback=["\x1b[31msecret path"])


def test_the_document_comes_from_the_notebook(rendered, sample):
    truth = json.loads((sample / "truth.json").read_text())
    (found,) = rendered[1]["findings"]
    assert (found["cause"], found["peer"]) == (truth["cause"], truth["peer"])
    assert rendered[1]["schema"] == 1


def test_the_page_needs_nothing_else(page):
    assert f'<meta content="{POLICY}" http-equiv="Content-Security-Policy"/>' in page
    assert not re.search(r"<(script|link|iframe|object|embed|form|base|video|audio)\b", page, re.IGNORECASE)
    assert not re.search(r"\bon\w+\s*=", re.sub(r'"[^"]*"', '""', page))
    assert {ref.split(":")[0][:1] for ref in re.findall(r'(?:href|src)="([^"]*)"', page)} == {"#", "d"}
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_is_a_whole_document(page):
    assert page.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in page
    assert page.count("<h1>") == page.count("<main>") == page.count("<title>") == 1
    assert 'name="viewport"' in page


def test_the_contents_lead_to_the_headings(page):
    wanted = re.findall(r'<li><a href="#([^"]+)">', page)
    assert wanted[:3] == ["Verdict", "What-to-do", "Evidence"]
    assert wanted == re.findall(r'<h2 id="([^"]+)">', page)


def test_the_page_shows_no_code_and_no_mail(page, sample):
    for hidden in ("smtpkit.load", "import ", "Run All", "In [", "Traceback", "papermill"):
        assert hidden not in page
    log = (sample / "mainlog").read_text()
    mailboxes = set(re.findall(r"[\w.]+@[\w.]+", log))
    assert mailboxes
    assert not [mailbox for mailbox in mailboxes if mailbox in page]


def test_hostile_text_is_shown_as_text():
    hostile = document(finding(sentence=NASTY, messages=[NASTY]), healthy=[NASTY])
    page = report.to_html(notebook("## Verdict", [output(show.verdict(hostile))]))
    # the parser of the page writes quotes that stand in text as they are
    assert page.count(ESCAPED.replace("&#34;", '"').replace("&#39;", "'")) == 3
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_failed_step_is_told_at_the_top():
    page = report.to_html(
        notebook("## Verdict", [error("ValueError", NASTY)], [error("NameError", "incident")], "## Next")
    )
    top = page[: page.index("<main>")]
    assert "This report is incomplete." in top
    assert "alert(1)&lt;/script&gt;" in top
    assert "<script" not in page
    assert "\x1b" not in page
    assert "secret" not in page
    assert "Left out, as a step before it failed." in page
    assert "<h2" in page[page.index("Left out") :]


def test_a_failed_run_still_writes_a_report(sample, tmp_path):
    output = tmp_path / "incident.html"
    with pytest.raises(
        report.ReportError, match=r"incident\.html: written, but incomplete\. .*Nowhere/Land"
    ) as e:
        report.render([sample / "mainlog"], output, timezone="Nowhere/Land")
    assert e.value.document is None
    assert "This report is incomplete." in output.read_text()
    assert "\n" not in str(e.value)


def test_what_was_found_before_a_failed_step_is_kept(monkeypatch, tmp_path):
    found = document(finding())
    made = notebook([output(show.verdict(found))], [error("ValueError", "no figure")])
    monkeypatch.setattr(report, "run", lambda *_, **__: made)
    with pytest.raises(report.ReportError, match="no figure") as e:
        report.render([], tmp_path / "incident.html")
    assert e.value.document == found


def test_nothing_is_imported_from_the_working_directory(sample, tmp_path, monkeypatch):
    (tmp_path / "pandas.py").write_text("raise SystemExit('a file of others was run')")
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('a file of others was run')")
    (tmp_path / "main{log} 'x' \"y\" $z é").write_bytes((sample / "mainlog").read_bytes())
    monkeypatch.chdir(tmp_path)
    found = report.render(["main{log} 'x' \"y\" $z é"], "out/incident.html")
    assert [file["path"] for file in found["inputs"]] == ["main{log} 'x' \"y\" $z é"]
    assert Path("out/incident.html").is_file()


def test_a_notebook_whose_python_is_killed_is_told_in_a_sentence(tmp_path):
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python"}})
    made.cells.append(nbformat.v4.new_code_cell("import os\nos._exit(9)", metadata={"tags": ["parameters"]}))
    nbformat.write(made, tmp_path / "killed.ipynb")
    with pytest.raises(report.ReportError, match=r"^killed\.ipynb: its Python ended .* enough memory\?$"):
        report.run(tmp_path / "killed.ipynb")


def test_a_file_name_that_is_no_utf_8_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(report.ReportError, match="the name is not UTF-8"):
        report.render([os.fsdecode(b"/tmp/main\xe9log")], tmp_path / "a.html")


def test_the_notebook_is_found():
    assert report.find("1-incident").name == "1-incident.ipynb"


def test_a_pdf_without_chromium_is_refused_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(report.ReportError, match=r"a\.pdf: a PDF is printed by chromium, .*\.html\.$"):
        report.render([], tmp_path / "a.pdf")


@needs("chromium")
def test_a_pdf_is_printed(monkeypatch, tmp_path):
    made = notebook("## Verdict", [output(show.verdict(document(finding())))])
    monkeypatch.setattr(report, "run", lambda *_, **__: made)
    report.render([], tmp_path / "a report.PDF")
    assert (tmp_path / "a report.PDF").read_bytes().startswith(b"%PDF-")


@needs("chromium")
def test_a_chromium_that_fails_is_told_in_a_sentence(monkeypatch, tmp_path):
    (tmp_path / "chromium").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(report, "run", lambda *_, **__: notebook())
    with pytest.raises(report.ReportError, match=r"a\.pdf: chromium could not print it"):
        report.render([], tmp_path / "a.pdf")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        yield chromium
        chromium.close()


def opened(browser, path, **options):
    """Open the page; return it with the list of what it asked for."""
    tab = browser.new_page(**options)
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri(), wait_until="networkidle")
    return tab, [url for url in asked if not url.startswith("data:")]


@needs("chromium")
def test_a_browser_shows_the_same_page_without_scripts_and_asks_for_nothing(browser, rendered):
    pictures = []
    for scripts in (True, False):
        tab, asked = opened(browser, rendered[0], java_script_enabled=scripts)
        assert asked == [rendered[0].as_uri()]
        pictures.append(tab.screenshot(full_page=True))
        tab.close()
    assert pictures[0] == pictures[1]


@needs("chromium")
def test_the_policy_forbids_scripts_and_loading(browser, rendered, tmp_path):
    bad = '<script>document.title = "run"</script><img src="https://example.org/x.png" alt="x">'
    edited = tmp_path / "edited.html"
    edited.write_text(rendered[0].read_text().replace("<main>", f"<main>{bad}"))
    tab = browser.new_page()
    refused = []
    tab.on("requestfailed", lambda request: refused.append((request.url, request.failure)))
    tab.goto(edited.as_uri(), wait_until="networkidle")
    assert refused == [("https://example.org/x.png", "csp")]
    assert tab.title() == "Mail incident report"
    tab.close()


@needs("chromium")
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_its_window(browser, rendered, width):
    tab, _ = opened(browser, rendered[0], viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


@needs("chromium")
@pytest.mark.parametrize("width", [320, 1280])
def test_those_who_see_little_or_nothing_can_read_it(browser, rendered, width):
    tab, _ = opened(browser, rendered[0], viewport={"width": width, "height": 800})
    found = Axe().run(tab)
    assert found.response["passes"]
    assert found.violations_count == 0, found.generate_report()
    tab.close()


@needs("chromium")
def test_images_have_words_and_are_drawn(browser, rendered):
    tab, _ = opened(browser, rendered[0])
    images = tab.evaluate("[...document.images].map(i => [i.alt, i.naturalWidth])")
    assert len(images) == 7
    assert all(alt and width > 600 for alt, width in images)
    tab.close()


def marked(words, *outputs):
    text = nbformat.v4.new_markdown_cell(f"## {words}", metadata={"tags": ["figure"]})
    return [text, nbformat.v4.new_code_cell("draw()", outputs=list(outputs))]


def test_a_figure_with_nothing_to_draw_is_left_out_with_its_text():
    drawn = nbformat.v4.new_output("display_data", {"text/html": "<figure>drawn</figure>"})
    silent = nbformat.v4.new_output("display_data", {"text/html": "<p>nothing</p>"})
    made = notebook("## Verdict")
    made.cells += [
        *marked("One", drawn),
        *marked("Two", silent),
        *marked("Three", error("ValueError", "bad")),
    ]
    page = report.to_html(made)
    assert re.findall(r'<li><a href="#([^"]+)">', page) == ["Verdict", "One", "Three"]
    assert "nothing" not in page
    assert "This step failed: bad" in page
    assert len(made.cells) == 7
