"""Boards for the demonstration: scripted devices that compute what the reference does, and the server on them."""

import contextlib
import dataclasses
import http.client
import json
import threading

import numpy as np

from arch import network_file
from arch.link import Command, ErrorCode, FrameReader, InfoReply, InputEncoding, LinkCounters, Reply
from arch.network import Encoding, Input, Network, Readout
from firmware.demo.board import Board, State
from firmware.demo.networks import Catalogue
from firmware.demo.server import ADDRESS, Server, create_app
from firmware.host.accelerator import Accelerator
from firmware.host.errors import PortError
from firmware.host.ports import Port
from models import FOLDER
from reference.network import Reference
from tests.firmware.host.test_link import reply
from tests.link_board import expected_result, make_info

MNIST = network_file.load(FOLDER / "mnist-conv.safetensors")
FASHION = network_file.load(FOLDER / "fashion-conv.safetensors")
CYCLES = 10_961


def digest_of(network):
    """The hash as a board tells it."""
    return network_file.digest(network)[:16]


def colour_network(encoding=Encoding.PIXELS):
    """A network of three channels, or of events, whose scores are sums of its inputs."""
    source = Input(encoding=encoding, channels=3, height=4, width=5)
    weights = np.random.default_rng(3).integers(-1, 2, (10, 60)).astype(np.int8)
    return Network(input=source, layers=(Readout(weights=weights),), timesteps=2, metadata={"name": "colours"})


def info_of(network, name):
    """The info block of a board that runs a network."""
    source = network.input
    info = make_info(height=source.height, width=source.width, channels=source.channels, classes=network.classes,
                     timesteps=network.timesteps, name=name, encoding=(
                         InputEncoding.EVENTS if source.encoding is Encoding.EVENTS else InputEncoding.UNSIGNED))
    return dataclasses.replace(info, digest=bytes.fromhex(digest_of(network)))


class Bench:
    """A workbench with a board that may be unplugged; its models outlive the connection.

    Parameters
    ----------
    network : the network of its bitstream, or None
    models : networks or errors by number, of its flash
    """

    def __init__(self, network=None, models=None):
        self.network, self.models = network, models
        self.selected = network or next(iter(models.values()))
        self.plugged = True
        #: What is added to the last score, and the error that answers an image, if any.
        self.wrong, self.failing = 0, None
        #: Images wait for it.
        self.computes = threading.Event()
        self.computes.set()
        self.references = {}
        self.selections = []
        self.opened = self.closed = 0

    def open(self, report=None):
        if not self.plugged:
            raise PortError("--port auto must find a board, and none is plugged in")
        self.opened += 1
        return Accelerator(Port(transport=Line(self), name="/dev/ttyUSB1", timeout=0.01, silence=0.01, alone=True))

    def answer(self, frame):
        if frame.command == Command.SELECT:
            if self.models is None:
                return reply(frame, Reply.ERROR, bytes([ErrorCode.UNKNOWN_COMMAND]))
            self.selected = self.models.get(frame.payload[0], ErrorCode.NO_MODEL)
            self.selections.append(frame.payload[0])
        if isinstance(self.selected, ErrorCode):
            return reply(frame, Reply.ERROR, bytes([self.selected]))
        if frame.command == Command.CLASSIFY:
            return self.result(frame)
        name = {id(MNIST): "mnist-conv", id(FASHION): "fashion-conv"}.get(id(self.selected), "colours")
        counters = LinkCounters(bad_frames=1, overruns=2, aborted_frames=3)
        return reply(frame, Reply.INFO, InfoReply(info=info_of(self.selected, name), counters=counters).to_bytes())

    def result(self, frame):
        self.computes.wait(20)
        if self.failing is not None:
            return reply(frame, Reply.ERROR, bytes([self.failing]))
        network = self.selected
        source = network.input
        if len(frame.payload) != source.height * source.width * source.channels:
            return reply(frame, Reply.ERROR, bytes([ErrorCode.WRONG_LENGTH]))
        pixels = np.frombuffer(frame.payload, np.uint8).reshape(1, source.height, source.width, source.channels)
        reference = self.references.setdefault(digest_of(network), Reference(network))
        result = reference.run(pixels.transpose(0, 3, 1, 2))
        scores = result.scores[0].tolist()
        scores[-1] += self.wrong
        answer = dataclasses.replace(expected_result(b"", CYCLES), label=int(result.classes[0]), scores=tuple(scores))
        return reply(frame, Reply.RESULT, answer.to_bytes())


class Line:
    """A connection to the board of a bench."""

    def __init__(self, bench):
        self.bench, self.reader, self.pending = bench, FrameReader(), bytearray()

    def check(self):
        if not self.bench.plugged:
            raise PortError("port /dev/ttyUSB1 must be a serial device that can be used: Input/output error")

    def write(self, data):
        self.check()
        for frame in self.reader.feed(data):
            self.pending += self.bench.answer(frame)

    def read(self, size, timeout):
        self.check()
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data

    def close(self):
        self.bench.closed += 1


class Client:
    """Talks to the server as the page does, or not quite as it does."""

    def __init__(self, board, server):
        self.board, self.url = board, server.url
        self.host = server.url.removeprefix("http://").rstrip("/")

    def send(self, method, path, body=None, headers=()):
        """Return status, headers and body of an answer."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Host": self.host, "Origin": self.url.rstrip("/"), **dict(headers)})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def ask(self):
        """Where the board is."""
        status, _, body = self.send("GET", "/api/board")
        assert status == 200
        return json.loads(body)

    def classify(self, network, **source):
        """Return the status and the JSON of an answer."""
        return self.post({"network": digest_of(network), "input": source})

    def post(self, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        status, _, answer = self.send("POST", "/api/classify", body)
        return status, json.loads(answer)


@contextlib.contextmanager
def served(open_board, *, named=(), port="auto", started=True):
    """Run a demonstration on a board; yields its :class:`Client`."""
    catalogue = Catalogue(named)
    board = Board(open_board, catalogue)
    ready = threading.Event()
    thread = threading.Thread(target=board.run, args=(ready.set,))
    with Server(create_app(board, catalogue, port=port), 0) as server:
        thread.start()
        try:
            if started:
                assert ready.wait(20)
            yield Client(board, server)
        finally:
            board.stop()
            thread.join(20)
            assert board.status.state is State.ENDED
            assert server.url.startswith(f"http://{ADDRESS}:")
