import dataclasses

from gateware.mapper.choice import map_network
from tests.gateware.mapper.networks import CONFIG, conv, network


def test_maps_stay_apart_or_at_least_from_their_neighbours():
    net = network(conv(4, 1), *[conv(4, 4)] * 7, shape=(1, 4, 4))
    config = dataclasses.replace(CONFIG, weight_rows=512, layers=9, channel_groups=32)
    roomy = map_network(net, dataclasses.replace(config, spike_words=512))
    assert roomy.maps_are_apart
    tight = map_network(net, dataclasses.replace(config, spike_words=256))
    assert not tight.maps_are_apart
    places = [range(at.target, at.target + 16) for at in (stage.placement for stage in tight.stages[:-1])]
    buffers = [range(0, 80), range(128, 208)]
    for number, place in enumerate(places):
        assert place.stop <= 256
        for other in (*buffers, *places[max(0, number - 1):number]):
            assert place.stop <= other.start or other.stop <= place.start
