"""The page in a headless Chromium: nothing is fetched, nothing overflows, and texts can be read in both schemes."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from gateware.build.page.rendering import render, render_comparison
from gateware.build.page.subject import Evidence, Subject, subject_of
from tests.conftest import BROWSERS
from tests.gateware.build.page.conftest import overlay_report, report_of


@pytest.fixture(scope="module")
def chromium():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser is installed: apt install {BROWSERS[0]}")
    # Root has no sandbox; the pages are our own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program,
                                             args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


#: The smallest contrast of a text with what is behind it, over all elements with a text of their own.
CONTRAST = """() => {
  const parse = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = colour => colour.slice(0, 3).map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour.startsWith('rgb(')) return parse(colour);
    }
    return [255, 255, 255];
  };
  let worst = [99, ''];
  for (const element of document.querySelectorAll('body *:not(svg *):not(script):not(style)')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    if (element.closest('.shaded')) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    const contrast = (one + .05) / (other + .05);
    if (contrast < worst[0]) worst = [contrast, element.outerHTML.slice(0, 120)];
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_fits_and_can_be_read(chromium, tmp_path, scheme, width):
    before = subject_of(tmp_path, report_of(shipped=True), Evidence())
    for text in (render(before), render_comparison(before, Subject(report=overlay_report()))):
        path = tmp_path / "page.html"
        path.write_text(text)
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        said, asked = [], []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        lines = page.evaluate("""[...document.querySelectorAll('code span')]
                                 .map(option => option.getClientRects().length)""")
        assert set(lines) <= {1}
        assert lines or text.count("Comparison of two builds")
        contrast, element = page.evaluate(CONTRAST)
        assert contrast >= 4.5, element
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(252, 252, 251)" if scheme == "light" else "rgb(17, 23, 27)")
        assert page.evaluate("JSON.parse(document.getElementById('sterna-report').textContent).schema") == (
            "sterna-report/1")
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        page.close()
