import pytest

from arch.link import LinkError, Result


def test_result_round_trips_with_negative_scores():
    result = Result(label=2, cycles=2**32 - 1, stalls=0, flash_stalls=2**31, scores=(-(2**31), -1, 2**31 - 1))
    data = result.to_bytes()
    assert Result.from_bytes(data, 3) == result
    assert data[:16].hex() == "02000000" + "ffffffff" + "00000000" + "00000080"


def test_bad_results_are_refused():
    data = Result(label=3, cycles=0, stalls=0, flash_stalls=0, scores=(0, 0, 0)).to_bytes()
    with pytest.raises(LinkError, match=r"^class must be less than 3, not 3$"):
        Result.from_bytes(data, 3)
    with pytest.raises(LinkError, match=r"^result must have 32 bytes, not 28$"):
        Result.from_bytes(data, 4)
