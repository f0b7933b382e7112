"""The page in a headless Chromium: what a user does, and what is then to be seen."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from arch import network_file
from arch.images import load_images
from arch.link import ErrorCode
from arch.network import Encoding
from models import SAMPLES
from reference.engines import ReferenceEngine
from tests.conftest import BROWSERS
from tests.firmware.demo.boards import FASHION, MNIST, Bench, colour_network, digest_of, served
from tests.image_files import idx, png

ROOT = pathlib.Path(__file__).parents[3]
DIGITS = load_images(SAMPLES / "mnist-images.idx.gz", MNIST)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
#: A seven on the pad, in parts of its side.
SEVEN = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)]


@pytest.fixture(scope="module")
def chromium():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser is installed: apt install {BROWSERS[0]}")
    # Root has no sandbox; the pages are our own.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Open a page; at the end no page has had an error that the test did not take out of its list."""
    with contextlib.ExitStack() as stack:
        def open_page(url, **options):
            context = stack.enter_context(chromium.new_context(**{"viewport": WIDE, **options}))
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.problems = problems = []
            page.on("console", lambda message: problems.append(message.text))
            page.on("pageerror", lambda error: problems.append(str(error)))
            # Nothing may be asked of another computer.
            page.on("request", lambda request: None if request.url.startswith(url) else problems.append(request.url))
            page.goto(url)
            stack.callback(lambda: problems and pytest.fail(f"the page has errors: {problems}"))
            return page

        yield open_page


@pytest.fixture
def bench():
    return Bench(MNIST)


@pytest.fixture
def demonstration(bench):
    with served(bench.open) as client:
        yield client


def numbers(page, column):
    """Scores of the page's table: column 0 is the board's, column 1 the reference's."""
    texts = page.locator("#scores tr").evaluate_all(
        "(rows, column) => rows.map(row => row.querySelectorAll('td.score')[column].textContent)", column)
    return [int(text.replace(",", "")) for text in texts]


def draw(page, places):
    box = page.locator("#pad").bounding_box()
    (x, y), *rest = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in rest:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()


def image_of(page):
    """What the network got, as the page shows it."""
    # From a copy: a canvas that is read twice is complained of.
    pixels = page.locator("#image").evaluate("""canvas => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
      copy.drawImage(canvas, 0, 0);
      return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
    }""")
    return np.array(pixels, np.uint8).reshape(28, 28, 4)[None, None, :, :, 0]


def check_scores(page, image):
    """Compare what stands in the page with what the reference computes here."""
    expected = ReferenceEngine(MNIST).classify(image, spikes=True)
    assert numbers(page, 0) == numbers(page, 1) == expected.scores[0].tolist()
    assert page.locator("#board-class").text_content() == str(expected.classes[0])
    assert page.locator("#reference-class").text_content() == str(expected.classes[0])
    assert page.locator("#verdict").text_content().startswith("✓ Equal: the class and all 10 scores of ")
    labels = page.locator("#layers canvas").evaluate_all("pictures => pictures.map(picture => picture.ariaLabel)")
    assert [label.partition(", timestep ")[2] for label in labels] == [
        f"{step + 1}: {spikes.sum()} of {spikes.size} neurons fire"
        for layer in expected.spikes for step, spikes in enumerate(layer[0])]


#: Pixels of a picture of spikes that have the colour of a spike.
LIT = """canvas => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
      copy.drawImage(canvas, 0, 0);
      const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
      const text = getComputedStyle(document.documentElement).getPropertyValue('--spike').trim();
      const spike = [1, 3, 5].map(begin => parseInt(text.slice(begin, begin + 2), 16)).join();
      let count = 0;
      for (let at = 0; at < data.length; at += 4) {
        count += data.slice(at, at + 3).join() === spike;
      }
      return count;
    }"""


def lit(page, number):
    return page.locator("#layers canvas").nth(number).evaluate(LIT)


def test_a_sample_is_shown_at_once(demonstration, opened):
    page = opened(demonstration.url)
    expect(page.locator("#image-title")).to_have_text("mnist sample 1 of 100, labelled 7")
    assert np.array_equal(image_of(page), DIGITS[:1])
    check_scores(page, DIGITS[:1])
    facts = page.locator("#board-facts").text_content()
    assert "10,961" in facts
    assert "0.228 ms at 48 MHz" in facts
    expect(page.locator("#reference-facts")).to_contain_text("none: software")
    expect(page.locator("#facts-list")).to_contain_text("1 bad frames, 2 overruns, 3 aborted")
    expect(page.locator("#facts-list")).to_contain_text(digest_of(MNIST))
    expect(page.locator("#status")).to_have_text("board, /dev/ttyUSB1")
    expect(page.locator("#spikes .hint")).to_contain_text("Computed by the reference: a board sends scores, not spikes")


def test_every_spike_is_a_pixel_of_its_colour(demonstration, opened):
    for scheme in ("light", "dark"):
        page = opened(demonstration.url, color_scheme=scheme)
        expect(page.locator("#answer")).to_be_visible()
        spikes = ReferenceEngine(MNIST).classify(DIGITS[:1], spikes=True).spikes
        for number, maps in enumerate(spikes):
            assert [lit(page, 4 * number + step) for step in range(4)] == [int(step.sum()) for step in maps[0]]
    # The colours follow the theme while the page is open.
    page.emulate_media(color_scheme="light")
    # The page hears of it with its next picture of the screen, and the test may ask before that.
    page.wait_for_function(f"wanted => ({LIT})(document.querySelector('#layers canvas')) === wanted",
                           arg=int(spikes[0][0, 0].sum()))


def test_a_digit_is_drawn_with_the_mouse(demonstration, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    draw(page, SEVEN)
    expect(page.locator("#image-title")).to_have_text("drawing")
    image = image_of(page)
    rows = np.flatnonzero(image[0, 0].any(axis=1))
    assert rows[-1] - rows[0] + 1 == 20
    expect(page.locator("#board-class")).to_have_text("7")
    check_scores(page, image)
    page.get_by_label("centre and scale as MNIST does").uncheck()
    expect(page.locator("#busy")).to_be_hidden()
    as_drawn = image_of(page)
    assert not np.array_equal(as_drawn, image)
    check_scores(page, as_drawn)
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate("document.activeElement.id") == "pad"
    draw(page, [(0.5, 0.2), (0.5, 0.8)])
    expect(page.locator("#board-class")).to_have_text("1")


def test_a_digit_is_drawn_with_the_keyboard(demonstration, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    page.locator("#pad").focus()
    for key, times in (("ArrowUp", 8), ("Space", 1), ("ArrowDown", 16), ("Space", 1)):
        for _ in range(times):
            page.keyboard.press(key)
    expect(page.locator("#image-title")).to_have_text("drawing")
    expect(page.locator("#board-class")).to_have_text("1")
    check_scores(page, image_of(page))


def test_all_controls_are_reached_with_the_keyboard(demonstration, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[:8] == ["pad", "clear", "fit", "previous", "random", "next", "file", "scroll"]


def test_samples_are_gone_through(demonstration, opened):
    page = opened(demonstration.url)
    title = page.locator("#image-title")
    expect(title).to_have_text("mnist sample 1 of 100, labelled 7")
    page.get_by_role("button", name="Next image").click()
    expect(title).to_have_text("mnist sample 2 of 100, labelled 2")
    check_scores(page, DIGITS[1:2])
    for number in (1, 100):
        page.get_by_role("button", name="Previous image").click()
        expect(title).to_contain_text(f"mnist sample {number} of 100")
    page.get_by_role("button", name="Random").click()
    expect(title).not_to_contain_text("sample 100 of")


def test_files_are_chosen_and_a_bad_one_has_its_line(demonstration, opened, tmp_path):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    page.set_input_files("#file", {"name": "two.idx", "mimeType": "", "buffer": idx(DIGITS[3:5, 0])})
    expect(page.locator("#image-title")).to_have_text("two.idx 1 of 2")
    page.get_by_role("button", name="Next image").click()
    expect(page.locator("#image-title")).to_have_text("two.idx 2 of 2")
    check_scores(page, DIGITS[4:5])
    page.set_input_files("#file", {"name": "small.png", "mimeType": "image/png",
                                   "buffer": png(np.zeros((20, 20), np.uint8))})
    error = page.get_by_role("alert")
    expect(error).to_contain_text("small.png: PNG must be 28 x 28 of 8-bit grey, not 20 x 20 of 8-bit grey")
    expect(page.locator("#answer")).to_be_hidden()
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    assert page.problems == ["Failed to load resource: the server responded with a status of 400 (BAD REQUEST)"]
    page.problems.clear()
    page.get_by_role("button", name="Back to the samples").click()
    expect(error).to_be_hidden()
    expect(page.locator("#image-title")).to_have_text("mnist sample 1 of 100, labelled 7")
    with (tmp_path / "large.npy").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    page.set_input_files("#file", tmp_path / "large.npy")
    expect(error).to_contain_text("large.npy: file must have at most 16 MiB, not 16.0 MiB")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_a_file_is_dropped_anywhere(demonstration, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    transfer = page.evaluate_handle("""bytes => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "mine.png", {type: "image/png"}));
      return transfer;
    }""", list(png(DIGITS[8, 0])))
    page.dispatch_event("#results", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("#results", "drop", {"dataTransfer": transfer})
    expect(page.locator("#image-title")).to_have_text("mine.png")
    expect(page.locator("#drop")).to_have_class("drop")
    check_scores(page, DIGITS[8:9])


def test_a_difference_is_marked(demonstration, bench, opened):
    bench.wrong = -3
    page = opened(demonstration.url)
    expect(page.locator("#verdict")).to_have_text(re.compile(r"^✗ Different: score 9: -?\d+ expected, not -?\d+$"))
    expect(page.locator("#verdict")).to_have_class("verdict bad")
    rows = page.locator("#scores tr.different")
    assert rows.count() == 1
    expect(rows.locator("th")).to_have_text("9")
    expect(rows.locator(".mark")).to_have_text("≠")
    assert numbers(page, 0)[9] == numbers(page, 1)[9] - 3


def test_models_are_chosen_in_two_tabs(opened):
    bench = Bench(models={0: MNIST, 1: ErrorCode.DAMAGED, 2: FASHION, 3: colour_network()})
    with served(bench.open) as client:
        first, second = opened(client.url), opened(client.url)
        for page in (first, second):
            expect(page.locator("#image-title")).to_have_text("mnist sample 1 of 100, labelled 7")
        assert first.locator("#model option").all_text_contents() == [
            "0: mnist-conv", "1: a model (not served)", "2: fashion-conv", "3: colours (not served)"]
        expect(first.locator("#not-served")).to_have_text(
            "Model 1 is not served: damaged. colours is not served: no file of it is known for the reference: name it, "
            "python -m firmware.demo NETWORK.")
        second.get_by_label("Model of the board").select_option(label="2: fashion-conv")
        expect(second.locator("#image-title")).to_have_text("fashion-mnist sample 1 of 100, labelled Ankle boot")
        expect(second.locator("#board-class")).to_have_text("Ankle boot")
        assert bench.selections[-1] == 2
        first.get_by_role("button", name="Next image").click()
        expect(first.locator("#image-title")).to_have_text("mnist sample 2 of 100, labelled 2")
        check_scores(first, DIGITS[1:2])
        assert bench.selections[-1] == 0


def test_a_board_that_was_unplugged_is_tried_again(demonstration, bench, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    bench.plugged = False
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "port /dev/ttyUSB1 must be a serial device that can be used: Input/output error")
    expect(page.locator("#status")).to_have_text("the board does not answer")
    bench.plugged = True
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#image-title")).to_have_text("mnist sample 2 of 100, labelled 2")
    expect(page.locator("#status")).to_have_text("board, /dev/ttyUSB1")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert page.problems == ["Failed to load resource: the server responded with a status of 503 (SERVICE UNAVAILABLE)"]
    page.problems.clear()


def test_the_newest_drawing_is_shown_though_the_board_is_slow(demonstration, bench, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    bench.computes.clear()
    for _ in range(3):
        page.get_by_role("button", name="Next image").click()
    expect(page.locator("#busy")).to_be_visible()
    draw(page, SEVEN)
    bench.computes.set()
    expect(page.locator("#image-title")).to_have_text("drawing")
    expect(page.locator("#busy")).to_be_hidden()
    check_scores(page, image_of(page))


def test_colours_are_not_drawn_and_events_are_not_shown(tmp_path, opened):
    for encoding in (Encoding.PIXELS, Encoding.EVENTS):
        network = colour_network(encoding)
        network_file.save(network, tmp_path / "mine.safetensors")
        with served(Bench(network).open, named=[tmp_path / "mine.safetensors"]) as client:
            page = opened(client.url)
            expect(page.locator("#facts" if encoding is Encoding.PIXELS else "#not-served")).to_be_visible()
            expect(page.locator("#drawing")).to_be_hidden()
            if encoding is Encoding.EVENTS:
                expect(page.locator("#not-served")).to_have_text(
                    "colours is not served: its input is events, and this page shows networks of pixels: use python -m "
                    "firmware.host.")
                expect(page.locator("#drop")).to_be_hidden()
                continue
            expect(page.locator("#no-drawing")).to_be_visible()
            expect(page.locator("#samples")).to_be_hidden()
            image = np.random.default_rng(4).integers(0, 256, (4, 5, 3), dtype=np.uint8)
            page.set_input_files("#file", {"name": "noise.png", "mimeType": "image/png", "buffer": png(image)})
            expect(page.locator("#image-title")).to_have_text("noise.png")
            expected = ReferenceEngine(network).classify(image.transpose(2, 0, 1)[None])
            assert numbers(page, 0) == numbers(page, 1) == expected.scores[0].tolist()


def test_what_is_compiled_is_shown_until_the_board_answers(bench, opened):
    go = threading.Event()

    def compiling(report):
        report("compile the simulation", 3, 30)
        assert go.wait(20)
        return bench.open()

    with served(compiling, port="sim", started=False) as client:
        page = opened(client.url)
        expect(page.locator("#starting-text")).to_have_text(
            "compiling the simulation: compile the simulation, 3 of 30 files")
        expect(page.locator("#starting-seconds")).to_have_text(re.compile(r"^for \d s$"))
        expect(page.locator("#starting-hint")).to_have_text(
            "The circuit is compiled once, which takes one to three minutes; later it starts in seconds.")
        expect(page.locator("#status")).to_have_text("simulated RTL (Verilator)")
        expect(page.locator("#input")).to_be_hidden()
        go.set()
        expect(page.locator("#starting")).to_be_hidden()
        expect(page.locator("#verdict")).to_have_text(
            "✓ Equal: the class and all 10 scores of simulated RTL (Verilator) and reference")


def test_a_demonstration_that_ends_while_it_starts_is_named(bench, opened):
    go = threading.Event()

    def waiting(report):
        assert go.wait(20)
        return bench.open()

    with served(waiting, started=False) as client:
        page = opened(client.url)
        expect(page.locator("#starting-text")).to_have_text("looking for the board")
        # The server is there no more.
        page.route("**/api/board", lambda route: route.abort())
        expect(page.locator("#starting-text")).to_have_text(
            "the demonstration has ended: start it again with python -m firmware.demo, and reload the page")
        expect(page.locator("#starting-hint")).to_have_text("The terminal says why it ended.")
        go.set()
    assert page.problems == ["Failed to load resource: net::ERR_FAILED"]
    page.problems.clear()


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_texts_can_be_read(size, scheme, demonstration, opened):
    page = opened(demonstration.url, viewport=size, color_scheme=scheme)
    expect(page.locator("#answer")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    # Contrast of at least 4.5, as of WCAG 2.2, success criterion 1.4.3.
    faint = page.evaluate("""() => {
      const parse = text => text.match(/[\\d.]+/g).map(Number);
      const light = text => parse(text).slice(0, 3).map(value => value / 255)
        .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, band) => sum + value * [0.2126, 0.7152, 0.0722][band], 0);
      const ground = element => {
        const colour = getComputedStyle(element).backgroundColor;
        return (parse(colour)[3] ?? 1) > 0 || !element.parentElement ? colour : ground(element.parentElement);
      };
      return [...document.querySelectorAll("h1, h2, h3, p, dt, dd, th, td, span, button, label, figcaption")]
        .filter(element => element.checkVisibility() && element.textContent.trim())
        .map(element => [element, light(getComputedStyle(element).color), light(ground(element))])
        .filter(([, text, under]) => (Math.max(text, under) + 0.05) / (Math.min(text, under) + 0.05) < 4.5)
        .map(([element]) => element.outerHTML.slice(0, 80));
    }""")
    assert faint == []


def test_controls_have_names(demonstration, opened):
    page = opened(demonstration.url)
    expect(page.locator("#answer")).to_be_visible()
    tree = page.locator("body").aria_snapshot()
    for line in ('application "Drawing pad"', 'button "Clear"', 'checkbox "centre and scale as MNIST does"',
                 'button "Previous image"', 'button "Random"', 'button "Next image"', 'button "Choose a file"',
                 'region "Scores of all classes"',
                 'img "Image of 28 x 28 pixels: mnist sample 1 of 100, labelled 7"'):
        assert line in tree, tree
    assert page.locator("main button:visible, main canvas:visible, main input, main select").evaluate_all(
        "elements => elements.filter(element => !(element.ariaLabel || element.textContent.trim() || "
        "element.labels?.length)).map(element => element.id)") == []


@pytest.mark.rtl
def test_a_digit_is_drawn_for_the_simulated_board(opened):
    """The whole way: mouse, page, pseudo-terminal, RTL, and back; and Ctrl-C ends all of it."""
    program = [sys.executable, "-m", "firmware.demo", "--no-browser", "--listen-port", "0", "--port", "sim"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            page = opened(re.match(r"http://[\d.:]+/", process.stdout.readline())[0])
            expect(page.locator("#answer")).to_be_visible(timeout=600_000)
            expect(page.locator("#status")).to_have_text("simulated RTL (Verilator)")
            expect(page.locator("#board-title")).to_have_text("Simulated RTL")
            check_scores(page, DIGITS[:1])
            draw(page, SEVEN)
            expect(page.locator("#image-title")).to_have_text("drawing")
            expect(page.locator("#board-class")).to_have_text("7")
            check_scores(page, image_of(page))
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 1
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        assert process.stderr.read().endswith("ERROR: interrupted\n")
    assert not any(pathlib.Path("/proc", child).exists() for child in children)
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "the demonstration has ended: start it again with python -m firmware.demo, and reload the page")
    expect(page.locator("#status")).to_have_text("ended")
    assert set(page.problems) == {"Failed to load resource: net::ERR_CONNECTION_REFUSED"}
    page.problems.clear()
