"""A circuit is one thing, the network on it another: what a system takes from the source of its network."""

from arch.images import image_bytes
from arch.link import INFO_BYTES, INFO_REPLY_BYTES, Command, Frame, FrameReader, InfoReply, Reply, Result
from gateware.engine.contents import MemoryContents
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from gateware.source import Baked, Loaded
from gateware.system import System
from reference.network import Reference
from tests import streams
from tests.link_board import make_info
from tests.random_networks import SMALL, draw, images_for

DIVISOR = 4


def test_baked_network_knows_its_sizes_and_describes_itself():
    contents = MemoryContents(weights=[[1]], constants=[2], program=[3], pixels=[4])
    info = make_info(height=6, width=7, channels=3, classes=5)
    source = Baked(contents=contents, info=info)
    assert source.contents is contents
    assert source.info_block == info.to_bytes()
    assert (source.image_bytes, source.result_words) == (6 * 7 * 3, 4 + 5)


def test_loaded_network_is_unknown_until_it_is_written():
    source = Loaded()
    assert source.contents is None
    assert source.info_block == bytes(INFO_BYTES)
    assert (source.image_bytes, source.result_words) == (None, None)


def exchange(system, requests, replies, clocks):
    """Send frames through the pins, once the memory is filled; return as many replies."""
    received = []

    async def host(ctx):
        for _ in range(SMALL.spike_words + 100):
            await ctx.tick()
        data = b"".join(request.to_bytes() for request in requests)
        await streams.send_characters(ctx, system.rx, data, clocks_per_bit=DIVISOR)

    async def listener(ctx):
        data = await streams.receive_characters(ctx, system.tx, replies, clocks_per_bit=DIVISOR, limit_cycles=clocks)
        received.extend(FrameReader().feed(data))

    streams.run(system, host, listener, deadline_cycles=clocks + 100)
    return received


def test_baked_network_runs_from_the_first_clock_on():
    """Whatever is small: the circuit knows network, sizes and info block without anything being written."""
    for seed in range(100):
        plan, rng = draw(SMALL, [51, seed], max_side=3, max_channels=3)
        if count_cycles(plan).total < 600:
            break
    (image,) = images_for(plan, rng, 3)[2:]
    expected = Reference(plan.network).run(image[None])
    info = info_of(plan, clock_hz=1e6)
    system = System(plan.config, Baked(contents=plan.contents, info=info), divisor=DIVISOR)
    payload = image_bytes(plan.network, image)
    size = 7 + INFO_REPLY_BYTES + 7 + 4 * info.result_words
    replies = exchange(system, [Frame(command=Command.INFO, tag=1),
                                Frame(command=Command.CLASSIFY, tag=2, payload=payload)], size,
                       clocks=1500 + 10 * DIVISOR * (size + 14 + len(payload)))
    assert [(reply.command, reply.tag) for reply in replies] == [(Reply.INFO, 1), (Reply.RESULT, 2)]
    assert replies[0].payload == InfoReply(info=info).to_bytes()
    assert list(Result.from_bytes(replies[1].payload, plan.network.classes).scores) == expected.scores[0].tolist()


def test_circuit_without_a_network_describes_none():
    (reply,) = exchange(System(SMALL, Loaded(), divisor=DIVISOR), [Frame(command=Command.INFO, tag=3)],
                        7 + INFO_REPLY_BYTES, clocks=600 + 10 * DIVISOR * 90)
    assert reply == Frame(command=Reply.INFO, tag=3, payload=bytes(INFO_REPLY_BYTES))
