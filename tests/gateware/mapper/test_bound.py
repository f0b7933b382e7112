"""What most clocks of a layer are spent on."""

import pytest

from gateware.mapper.bound import Bound, bound_of


@pytest.mark.parametrize(("counts", "bound"), [
    ({"clocks": 100, "words": 60}, Bound.SPIKES), ({"clocks": 65, "words": 32}, Bound.CLOCKS),
    ({"clocks": 100, "words": 60, "pixels": True}, Bound.PIXELS),
    ({"clocks": 100, "words": 30, "stalls": 60}, Bound.WEIGHTS),
    ({"clocks": 100, "words": 30, "stalls": 20}, Bound.CLOCKS),
    # Where two are equal, it is what the array does, and then what it waits for by name.
    ({"clocks": 100, "words": 50}, Bound.SPIKES), ({"clocks": 80, "words": 40, "stalls": 40}, Bound.SPIKES),
    ({"clocks": 90, "words": 10, "stalls": 40}, Bound.WEIGHTS)])
def test_the_largest_share_decides(counts, bound):
    assert bound_of(**{"pixels": False, **counts}) is bound
