import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from arch import ternary

WEIGHTS = st.lists(st.sampled_from([-1, 0, 1]), max_size=70)


def test_codes_are_twos_complement():
    assert {weight: ternary.pack([weight]) for weight in (0, 1, -1)} == {0: 0b00, 1: 0b01, -1: 0b11}


@hypothesis.given(WEIGHTS)
def test_words_unpack_to_what_was_packed(weights):
    assert ternary.unpack(ternary.pack(weights), len(weights)) == weights


@hypothesis.given(WEIGHTS)
def test_bytes_are_the_little_endian_word(weights):
    array = np.array(weights, dtype=np.int8)
    packed = ternary.pack_array(array)
    assert packed.tobytes() == ternary.pack(weights).to_bytes(-(-len(weights) // 4), "little")
    assert (ternary.unpack_array(packed, len(weights)) == array).all()


def test_arrays_are_packed_in_c_order():
    assert ternary.pack_array(np.array([[1, 0], [-1, 1], [0, -1]], dtype=np.int8)).tolist() == [0b01110001, 0b1100]


@pytest.mark.parametrize("wrong", [2, -2, 127, -128])
def test_other_weights_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"^weight 1 must be -1, 0 or \+1, not {wrong}$"):
        ternary.pack([0, wrong])
    with pytest.raises(ValueError, match=rf"^weight 1 must be -1, 0 or \+1, not {wrong}$"):
        ternary.pack_array(np.array([0, wrong], dtype=np.int8))


@pytest.mark.parametrize("place", range(5))
def test_reserved_code_is_refused(place):
    word = 0b10 << 2 * place
    with pytest.raises(ValueError, match=rf"^weight {place} must not have the reserved code 0b10$"):
        ternary.unpack(word, 5)
    with pytest.raises(ValueError, match=rf"^weight {place} must not have the reserved code 0b10$"):
        ternary.unpack_array(np.frombuffer(word.to_bytes(2, "little"), dtype=np.uint8), 5)


def test_bits_beyond_the_last_weight_are_refused():
    with pytest.raises(ValueError, match=r"^word must be 6 bits for 3 weights, not 0x40$"):
        ternary.unpack(0b01000000, 3)
    with pytest.raises(ValueError, match=r"^bits beyond weight 2 must be zero$"):
        ternary.unpack_array(np.array([0b01000000], dtype=np.uint8), 3)


def test_wrong_number_of_bytes_is_refused():
    with pytest.raises(ValueError, match=r"^5 weights must be packed in 2 bytes, not 1$"):
        ternary.unpack_array(np.zeros(1, dtype=np.uint8), 5)
