"""The report's page as a reader meets it: in a real browser, from a file, on a phone and in the dark."""

import json
import shutil
from pathlib import Path

import pytest
import synthetic_run

from aria_ray.report.evidence import read_evidence
from aria_ray.report.html import PLOTS, render_html

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on the path"),
]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESK = {"width": 360, "height": 800}, {"width": 1280, "height": 800}

CONTRASTS = """() => {
  // WCAG 2.1: relative luminance, and contrast of each text with the nearest ground below it.
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = colour => {
    const linear = each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = [...rgba(colour)].map(each => linear(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.tagName === "title") continue;
    const style = getComputedStyle(element);
    const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [light, dark] = [luminance(ink), luminance(ground(element))].sort((a, b) => b - a);
    found.push({text: element.textContent.trim().slice(0, 40), contrast: (light + 0.05) / (dark + 0.05)});
  }
  return found;
}"""


SMALLEST_PX = """figure => {
  const svg = figure.querySelector("svg"), scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return Math.min(...[...svg.querySelectorAll("text")].map(each => parseFloat(getComputedStyle(each).fontSize) * scale));
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """The page of a run that measured everything, in which a model's outputs are hostile."""
    out = tmp_path_factory.mktemp("run")
    report = synthetic_run.write_run(out)
    cases = [json.loads(line) for line in (out / "validation/cases.jsonl").read_text().splitlines()]
    wrong = next(case for case in cases if case["outcome"] == "wrong")
    for turn in wrong["transcript"]:
        turn["content"] = f"{synthetic_run.HOSTILE} {'unbroken' * 100}"
    wrong["detail"] = synthetic_run.HOSTILE
    synthetic_run.write_lines(out / "validation/cases.jsonl", [wrong, *cases])
    file = out / "report.html"
    file.write_text(render_html(report, read_evidence(report, out)), encoding="utf-8")
    return file


@pytest.fixture
def visit(browser, page_file):
    """A function that opens the page and gives it, what the console said, and what was requested."""
    contexts = []

    def open_page(viewport, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        said, requests = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri(), wait_until="load")
        return page, said, requests

    yield open_page
    for context in contexts:
        context.close()


def open_details(page):
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_every_plot_is_drawn_and_nothing_goes_wrong_or_out(visit, viewport, page_file):
    page, said, requests = visit(viewport)
    plots = page.locator("figure svg").all()
    assert len(plots) == len(PLOTS)
    for plot in plots:
        box = plot.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
        assert plot.locator("path").count() > 3
        assert plot.get_attribute("aria-labelledby")
    page.wait_for_timeout(200)
    assert said == []
    assert requests == [page_file.as_uri()]


def test_lines_are_drawn_in_the_colours_of_the_page(visit):
    page, _, _ = visit(DESK)
    colours = page.evaluate(
        """[...document.querySelectorAll("figure svg path")].map(each => getComputedStyle(each).stroke)
        .filter(each => each !== "none")"""
    )
    series = page.evaluate(
        """() => { const probe = document.createElement("i"); document.body.append(probe);
        probe.style.color = "var(--series-1)"; return getComputedStyle(probe).color }"""
    )
    assert series in colours
    assert len(set(colours)) >= 6


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_never_scrolls_sideways(visit, viewport):
    page, _, _ = visit(viewport)
    open_details(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    wide = page.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(each => !each.closest(".box, pre, svg, thead"))
        .filter(each => each.getBoundingClientRect().right > width + 0.5).map(each => each.outerHTML.slice(0, 80))""",
        viewport["width"],
    )
    assert wide == []


def test_on_a_phone_text_of_plots_is_readable_and_none_is_cut(visit):
    page, _, _ = visit(PHONE)
    for figure in page.locator("figure").all():
        frame = figure.locator("svg").bounding_box()
        for text in figure.locator("svg text").all():
            box = text.bounding_box()
            assert box["x"] >= frame["x"] - 1, text.text_content()
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1, text.text_content()
            assert box["y"] >= frame["y"] - 1, text.text_content()
        smallest = figure.evaluate(SMALLEST_PX)
        assert smallest >= 9


def test_wide_screens_have_two_columns_and_phones_one(visit):
    def columns(viewport):
        page, _, _ = visit(viewport)
        return {round(figure.bounding_box()["x"]) for figure in page.locator("figure").all()}

    assert len(columns(PHONE)) == 1
    assert len(columns(DESK)) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit, scheme):
    page, _, _ = visit(DESK, scheme)
    open_details(page)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 300
    assert [each for each in found if each["contrast"] < 4.5] == []


def test_the_dark_page_is_dark(visit):
    grounds = {}
    for scheme in ("light", "dark"):
        page, _, _ = visit(DESK, scheme)
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] == "rgb(255, 255, 255)"
    assert all(int(part) < 40 for part in grounds["dark"].removeprefix("rgb(").removesuffix(")").split(","))


def test_hostile_text_is_read_and_does_not_run(visit):
    page, said, requests = visit(DESK)
    open_details(page)
    page.wait_for_timeout(200)
    assert page.title().startswith("ARIA report")
    assert page.locator("script, img, iframe").count() == 0
    case = page.locator("details.case").first
    assert synthetic_run.HOSTILE in case.inner_text()
    assert case.locator("dd").count() > 4
    assert said == []
    assert len(requests) == 1


def test_a_case_opens_with_the_keyboard(visit):
    page, _, _ = visit(PHONE)
    case = page.locator("details.case").nth(1)
    assert not case.locator("dl").is_visible()
    case.locator("summary").focus()
    page.keyboard.press("Enter")
    assert case.locator("dl").is_visible()
