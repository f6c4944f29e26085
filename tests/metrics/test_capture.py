"""What enters the classifier is what is recorded, whatever wraps the model, and whichever layer that is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lopsided.metrics import FeatureCapture

CLASSES, DIM = 4, 6


class Net(nn.Module):
    """A body and a head with a name inside a submodule, and hidden layers that look like heads."""

    def __init__(self, hidden: int = DIM) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, hidden), nn.ReLU(), nn.Linear(hidden, DIM))
        self.head = nn.ModuleDict({"fc": nn.Linear(DIM, CLASSES)})

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head["fc"](self.body(inputs))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, CLASSES), nn.Linear(5, CLASSES)
        self.idle = nn.Linear(7, CLASSES)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.second(inputs), self.first(inputs)


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, CLASSES)

    def forward(self, inputs: torch.Tensor, times: int = 1) -> torch.Tensor:
        for shift in range(times):
            logits = self.head(input=inputs + shift)
        return logits


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_features_are_those_of_the_body(dtype):
    model, inputs = Net().to(dtype), torch.randn(3, 5, dtype=dtype)
    with FeatureCapture(model, CLASSES) as capture:
        model(inputs)
        features = capture.take()
    assert (capture.name, capture.classifier) == ("head.fc", model.head["fc"])
    assert features.dtype == dtype
    assert not features.requires_grad
    assert torch.equal(features, model.body(inputs).detach())
    assert hooks(model) == 0


def test_training_and_inference_are_not_disturbed():
    model, inputs = Net(), torch.randn(3, 5)
    model(inputs).sum().backward()
    gradient = model.body[0].weight.grad.clone()
    model.zero_grad()
    with FeatureCapture(model, CLASSES) as capture:
        model(inputs).sum().backward()
        assert torch.equal(model.body[0].weight.grad, gradient)
        capture.take()
        with torch.inference_mode():
            model(inputs)
        assert torch.equal(capture.take(), model.body(inputs).detach())
        capture.enabled = False
        model(inputs)
        with pytest.raises(ValueError, match=r"^classifier must run in the forward pass; 'head.fc' was not seen to"):
            capture.take()


def test_the_last_of_several_that_run_one_after_the_other():
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Declared in another order than they run.
            self.head = nn.Linear(CLASSES, CLASSES)
            self.idle = nn.Linear(CLASSES, CLASSES)
            self.wide, self.narrow = nn.Linear(5, CLASSES), nn.Linear(CLASSES, CLASSES)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            hidden = self.wide(inputs).relu()
            return self.head(hidden + self.narrow(hidden).relu())

    model, inputs = Deep(), torch.randn(3, 5)
    with FeatureCapture(model, CLASSES) as capture:
        assert capture.name is None
        model(inputs).sum().backward()
        features = capture.take()
        assert capture.name == "head"
        assert hooks(model) == 1
        model(2 * inputs)
        assert not torch.equal(capture.take(), features)
    hidden = model.wide(inputs).relu()
    assert torch.equal(features, (hidden + model.narrow(hidden).relu()).detach())
    assert hooks(model) == 0


def test_heads_side_by_side_are_for_the_caller_to_choose():
    model, inputs = TwoHeads(), torch.randn(3, 5)
    with FeatureCapture(model, CLASSES) as capture:
        model(inputs)
        with pytest.raises(ValueError, match=r"^classifier must be named .* got 'first', 'second'; give classifier"):
            capture.take()
    with FeatureCapture(model, CLASSES, classifier="second") as capture:
        model(inputs)
        assert torch.equal(capture.take(), inputs)


def test_without_a_graph_no_order_is_known():
    model = nn.Sequential(nn.Linear(5, CLASSES), nn.Linear(CLASSES, CLASSES))
    with FeatureCapture(model, CLASSES) as capture, torch.no_grad():
        model(torch.randn(2, 5))
        with pytest.raises(ValueError, match=r"^classifier must be named .*got '0', '1'"):
            capture.take()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 3}, r"^classifier must be a linear layer with 3 outputs; .* 'body.2' \(6\), 'head.fc' \(4\)"),
        (
            {"classifier": "head.fx"},
            r"^classifier must be a module of the model or its name; got 'head.fx'; .*'head.fc'",
        ),
        ({"classifier": "body.1"}, r"^classifier must have a weight of shape \(4, d\); 'body.1' has none"),
        ({"classifier": "body.2"}, r"^classifier must have a weight of shape \(4, d\); 'body.2' has \(6, 6\)"),
        ({"classifier": nn.Linear(6, 4)}, r"^classifier must be a module of the model or its name; got Linear;"),
        ({"call": -2}, r"^call must be 0 for the first call"),
    ],
)
def test_no_classifier(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        FeatureCapture(Net(), **{"num_classes": CLASSES, **arguments})
    assert "\n" not in str(caught.value)


def test_several_calls_a_pass():
    model, inputs = Sequences(), torch.randn(3, 5)
    with FeatureCapture(model, CLASSES) as capture:
        model(inputs, times=3)
        with pytest.raises(ValueError, match=r"^call must say which call counts .* 'head' ran 3 times; give call=0"):
            capture.take()
        model(inputs)  # what was refused is forgotten
        assert torch.equal(capture.take(), inputs)
    for call, shift in ((0, 0), (1, 1), (-1, 2)):
        with FeatureCapture(model, CLASSES, call=call) as capture:
            model(inputs, times=3)
            assert torch.equal(capture.take(), inputs + shift)
    with FeatureCapture(model, CLASSES, call=3) as capture:
        model(inputs, times=3)
        with pytest.raises(ValueError, match=r"^call must be below the 3 calls of 'head' in this pass; got 3"):
            capture.take()


def test_sequences_need_a_reducer():
    model, inputs = Sequences(), torch.randn(3, 7, 5)
    with FeatureCapture(model, CLASSES) as capture:
        model(inputs)
        with pytest.raises(
            ValueError, match=r"^features must have shape \(B, d\).* got \(3, 7, 5\) at 'head'; give red"
        ):
            capture.take()
    with FeatureCapture(model, CLASSES, reduce=lambda h: h[:, 0]) as capture:
        model(inputs)
        assert torch.equal(capture.take(), inputs[:, 0])
    with FeatureCapture(model, CLASSES, reduce=lambda h: h) as capture:
        model(inputs)
        with pytest.raises(ValueError, match=r"got \(3, 7, 5\) from reduce"):
            capture.take()


@pytest.mark.slow
def test_wrappers_do_not_change_names():
    inner, inputs = Net(), torch.randn(3, 5)
    outer = nn.Module()
    outer.net = torch.compile(nn.DataParallel(inner), backend="eager")
    for classifier in (None, "net.head.fc", inner.head["fc"]):
        assert FeatureCapture(outer, CLASSES, classifier=classifier).name == "net.head.fc"
    with FeatureCapture(nn.DataParallel(inner), CLASSES, classifier="head.fc") as capture:
        nn.DataParallel(inner)(inputs)
        assert torch.equal(capture.take(), inner.body(inputs).detach())


def test_autocast_and_a_shared_module():
    model, inputs = Net(), torch.randn(3, 5)
    model.again = model.head["fc"]  # one module under two names is one classifier
    with FeatureCapture(model, CLASSES) as capture, torch.autocast("cpu", dtype=torch.bfloat16):
        model(inputs)
        assert capture.take().dtype == torch.bfloat16
