"""Files of features: read in parts with the values they hold, and refused in one line where they are not sound."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lopsided.data import feature_file
from lopsided.data.array_files import open_arrays
from lopsided.data.feature_file import open_features

RNG = np.random.default_rng(0)
LABELS = np.arange(23) % 3


def sound(**others):
    arrays = {
        "features": RNG.normal(size=(23, 4)),
        "labels": LABELS,
        "weight": RNG.normal(size=(3, 4)),
        "bias": RNG.normal(size=3),
    }
    return {name: value for name, value in {**arrays, **others}.items() if value is not None}


def everything(path, **settings):
    with open_features(path, **settings) as file:
        parts = list(file.batches())
        return (
            file,
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            len(parts),
        )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64", "longdouble", "int16", "uint8"])
def test_an_npz_gives_back_what_was_stored_in_parts(tmp_path, monkeypatch, save, dtype):
    monkeypatch.setattr(feature_file, "PART", 20)  # five rows
    arrays = sound()
    arrays["features"] = np.abs(10 * arrays["features"]).astype(dtype)
    save(tmp_path / "a.npz", **arrays, names=np.array(["x", None], dtype=object))  # what is not needed may be anything
    file, features, labels, parts = everything(tmp_path / "a.npz")
    assert parts == 5
    assert (file.num_samples, file.dim, file.num_classes) == (23, 4, 3)
    np.testing.assert_array_equal(features, arrays["features"].astype(float))
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(file.weight, arrays["weight"])
    np.testing.assert_array_equal(file.bias, arrays["bias"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int32])
def test_a_safetensors_file_gives_back_what_was_stored_in_parts(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(feature_file, "PART", 20)
    arrays = {name: torch.as_tensor(value) for name, value in sound().items()}
    arrays["features"] = (10 * arrays["features"]).to(dtype)
    save_file(arrays, tmp_path / "a.dat")  # the name does not matter
    file, features, labels, parts = everything(tmp_path / "a.dat")
    assert parts == 5
    np.testing.assert_array_equal(features, arrays["features"].double().numpy())
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(file.weight, arrays["weight"].numpy())


def test_without_a_weight_the_labels_tell_the_number_of_classes(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.ones((4, 2)), labels=[0, 1, 1, 3])
    assert everything(tmp_path / "a.npz")[0].num_classes == 4
    assert everything(tmp_path / "a.npz", num_classes=7)[0].num_classes == 7


def npz(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def changed(at, value):
    features = RNG.normal(size=(23, 4))
    features[at] = value
    return features


def damaged(content):
    """The archive with one byte of its features turned, of which only a checksum tells."""
    at = content.index(np.ones((23, 4)).tobytes()) + 300
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def torch_file():
    stream = io.BytesIO()
    torch.save({"features": torch.ones(3)}, stream)
    return stream.getvalue()


def tensors(code="F32", shape=(2, 2), end=16):
    header = json.dumps({"features": {"dtype": code, "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


OBJECTS = np.array([Bomb()] * 23, dtype=object).reshape(23, 1)

#: What is in the file; then what the line must say.
BAD = {
    "empty": (b"", "an empty file"),
    "text": (b"label,feature\n0,1.5\n", "got neither in"),
    "npy": (b"\x93NUMPY" + bytes(20), "one array without a name"),
    "pickle": (pickle.dumps({"features": Bomb()}), "a pickle, which is not opened"),
    "torch": (torch_file(), "pickled PyTorch file.*safetensors.torch.save_file"),
    "truncated": (npz(sound())[:-200], "truncated or damaged archive"),
    "damaged": (damaged(npz(sound(features=np.ones((23, 4))))), "Bad CRC-32"),
    "objects": (npz(sound(features=OBJECTS)), "pickled objects.*'features'"),
    "object labels": (npz(sound(labels=np.array([0, None] * 11 + [1], dtype=object))), "pickled objects.*'labels'"),
    "columns": (npz(sound(features=np.ones((4, 23)).T)), "row by row.*ascontiguousarray"),
    "no features": (npz(sound(features=None)), "an array 'features' of shape .N, d.; got labels, weight, bias"),
    "no labels": (npz(sound(labels=None)), "an array 'labels' of shape .N,.; got features, weight, bias"),
    "nothing": (npz({}), "an array 'features'.*got nothing"),
    "no samples": (npz(sound(features=np.ones((0, 4)), labels=LABELS[:0])), "at least one sample"),
    "flat features": (npz(sound(features=np.ones(23))), "features of shape .N, d.; got .23,."),
    "one-hot labels": (npz(sound(labels=np.eye(3, dtype=int)[LABELS])), "labels of shape .N,.; got .23, 3."),
    "fewer labels": (npz(sound(labels=LABELS[:9])), "one label a sample, 23 of them; got labels of shape .9,."),
    "float labels": (npz(sound(labels=LABELS.astype(float))), "labels that are whole numbers; got float64"),
    "complex": (npz(sound(features=np.ones((23, 4), complex))), "features that are real numbers; got complex128"),
    "words": (npz(sound(features=np.full((23, 4), "a"))), "features that are real numbers; got str"),
    "label too large": (npz(sound(labels=LABELS + (np.arange(23) == 17) * 5)), "from 0 to 2; got 7 for sample 17"),
    "label below": (npz(sound(labels=LABELS - (np.arange(23) == 4) * 9)), "labels from 0 to 2; got -8 for sample 4"),
    "far label": (npz(sound(labels=LABELS * 10**9, weight=None, bias=None)), "no more classes than samples"),
    "nan": (npz(sound(features=changed((19, 2), np.nan))), "finite features; got nan in sample 19"),
    "inf": (npz(sound(features=changed((0, 0), -np.inf))), "finite features; got -inf in sample 0"),
    "width": (npz(sound(weight=np.ones((3, 5)))), "weight of shape .K, d. with d = 4.*got .3, 5."),
    "nan weight": (npz(sound(weight=np.full((3, 4), np.nan))), "finite weight; got nan for class 0"),
    "bias": (npz(sound(bias=np.ones(4))), "bias of shape .3,.; got a bias of shape .4,."),
    "bias alone": (npz(sound(weight=None)), "bias only beside a weight"),
    "cut tensors": (tensors()[:-3], "truncated or damaged header"),
    "odd tensors": (tensors(code="F8_E4M3", end=4), "truncated or damaged header"),
    "no labels in tensors": (tensors(), "an array 'labels' of shape .N,.; got features"),
    "header of a tensor file": (struct.pack("<Q", 40) + b"{" + b"x" * 50, "truncated or damaged header"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_not_sound_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^file must .*{message}") as refused:
        everything(path)
    assert "\n" not in str(refused.value)
    assert "a.npz" in str(refused.value)


def test_a_member_shorter_than_its_header_says_is_refused_before_any_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, value in sound().items():
            stream = io.BytesIO()
            np.save(stream, value)
            archive.writestr(f"{name}.npy", stream.getvalue()[: -8 if name == "features" else None])
    with pytest.raises(ValueError, match="'features' of another size than its header says"):
        open_features(tmp_path / "a.npz")


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("features.npy", "0 1 2")
    with pytest.raises(ValueError, match="'features', which is in another"):
        open_arrays(tmp_path / "a.npz")


def test_a_number_of_classes_that_contradicts_the_weight_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **sound())
    with pytest.raises(ValueError, match=r"^num_classes must be left out or be 3, as the weight; got 5"):
        open_features(tmp_path / "a.npz", num_classes=5)


def test_a_folder_or_nothing_is_the_systems_to_tell(tmp_path):
    with pytest.raises(IsADirectoryError):
        open_features(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_features(tmp_path / "none.npz")


BOUNDED = """
import pathlib, resource, sys
import numpy, torch
from lopsided.data.feature_file import open_features
from lopsided.metrics import gather
torch.set_num_threads(1)
gather([(torch.ones(9000, 128), torch.arange(9000) % 3)], 3, 128)
with open("/proc/self/status") as status:
    used = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, ((used << 10) + (96 << 20),) * 2)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    with open_features(path) as file:
        total = sum(float(features.sum(dtype=float)) for features, _ in file.batches())
        print(path.name, file.num_samples, total)
with open_features(path) as file:
    print(gather(file.batches(), file.num_classes, file.dim).moments.num_samples)
numpy.load(path)["features"]
"""


@pytest.mark.slow
def test_a_file_larger_than_the_memory_allowed_is_measured(tmp_path):
    samples, dim = 280_000, 128  # 143 MB, half as much again as is allowed, which is twice what reading in parts needs
    features = np.broadcast_to(np.arange(dim, dtype=np.float32), (samples, dim))
    labels = np.arange(samples) % 3
    np.savez_compressed(tmp_path / "compressed", features=features, labels=labels)
    tensor = torch.from_numpy(features.copy())
    save_file({"features": tensor, "labels": torch.from_numpy(labels)}, tmp_path / "float32")
    tensors = {"features": tensor.bfloat16().repeat(2, 1), "labels": torch.from_numpy(np.tile(labels, 2))}
    save_file(tensors, tmp_path / "bfloat16")
    np.savez(tmp_path / "stored", features=features, labels=labels)
    # one thread and one heap: what others would take, and when, hangs on how busy the machine is
    alone = os.environ | {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.run([sys.executable, "-c", BOUNDED, tmp_path], capture_output=True, text=True, env=alone)
    total = samples * dim * (dim - 1) / 2
    assert process.stdout.splitlines() == [
        f"bfloat16 {2 * samples} {2 * total}",
        f"compressed.npz {samples} {total}",
        f"float32 {samples} {total}",
        f"stored.npz {samples} {total}",
        f"{samples}",
    ]
    assert "MemoryError" in process.stderr.splitlines()[-1]  # to load the whole is more than is allowed
