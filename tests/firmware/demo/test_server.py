"""The server of the demonstration, through its socket, with scripted boards."""

import base64
import concurrent.futures
import json
import pathlib
import re
import threading
import urllib.parse

import numpy as np
import pytest

from arch import network_file
from arch.images import load_images
from arch.link import ErrorCode
from arch.network import Encoding
from firmware.demo import server as demo_server
from firmware.demo.board import Board
from firmware.demo.networks import Catalogue
from firmware.demo.server import FILES, MAX_BODY_BYTES, Server
from firmware.host.errors import PortError
from models import SAMPLES
from reference.engines import ReferenceEngine
from support.errors import InputError
from tests.firmware.demo.boards import CYCLES, FASHION, MNIST, Bench, colour_network, digest_of, served
from tests.image_files import idx, npy, png

DIGITS = load_images(SAMPLES / "mnist-images.idx.gz", MNIST)


def save(network, folder):
    """The file of a network."""
    network_file.save(network, folder / "mine.safetensors")
    return folder / "mine.safetensors"


def base64_of(content):
    return base64.b64encode(bytes(content)).decode()


@pytest.fixture
def bench():
    return Bench(MNIST)


@pytest.fixture
def page(bench):
    with served(bench.open) as client:
        yield client


def test_the_page_is_its_files_and_nothing_from_elsewhere(page):
    for name, kind in FILES.items():
        for path in ({"/", "/index.html"} if name == "index.html" else {f"/{name}"}):
            status, headers, body = page.send("GET", path)
            assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
            addresses = set(re.findall(rb"(?:https?:)?//[\w.]+[^\s\"']*", re.sub(rb"^\s*//.*", b"", body, flags=re.M)))
            assert addresses <= {b"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", [
    "/server.py", "/../server.py", "/page/index.html", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd",
    "/api/nothing", "/static/style.css", "/index.html%00", "/index.html/",
])
def test_no_other_file_is_read(page, path):
    status, _, body = page.send("GET", path)
    assert (status, set(json.loads(body))) == (404, {"error"})
    assert json.loads(body)["error"] in ("no such page", "not found")


@pytest.mark.parametrize("host", ["sterna.example:80", "127.0.0.1", "localhost", "127.0.0.1:1", ""])
def test_names_that_point_here_are_refused(page, host):
    own = [f"{name}:{page.host.partition(':')[2]}" for name in ("127.0.0.1", "localhost")]
    for method, path in (("GET", "/"), ("GET", "/api/board"), ("POST", "/api/classify"), ("GET", "/nothing")):
        status, _, body = page.send(method, path, headers={"Host": host})
        assert (status, json.loads(body)) == (403, {"error": f"host must be {own[0]} or {own[1]}"})


def test_localhost_is_a_name_of_this_computer(page):
    host = page.host.replace("127.0.0.1", "localhost")
    assert page.send("GET", "/", headers={"Host": host})[0] == 200


@pytest.mark.parametrize("origin", ["http://sterna.example", "null", "https://{host}", "http://{host}.example", ""])
def test_work_is_done_for_the_page_alone(page, bench, origin):
    body = json.dumps({"network": digest_of(MNIST), "input": {"kind": "sample", "index": 0}})
    status, _, answer = page.send("POST", "/api/classify", body, {"Origin": origin.format(host=page.host)})
    assert (status, json.loads(answer)) == (403, {"error": f"origin must be http://{page.host}, the page itself"})
    assert bench.references == {}


def test_the_server_listens_on_the_loopback_interface_only(page):
    port = urllib.parse.urlsplit(page.url).port
    # Linux shows sockets as hexadecimal address and port; state 0A listens.
    rows = [line.split() for table in pathlib.Path("/proc/net").glob("tcp*") for line in table.read_text().splitlines()]
    assert [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(("content", "line"), [
    (b"", "request must be JSON: Expecting value: line 1 column 1 (char 0)"),
    (b"{", ("request must be JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)")),
    (b'{"network": 1, "network": 2}', "request must be JSON: a key appears twice"),
    (b"[" * 100_000, "request must be JSON: it is nested too deeply"),
    (b'{"input": {"index": 1e400}}', "request must be JSON: a number must be within +-1.8e308, not '1e400'"),
    (b'{"input": {"index": ' + b"9" * 5000 + b"}}",
     "request must be JSON: an integer must have at most 1000 digits, not 5000"),
    ([], "request must be an object with the keys input and network"),
    ({"network": 1}, "request must be an object with the keys input and network"),
    ({"network": "../x", "input": {}}, "network must be 16 hexadecimal digits, not '../x'"),
    ({"network": "0" * 16, "input": []}, "input must be an object, not []"),
])
def test_a_request_of_another_form_has_its_line(page, content, line):
    assert page.post(content) == (400, {"error": line})


@pytest.mark.parametrize(("source", "line"), [
    ({}, "input must have the key kind"),
    ({"kind": None}, "kind of an input must be drawing, sample or file, not null"),
    ({"kind": ["sample"]}, 'kind of an input must be drawing, sample or file, not ["sample"]'),
    ({"kind": {"a": [False] * 20}},
     'kind of an input must be drawing, sample or file, not {"a": [false, false, false, false, fa...'),
    ({"kind": "sample"}, "input must have the keys kind, index, not kind"),
    ({"kind": "sample", "index": 100}, "index must be an integer, 0 to 99, not 100"),
    ({"kind": "sample", "index": True}, "index must be an integer, 0 to 99, not true"),
    ({"kind": "file", "name": "", "content": "", "index": 0}, "name must be that of a file, not ''"),
    ({"kind": "file", "name": "a", "content": "?", "index": 0}, "content must be bytes in base64, not '?'"),
    ({"kind": "file", "name": "a", "content": 5, "index": 0}, "content must be bytes in base64, not 5"),
    ({"kind": "file", "name": "a\n.png", "content": base64_of(b"no"), "index": 0},
     "a .png: must be an idx, idx.gz, npy, npz or PNG file"),
    ({"kind": "file", "name": "a.npy", "content": base64_of(npy(np.zeros((2, 1, 3, 3), np.uint8))), "index": 0},
     "a.npy: images must have shape (n, 1, 28, 28), not (2, 1, 3, 3)"),
    ({"kind": "file", "name": "a.idx", "content": base64_of(idx(DIGITS[:2, 0])), "index": 2},
     "index must be an integer, 0 to 1, not 2"),
    ({"kind": "drawing", "height": 0, "width": 1, "pixels": "", "rule": "mnist"},
     "height must be an integer, 1 to 1024, not 0"),
    ({"kind": "drawing", "height": 1, "width": 2, "pixels": base64_of(b"\1"), "rule": "mnist"},
     "pixels must be 2 bytes, not 1"),
    ({"kind": "drawing", "height": 1, "width": 1, "pixels": base64_of(b"\1"), "rule": "best"},
     "rule must be mnist or as drawn, not 'best'"),
    ({"kind": "drawing", "height": 1, "width": 1, "pixels": base64_of(b"\0"), "rule": "mnist"},
     "drawing must have ink, not be empty: draw something"),
])
def test_an_input_that_cannot_be_used_has_its_line(page, source, line):
    assert page.classify(MNIST, **source) == (400, {"error": line})


def test_requests_have_a_limit(page):
    status, _, body = page.send("POST", "/api/classify", b"x" * (MAX_BODY_BYTES + 1))
    assert (status, json.loads(body)) == (
        413, {"error": f"request must have at most {MAX_BODY_BYTES} bytes: a file of 16 MiB"})


def test_requests_without_a_length_are_refused(page, bench):
    """In chunks, a request beyond the limit looked like one that ends there."""
    body = json.dumps({"network": digest_of(MNIST), "input": {"kind": "sample", "index": 0}}).encode()
    for content in (body, body + b" " * MAX_BODY_BYTES):
        # HTTPConnection sends what has no length in chunks.
        status, _, answer = page.send("POST", "/api/classify", iter([content]))
        assert (status, json.loads(answer)) == (411, {
            "error": "request must tell its length in a header Content-Length"})
    assert bench.references == {}


def test_other_methods_are_refused_in_one_line(page):
    for method, path in (("GET", "/api/classify"), ("POST", "/"), ("DELETE", "/api/board"), ("PUT", "/index.html")):
        status, _, body = page.send(method, path)
        assert (status, json.loads(body)) == (405, {"error": "method not allowed"})


def test_a_sample_is_computed_by_both(page):
    status, answer = page.classify(MNIST, kind="sample", index=3)
    expected = ReferenceEngine(MNIST).classify(DIGITS[3:4], spikes=True)
    assert status == 200
    assert answer["board"] == {
        "class": int(expected.classes[0]), "scores": expected.scores[0].tolist(), "cycles": CYCLES,
        "milliseconds": CYCLES / 48_000, "stalls": 0, "flash_stalls": 7}
    assert answer["reference"] == {"class": int(expected.classes[0]), "scores": expected.scores[0].tolist()}
    assert answer["differences"] == []
    assert answer["counters"] == {"bad_frames": 1, "overruns": 2, "aborted_frames": 3}
    assert answer["repeated"] == 0
    assert answer["input"] == {"title": "mnist sample", "index": 3, "count": 100, "label": 0, "channels": 1,
                               "height": 28, "width": 28, "pixels": base64_of(DIGITS[3].tobytes())}
    assert [layer["title"] for layer in answer["layers"]] == [
        "1. convolution 7 x 7, stride 2", "2. convolution 3 x 3", "3. or-pool 2 x 2", "4. convolution 3 x 3",
        "5. or-pool 2 x 2"]
    for layer, maps in zip(answer["layers"], expected.spikes, strict=True):
        shape = [layer[name] for name in ("timesteps", "channels", "height", "width")]
        bits = np.unpackbits(np.frombuffer(base64.b64decode(layer["spikes"]), np.uint8), count=int(np.prod(shape)))
        assert np.array_equal(bits.reshape(shape).astype(bool), maps[0])
        assert layer["rate"] == pytest.approx(maps.mean())
        assert layer["rates"] == pytest.approx([step.mean() for step in maps[0]])


def test_drawings_and_files_are_computed(page):
    drawing = DIGITS[5, 0].repeat(10, axis=0).repeat(10, axis=1)
    status, answer = page.classify(MNIST, kind="drawing", height=280, width=280, pixels=base64_of(drawing.tobytes()),
                                   rule="as drawn")
    assert (status, answer["input"]["title"], answer["input"]["label"]) == (200, "drawing", None)
    assert answer["input"]["pixels"] == base64_of(DIGITS[5].tobytes())
    for content, count in ((png(DIGITS[5, 0]), 1), (idx(DIGITS[4:7, 0]), 3)):
        index = min(1, count - 1)
        status, answer = page.classify(MNIST, kind="file", name="mine", content=base64_of(content), index=index)
        assert (status, answer["input"]["index"], answer["input"]["count"]) == (200, index, count)
        assert answer["input"]["pixels"] == base64_of(DIGITS[5].tobytes())


def test_a_wrong_score_is_named(page, bench):
    bench.wrong = 2
    status, answer = page.classify(MNIST, kind="sample", index=0)
    score = answer["reference"]["scores"][9]
    assert (status, answer["differences"]) == (200, [f"score 9: {score} expected, not {score + 2}"])


def test_the_board_says_what_it_is(page):
    found = page.ask()
    assert (found["state"], found["text"], found["engine"], found["port"]) == ("ready", "", "board", "/dev/ttyUSB1")
    (model,) = found["models"]
    assert (model["number"], model["name"], model["network"]) == (None, "mnist-conv", digest_of(MNIST))
    assert (model["file"], model["samples"], model["drawing"], model["refused"]) == (
        "mnist-conv.safetensors", 100, True, None)
    assert found["selected"] == digest_of(MNIST)


def test_two_tabs_have_two_models_of_one_board():
    bench = Bench(models={0: MNIST, 2: ErrorCode.DAMAGED, 3: FASHION})
    with served(bench.open) as page:
        found = page.ask()
        assert [(model["number"], model["refused"]) for model in found["models"]] == [
            (0, None), (2, "damaged"), (3, None)]
        assert found["models"][2]["class_names"][9] == "Ankle boot"
        assert found["selected"] == digest_of(MNIST)

        def tab(network):
            return [page.classify(network, kind="sample", index=index) for index in range(6)]

        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = list(pool.map(tab, (MNIST, FASHION)))
    for network, images, found in zip((MNIST, FASHION), ("mnist", "fashion-mnist"), answers, strict=True):
        expected = ReferenceEngine(network).classify(load_images(SAMPLES / f"{images}-images.idx.gz", network)[:6])
        assert [status for status, _ in found] == [200] * 6
        assert [answer["board"]["scores"] for _, answer in found] == expected.scores.tolist()
        assert not any(answer["differences"] for _, answer in found)


def test_a_board_that_is_unplugged_is_found_again(page, bench):
    assert page.classify(MNIST, kind="sample", index=0)[0] == 200
    bench.plugged = False
    line = "port /dev/ttyUSB1 must be a serial device that can be used: Input/output error"
    assert page.classify(MNIST, kind="sample", index=0) == (503, {"error": line})
    found = page.ask()
    assert (found["state"], found["text"], len(found["models"])) == ("lost", line, 1)
    line = "--port auto must find a board, and none is plugged in"
    assert page.classify(MNIST, kind="sample", index=0) == (503, {"error": line})
    bench.plugged = True
    assert page.classify(MNIST, kind="sample", index=0)[0] == 200
    assert page.ask()["state"] == "ready"
    assert (bench.opened, bench.closed) == (2, 1)


def test_a_board_with_another_network_is_named_after_it_was_lost(page, bench):
    bench.plugged = False
    assert page.classify(MNIST, kind="sample", index=0)[0] == 503
    bench.plugged, bench.selected = True, FASHION
    assert page.classify(MNIST, kind="sample", index=0) == (400, {
        "error": f"board must have the network with the sha256 {digest_of(MNIST)}, and has not: reload the page"})
    assert page.ask()["models"][0]["name"] == "fashion-conv"
    assert page.classify(FASHION, kind="sample", index=0)[0] == 200


def test_a_board_that_was_switched_off_and_on_runs_the_right_model():
    bench = Bench(models={0: FASHION, 1: MNIST})
    with served(bench.open) as page:
        assert page.classify(MNIST, kind="sample", index=0)[0] == 200
        # With its first model, or with none, and the host is not told.
        for selected in (FASHION, ErrorCode.NO_MODEL):
            bench.selected = selected
            status, answer = page.classify(MNIST, kind="sample", index=1)
            assert (status, answer["differences"], answer["board"]["class"]) == (200, [], 2)
        assert bench.selections[-3:] == [1, 1, 1]
    assert bench.opened == 1


def test_a_bitstream_that_was_replaced_is_named(page, bench):
    assert page.classify(MNIST, kind="sample", index=0)[0] == 200
    bench.selected = FASHION
    line = f"board must run the network with the sha256 {digest_of(MNIST)}, not another: reload the page"
    assert page.classify(MNIST, kind="sample", index=0) == (503, {"error": line})
    assert page.classify(FASHION, kind="sample", index=0)[0] == 200
    # Its images have another size.
    bench.selected = colour_network()
    assert page.classify(FASHION, kind="sample", index=0) == (503, {
        "error": line.replace(digest_of(MNIST), digest_of(FASHION))})
    status, answer = page.classify(FASHION, kind="sample", index=0)
    assert (status, answer["error"].partition(",")[0]) == (503, "file of the board's network")


@pytest.mark.parametrize(("port", "engine"), [
    ("auto", "board"), ("/dev/ttyUSB1", "board"), ("sim:overlay", "simulated RTL (Verilator)"),
    ("pipe:python mine.py", "program in the place of a board"), ("/dev/pts/5", "program in the place of a board"),
])
def test_the_page_says_what_computes(bench, port, engine):
    with served(bench.open, port=port) as page:
        assert page.ask()["engine"] == engine


def test_a_refusal_leaves_the_board_as_it_is(page, bench):
    bench.failing = ErrorCode.FLASH
    status, answer = page.classify(MNIST, kind="sample", index=0)
    assert (status, answer["error"].partition(":")[0]) == (503, "device refuses CLASSIFY")
    assert page.ask()["state"] == "ready"
    bench.failing = None
    assert page.classify(MNIST, kind="sample", index=0)[0] == 200
    assert bench.opened == 1


def test_networks_of_colours_are_served_without_drawings(tmp_path):
    network = colour_network()
    demo_file = save(network, tmp_path)
    image = np.random.default_rng(7).integers(0, 256, (1, 3, 4, 5), dtype=np.uint8)
    with served(Bench(network).open, named=[demo_file]) as page:
        (model,) = page.ask()["models"]
        assert (model["drawing"], model["samples"], model["refused"]) == (False, 0, None)
        status, answer = page.classify(network, kind="file", name="noise.npy", content=base64_of(npy(image)), index=0)
        assert (status, answer["differences"], answer["input"]["channels"]) == (200, [], 3)
        assert answer["board"]["scores"] == ReferenceEngine(network).classify(image).scores[0].tolist()
        assert page.classify(network, kind="drawing", height=1, width=1, pixels="AQ==", rule="mnist") == (
            400, {"error": "drawings are for networks of one channel, not 3: choose a file"})
        assert page.classify(network, kind="sample", index=0) == (
            400, {"error": "no samples ship for this network: draw, or choose a file"})


def test_networks_of_events_are_named_and_not_served(tmp_path):
    network = colour_network(Encoding.EVENTS)
    with served(Bench(network).open, named=[save(network, tmp_path)]) as page:
        (model,) = page.ask()["models"]
        assert model["refused"] == ("its input is events, and this page shows networks of pixels: use python -m "
                                    "firmware.host")
        assert page.classify(network, kind="sample", index=0) == (
            400, {"error": "network must take pixels, not events: select another model"})


def test_a_model_without_a_file_is_not_served(page):
    status, answer = page.post({"network": "0" * 16, "input": {"kind": "sample", "index": 0}})
    assert (status, answer) == (404, {
        "error": f"no file of a network with the sha256 {'0' * 16} is known: reload the page"})
    bench = Bench(models={0: MNIST, 1: colour_network()})
    with served(bench.open) as page:
        refused = page.ask()["models"][1]["refused"]
    assert refused == "no file of it is known for the reference: name it, python -m firmware.demo NETWORK"


def test_the_page_shows_what_is_compiled(bench):
    reached, go = threading.Event(), threading.Event()

    def compiling(report):
        report("compile the simulation", 3, 30)
        reached.set()
        assert go.wait(20)
        return bench.open()

    with served(compiling, port="sim", started=False) as page:
        assert reached.wait(20)
        found = page.ask()
        assert (found["state"], found["text"], found["engine"], found["port"]) == (
            "starting", "compiling the simulation: compile the simulation, 3 of 30 files", "simulated RTL (Verilator)",
            "sim")
        assert page.classify(MNIST, kind="sample", index=0) == (503, {
            "error": "board is not ready: compiling the simulation: compile the simulation, 3 of 30 files"})
        go.set()


def test_whoever_waits_at_the_end_is_told(bench):
    ended = (503, {"error": "the demonstration has ended: start it again"})
    bench.computes.clear()
    with served(bench.open) as page, concurrent.futures.ThreadPoolExecutor() as pool:
        computed = page.board.classify(digest_of(MNIST), DIGITS[:1])
        page.board.stop()
        waiting = pool.submit(page.classify, MNIST, kind="sample", index=0)
        bench.computes.set()
        assert computed.result(20).result.classes.tolist() == [7]
        assert waiting.result(20) == ended
        assert page.classify(MNIST, kind="sample", index=0) == ended
        assert page.ask()["state"] == "ended"
    assert bench.opened == bench.closed == 1


@pytest.mark.parametrize(("error", "line"), [
    (KeyboardInterrupt, "the demonstration has ended: start it again"),
    (KeyError, "board was not asked to the end: KeyError, a mistake of the demonstration: see the terminal"),
])
def test_whoever_waits_for_a_board_that_is_not_asked_to_the_end_is_told(bench, monkeypatch, error, line):
    def end(*_):
        raise error

    board = Board(bench.open, Catalogue())
    monkeypatch.setattr(board, "_classify", end)
    waiting = board.classify(digest_of(MNIST), DIGITS[:1])
    with pytest.raises(error):
        board.run()
    assert str(waiting.exception(20)) == line


def test_a_mistake_of_ours_is_one_line_in_the_page(page, monkeypatch, capfd):
    monkeypatch.setattr(demo_server, "comparison", lambda *_: {}["missing"])
    assert page.classify(MNIST, kind="sample", index=0) == (500, {
        "error": "KeyError, a mistake of the demonstration: see the terminal"})
    assert capfd.readouterr().err.rstrip().endswith("KeyError: 'missing'")


def test_a_port_that_is_taken_is_refused(page):
    taken = int(page.host.partition(":")[2])
    with pytest.raises(InputError) as caught:
        Server(None, taken)
    assert str(caught.value) == (f"--listen-port must be a port that is free, not {taken} (Address already in use): "
                                 "name another, or 0 for any")


def test_a_board_that_is_not_there_ends_the_demonstration():
    bench = Bench(MNIST)
    bench.plugged = False
    with pytest.raises(PortError, match=r"^--port auto must find a board, and none is plugged in$"):
        Board(bench.open, Catalogue()).run()
