"""MiniFASNet as ONNX gives what the network gives layer by layer, and refuses what is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from models.minifasnet import convert_minifasnet
from models.packs import load_packs
from models.self_test import pattern, run_self_test
from models.sessions import OnnxSession
from models.torch_pickle import read_torch_tensors
from tests.models.minifasnet_files import made_up_tensors, reference_logits
from tests.models.torch_files import torch_file
from verifier.errors import ModelUnavailableError

CROPS = pattern((2, 3, 80, 80))


def logits(model: bytes) -> NDArray[Any]:
    return OnnxSession(model).run(["logits"], {"crops": CROPS})[0]


@pytest.mark.parametrize("excited", [False, True])
def test_the_network_is_the_one_drawn_layer_by_layer(excited: bool) -> None:
    tensors = made_up_tensors(excited=excited)
    answers = logits(convert_minifasnet(torch_file(tensors)))
    wanted = [reference_logits(tensors, crop) for crop in CROPS]
    np.testing.assert_allclose(answers, wanted, atol=2e-5)
    assert np.abs(answers[0] - answers[1]).max() > 1e-3  # it looks at the picture


def test_the_same_weights_give_the_same_bytes() -> None:
    data = torch_file(made_up_tensors(excited=True))
    assert convert_minifasnet(data) == convert_minifasnet(data)


def test_normalisation_is_folded_away() -> None:
    model = onnx.load_from_string(convert_minifasnet(torch_file(made_up_tensors(excited=True))))
    operators = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operators
    assert {"Conv", "PRelu", "Sigmoid", "Gemm"} <= operators


Change = Callable[[dict[str, NDArray[Any]]], object]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("module.conv_3.model.2.project.bn.bias"), "no tensor module.conv_3.mod"),
        (
            lambda t: t.update({"module.extra": np.zeros(3, np.float32)}),
            "1 tensors without a place",
        ),
        (lambda t: t.update({"module.prob.weight": np.zeros((4, 5), np.float32)}), "wanted .3, 5"),
        (lambda t: t.update({"module.bn.weight": np.zeros(5, np.float64)}), "bn.weight is float64"),
        (lambda t: t["module.bn.running_var"].fill(-1), "negative variance"),
        (lambda t: t["module.bn.running_var"].fill(np.nan), "negative variance"),
        (lambda t: t["module.conv1.conv.weight"].fill(np.inf), "not finite"),
    ],
)
def test_weights_of_something_else_are_refused(change: Change, match: str) -> None:
    tensors = made_up_tensors(excited=False)
    change(tensors)
    with pytest.raises(ModelUnavailableError, match=match):
        convert_minifasnet(torch_file(tensors))


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("role", "name"),
    [("near", "2.7_80x80_MiniFASNetV2.pth"), ("wide", "4_0_0_80x80_MiniFASNetV1SE.pth")],
)
def test_the_real_weights_answer_as_packs_toml_says(
    role: str, name: str, shared_data: Path
) -> None:
    """The expected numbers of the self-test are the reference's, not the conversion's own."""
    data = (shared_data / "models" / name).read_bytes()
    test = load_packs()["minifasnet"].files[role].self_test
    wanted = reference_logits(read_torch_tensors(data), pattern(test.shape)[0])
    np.testing.assert_allclose(test.expected["logits"], wanted, atol=1e-6)
    model = convert_minifasnet(data)
    run_self_test(role, model, test)
    np.testing.assert_allclose(logits(model)[0], wanted, atol=1e-5)
