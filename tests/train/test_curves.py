"""The picture of a training: what is drawn from which metric, and under which name."""

import pytest

from train.curves import draw_curves

figure = pytest.importorskip("matplotlib.figure")

LAYERS = [{"kind": "convolution", "name": "conv1"}, {"kind": "or-pool", "size": 2},
          {"kind": "or-pool", "size": 2, "name": "small"}, {"kind": "fully-connected", "name": "fc1"},
          {"kind": "readout", "name": "readout"}]
HISTORY = [
    {"epoch": 0, "loss": 2.0, "accuracy": 0.25, "validation_accuracy": 0.3, "firing_rates": [0.1, 0.2, 0.3, 0.4]},
    {"epoch": 1, "loss": 0.5, "accuracy": 0.75, "validation_accuracy": 0.7, "firing_rates": [0.5, 0.6, 0.7, 0.8]}]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw, and return the figure in the place of writing it."""
    def draw(history, layers):
        figures = []
        monkeypatch.setattr(figure.Figure, "savefig", lambda self, path, **_: (figures.append(self),
                                                                               path.write_bytes(b"picture")))
        draw_curves(history, layers, "the title", tmp_path / "curves.png")
        assert (tmp_path / "curves.png").read_bytes() == b"picture"
        return figures[0]

    return draw


def curves(axes):
    return {line.get_label(): (line.get_xdata().tolist(), pytest.approx(line.get_ydata())) for line in axes.get_lines()}


def test_every_metric_is_a_curve_over_the_epochs(drawn):
    made = drawn(HISTORY, LAYERS)
    loss, accuracy, rate = made.axes
    assert made.get_suptitle() == "the title"
    assert [axes.get_title() for axes in made.axes] == ["training loss", "accuracy, %", "firing rate, %"]
    assert {axes.get_xlabel() for axes in made.axes} == {"epoch"}
    assert loss.get_yscale() == "log"
    (line,) = loss.get_lines()
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0, 1], [2.0, 0.5])
    assert curves(accuracy) == {"training (distorted images)": ([0, 1], [25, 75]), "validation": ([0, 1], [30, 70])}
    assert curves(rate) == {"conv1": ([0, 1], [10, 50]), "conv1 pooled": ([0, 1], [20, 60]),
                            "small": ([0, 1], [30, 70]), "fc1": ([0, 1], [40, 80])}
    for axes in (accuracy, rate):
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves(axes))


def test_a_network_with_spike_times_has_a_curve_of_its_input(drawn):
    history = [{**HISTORY[0], "firing_rates": [0.9, *HISTORY[0]["firing_rates"]]}]
    assert list(curves(drawn(history, LAYERS).axes[2])) == ["input", "conv1", "conv1 pooled", "small", "fc1"]


def test_an_unnamed_pool_behind_an_unnamed_pool_has_a_name(drawn):
    history = [{**HISTORY[0], "firing_rates": [0.1, 0.2, 0.3]}]
    layers = [LAYERS[0], LAYERS[1], LAYERS[1], LAYERS[-1]]
    assert list(curves(drawn(history, layers).axes[2])) == ["conv1", "conv1 pooled", "pool pooled"]


def test_the_file_is_a_picture(tmp_path):
    draw_curves(HISTORY, LAYERS, "the title", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
