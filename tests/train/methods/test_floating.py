import torch

from tests.train.methods.stage import made_training
from train.methods.floating import FloatWeights


def test_layers_compute_with_their_latent_weights(tmp_path):
    training = made_training(tmp_path)
    assert training.network.exportable
    FloatWeights().begin(training)
    assert not training.network.exportable
    parts = list(training.network.synapses())
    assert len(parts) == 3
    for part in parts:
        codes, scale = part.quantiser(part.weight, per_channel=True)
        assert torch.equal(codes * scale.reshape(-1, *[1] * (codes.dim() - 1)), part.weight)
    inputs = torch.randn(5, 12)
    assert torch.allclose(parts[-1](inputs), inputs @ parts[-1].weight.T, atol=1e-5)
