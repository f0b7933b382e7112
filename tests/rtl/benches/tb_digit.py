"""One real digit on the whole chip with the shipped network built in, as in the bitstream; less spike memory."""

from pathlib import Path

import cocotb
from cocotb.triggers import Timer

from arch import network_file
from arch.images import image_bytes, load_images
from arch.link import RESULT_HEADER_WORDS, Command, Frame, FrameReader, Reply, Result
from boards import BOARDS
from gateware.mapper.choice import choose_config, map_network
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from gateware.source import Baked
from gateware.system import System
from reference.network import Reference
from tests.rtl.benches.clocking import PERIOD, start
from tests.rtl.benches.tb_system import DIVISOR, receive, send

MODELS = Path(__file__).resolve().parents[3] / "models"


def plan():
    network = network_file.load(MODELS / "mnist-conv.safetensors")
    board = BOARDS["icebreaker"]
    lanes, width = board.geometries[0]
    return map_network(network, choose_config(network, lanes=lanes, width=width, timesteps=board.timesteps,
                                              spike_words=4096, weight_rows=board.weight_rows))


def block():
    layout = plan()
    source = Baked(contents=layout.contents, info=info_of(layout, clock_hz=48e6))
    return System(layout.config, source, divisor=DIVISOR)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def digit_is_the_reference(dut):
    layout = plan()
    image = load_images(MODELS / "samples" / "mnist-images.idx.gz", layout.network, first=1)
    expected = Reference(layout.network).run(image)
    await start(dut, rx=1)
    while dut.accelerator.accept.value == 0:
        await Timer(PERIOD, "ns")
    frame = Frame(command=Command.CLASSIFY, tag=7, payload=image_bytes(layout.network, image[0]))
    answer = cocotb.start_soon(receive(dut, 7 + 4 * (RESULT_HEADER_WORDS + layout.network.classes)))
    await send(dut, frame.to_bytes())
    replies = FrameReader().feed(await answer)
    assert [(reply.command, reply.tag) for reply in replies] == [(Reply.RESULT, 7)], replies
    result = Result.from_bytes(replies[0].payload, layout.network.classes)
    assert list(result.scores) == expected.scores[0].tolist()
    assert result.label == expected.classes[0]
    assert (result.cycles, result.stalls, result.flash_stalls) == (count_cycles(layout).total, 0, 0)
