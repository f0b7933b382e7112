import copy
import math

import pytest
import torch

from tests.train.methods.stage import ARCHITECTURE, images_and_labels, made_finished, made_training
from train import training as trainings
from train.folder import TrainingError
from train.methods.distillation import Distillation, divergence
from train.methods.method import Batch, MethodError
from train.network import build
from train.neurons import Mode

SEED = 5


@pytest.fixture
def teacher(monkeypatch, tmp_path):
    """A teacher of random weights in the folder ``teacher``, with BatchNorm statistics of its own."""
    torch.manual_seed(SEED)
    network = build(ARCHITECTURE)
    network(images_and_labels(32, 3)[0])
    (tmp_path / "teacher").mkdir()
    loaded = []

    def load_trained(folder):
        loaded.append(folder)
        return network

    monkeypatch.setattr(trainings, "load_trained", load_trained)
    yield network
    assert loaded == [tmp_path / "teacher"] * len(loaded)


def begun(tmp_path, **options):
    training = made_training(tmp_path / "student", label_smoothing=options.pop("label_smoothing", 0.0))
    method = Distillation(teacher="teacher", **options)
    method.begin(training)
    return method, training


def seen(network, images, labels):
    return Batch(images=images, labels=labels, scores=network(images, by_step=True))


def test_divergence_of_two_classes_by_hand():
    # At tau = 2 the teacher's halves are log 3 and 0, so 3/4 and 1/4; the student's classes are even.
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.tensor([[1.0, 1.0]])
    wanted = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert divergence(teacher, student, 2.0).item() == pytest.approx(wanted, rel=1e-5)
    # The direction matters.
    other = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert divergence(student, teacher, 2.0).item() == pytest.approx(other, rel=1e-5)
    assert divergence(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_divergence_is_the_mean_over_rows_of_all_axes():
    generator = torch.Generator().manual_seed(SEED)
    teacher, student = torch.randn(2, 3, 5, 4, generator=generator)
    rows = [divergence(teacher[t, row][None], student[t, row][None], 3.0) for t in range(3) for row in range(5)]
    assert torch.allclose(divergence(teacher, student, 3.0), torch.stack(rows).mean())


def test_gradient_of_the_divergence_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(SEED)
    teacher, student = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda scores: divergence(teacher, scores, 4.0), student.requires_grad_())


@pytest.mark.parametrize("by_step", [False, True])
def test_loss_is_the_weighted_sum_of_both(teacher, tmp_path, by_step):
    method, training = begun(tmp_path, weight=0.3, temperature=2.0, by_step=by_step, label_smoothing=0.1)
    images, labels = images_and_labels(6, 2)
    batch = seen(training.network, images, labels)
    with torch.no_grad():
        taught = teacher(images, by_step=True)
    entropy = torch.nn.functional.cross_entropy(batch.scores.mean(0), labels, label_smoothing=0.1)
    if by_step:
        term = torch.stack([divergence(a, b, 2.0) for a, b in zip(taught, batch.scores, strict=True)]).mean()
    else:
        term = divergence(taught.mean(0), batch.scores.mean(0), 2.0)
    assert term > 1e-3
    assert torch.allclose(method.replace_loss(batch), 0.7 * entropy + 0.3 * term)


def test_teacher_of_one_timestep_teaches_every_timestep(teacher, tmp_path):
    teacher.use_mode(Mode.RATES)
    method, training = begun(tmp_path, weight=1.0, by_step=True)
    images, labels = images_and_labels(6, 2)
    batch = seen(training.network, images, labels)
    with torch.no_grad():
        (taught,) = teacher(images, by_step=True)
    terms = torch.stack([divergence(taught, scores, 4.0) for scores in batch.scores])
    assert torch.allclose(method.replace_loss(batch), terms.mean())


def test_folded_student_learns_from_the_average_of_the_teacher(teacher, tmp_path):
    method, training = begun(tmp_path, weight=1.0, by_step=True)
    training.network.use_mode(Mode.RATES)
    images, labels = images_and_labels(6, 2)
    batch = seen(training.network, images, labels)
    assert len(batch.scores) == 1
    with torch.no_grad():
        taught = teacher(images, by_step=True).mean(0)
    assert torch.allclose(method.replace_loss(batch), divergence(taught, batch.scores[0], 4.0))


def test_teacher_does_not_learn(teacher, tmp_path):
    method, training = begun(tmp_path)
    before = copy.deepcopy(teacher.state_dict())
    training.network.train()
    optimiser = torch.optim.SGD([*training.network.parameters(), *teacher.parameters()], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        method.replace_loss(seen(training.network, *images_and_labels(6, 2))).backward()
        optimiser.step()
    assert not teacher.training
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_student_comes_close_to_the_teacher(teacher, tmp_path):
    method, training = begun(tmp_path, weight=1.0)
    images, labels = images_and_labels(32, 2)
    optimiser = torch.optim.Adam(training.network.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = method.replace_loss(seen(training.network, images, labels))
        loss.backward()
        optimiser.step()
        training.network.clamp()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_teacher_for_other_images_or_classes_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "teacher"
    more = copy.deepcopy(ARCHITECTURE)
    more["layers"][-1]["classes"] = 7
    wider = {**ARCHITECTURE, "input": {**ARCHITECTURE["input"], "width": 9}}
    for architecture, line in ((more, "classes of the teacher must be 3 like the student's, not 7"),
                               (wider, "input width of the teacher must be 8 like the student's, not 9")):
        monkeypatch.setattr(trainings, "load_trained", lambda _, architecture=architecture: build(architecture))
        with pytest.raises(MethodError, match=f"^{folder}: {line}$"):
            begun(tmp_path)


def test_teacher_of_other_frames_of_events_is_refused(tmp_path):
    events = {**ARCHITECTURE, "input": {**ARCHITECTURE["input"], "encoding": "events", "scale": 1}}
    student = build({**events, "timesteps": 6})
    folder = tmp_path / "teacher"
    text = (f"^{folder}: timesteps of the teacher must be 6 like the student's, not 4: both see the same frames of "
            f"events$")
    with pytest.raises(MethodError, match=text):
        Distillation._check(folder, build(events), student)
    Distillation._check(folder, build(ARCHITECTURE), build({**ARCHITECTURE, "timesteps": 6}))


def test_missing_teacher_is_named(tmp_path):
    folder = tmp_path / "teacher"
    with pytest.raises(TrainingError, match=f"^{folder}: must hold a finished training, with its result.json: "
                                            f"train it first, to its end, into {folder}$"):
        begun(tmp_path)


def test_float_network_teaches_a_ternary_one_in_whole_trainings(tmp_path):
    made_finished(tmp_path / "float", epochs=2, weights="float")
    teacher = trainings.load_trained(tmp_path / "float")
    assert not teacher.exportable
    taught = {"kind": "distillation", "teacher": "float", "weight": 1.0, "by_step": True}
    student = made_training(tmp_path / "student", epochs=2, methods=(taught,))
    images, labels = images_and_labels(16, 6)
    with torch.no_grad():
        wanted = divergence(teacher(images, by_step=True), student.network(images, by_step=True), 4.0)
        assert torch.allclose(student.loss(images, labels)[0], wanted)
    # Its forward passes above moved BatchNorm's statistics.
    whole = made_training(tmp_path / "whole", epochs=2, methods=(taught,))
    whole.run()
    assert whole.network.exportable
    for epoch in range(2):
        part = made_training(tmp_path / "parts", epochs=2, methods=(taught,))
        assert part.resume() == (epoch > 0)
        part.run_epoch()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, part.network.state_dict()[name]), name


@pytest.mark.parametrize(("options", "text"), [
    ({"teacher": ""}, r"teacher of distillation must be the name of a recipe, not ''"),
    ({"teacher": "../other"}, r"teacher of distillation must be the name of a recipe, not '\.\./other'"),
    ({"teacher": ".."}, r"teacher of distillation must be the name of a recipe, not '\.\.'"),
    ({"teacher": 3}, r"teacher of distillation must be the name of a recipe, not 3"),
    ({"weight": 1.5}, r"weight of distillation must be a number from 0 to 1, not 1\.5"),
    ({"temperature": 0}, r"temperature of distillation must be a number from 0\.01 to 1000, not 0"),
    ({"by_step": 1}, r"by_step of distillation must be true or false, not 1")])
def test_wrong_options_are_named(options, text):
    with pytest.raises(MethodError, match=f"^{text}$"):
        Distillation(**{"teacher": "teacher", **options})
