"""Groups of shadow models: the same bytes whichever are trained, bounded memory, any device."""

import subprocess
import sys
from itertools import chain

import numpy as np
import pytest

from attacks import Recipe, shadows
from attacks.shadows import device, groups
from attacks.shadows.architecture import Architecture, Conv, Dense, Flatten, Pool, Relu

torch = pytest.importorskip("torch")
ensemble = pytest.importorskip("attacks.shadows.ensemble")

RNG = np.random.default_rng(8)
IMAGES = Architecture(
    (2, 8, 8), (Conv(9, padding=(1, 1)), Relu(), Pool("max"), Conv(4), Flatten(), Dense(3))
)
RECIPE = Recipe(epochs=2, batch_size=8, learning_rate=0.01)
X, Y = shadows.training_arrays(IMAGES, RNG.normal(size=(30, 2, 8, 8)), RNG.integers(0, 3, 30))
MASK = shadows.paired_masks(10, 30, seed=0)


@pytest.fixture
def small_groups(monkeypatch):
    """Three networks of IMAGES to a group, and all of torch's threads back afterwards."""
    monkeypatch.setattr(groups, "GROUP_BYTES", 3 * groups.network_bytes(IMAGES, RECIPE))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _signals(wanted=None, **more):
    found = {}
    for rows, trained in shadows.trained_groups(
        IMAGES, X, Y, MASK, RECIPE, 4, groups=wanted, device="cpu", **more
    ):
        found[rows.start, rows.stop] = trained.signals(X, Y)
    return found


def test_a_group_is_the_same_to_the_byte_whatever_else_is_trained(small_groups):
    parts = shadows.group_slices(IMAGES, RECIPE, 10, "cpu")
    assert list(chain(*(range(s.start, s.stop) for s in parts))) == list(range(10))
    assert len(parts) == 4 and max(s.stop - s.start for s in parts) == 3
    torch.set_num_threads(1)
    whole = _signals()
    assert list(whole) == [(s.start, s.stop) for s in parts]
    torch.set_num_threads(3)
    some = _signals(parts[1::2])
    assert list(some) == [(s.start, s.stop) for s in parts[1::2]]
    for rows, signals in some.items():
        assert signals.tobytes() == whole[rows].tobytes()
    assert torch.get_num_threads() == 3


def test_networks_do_not_depend_on_their_group(small_groups, monkeypatch):
    apart = np.concatenate(list(_signals().values()))
    monkeypatch.undo()
    [together] = _signals().values()
    np.testing.assert_allclose(together, apart, atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_progress_counts_every_batch_in_the_callers_thread(small_groups):
    import threading

    seen, threads = [], set()

    def progress(done, total):
        seen.append((done, total))
        threads.add(threading.get_ident())

    _signals(progress=progress)
    assert seen == [(i + 1, 2 * 2 * 4) for i in range(2 * 2 * 4)]
    assert threads == {threading.get_ident()}


def test_stops_when_the_caller_has_enough(small_groups):
    before = torch.get_num_threads()
    started = shadows.trained_groups(IMAGES, X, Y, MASK, RECIPE, 4, device="cpu")
    next(started)
    started.close()
    assert torch.get_num_threads() == before
    seen = []

    def failing(done, total):
        seen.append(done)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        _signals(progress=failing)
    assert seen == [1]


def test_an_error_in_a_group_reaches_the_caller(small_groups):
    mask = MASK.copy()
    mask[5] = False
    mask[5, 0] = True
    with pytest.raises(ValueError, match="1 training records, fewer than the 2 batches"):
        list(shadows.trained_groups(IMAGES, X, Y, mask, RECIPE, 4, device="cpu"))


def test_groups_follow_from_the_architecture_alone():
    large = Architecture.fully_connected((784, 2048, 2048, 10))
    assert len(shadows.group_slices(large, RECIPE, 6, "cpu")) == 6
    small = Architecture.fully_connected((20, 8, 2))
    assert [s.stop - s.start for s in shadows.group_slices(small, RECIPE, 64, "cpu")] == [32, 32]
    assert groups.network_bytes(large, RECIPE) > 4 * 4 * large.parameters
    assert groups.workers_for(small, RECIPE, 32, 4) == 4
    # a network that would fill the memory is trained alone
    assert groups.workers_for(Architecture.fully_connected((10**6, 10**5, 2)), RECIPE, 1, 4) == 1


def test_memory_is_estimated_within_a_factor_of_two_of_what_is_kept():
    from attacks.shadows.layers import Chain

    batch = 16
    flat = torch.zeros(IMAGES.parameters)
    kept = Chain(IMAGES, flat, torch.zeros_like(flat))
    kept.backward(torch.ones_like(kept.forward(torch.zeros(1, batch, 8, 8, 2))))
    arrays = {
        array.data_ptr(): array.numel() * array.element_size()
        for layer in kept.layers
        if hasattr(layer, "keep")
        for array in layer.keep._arrays.values()
    }
    estimated = 4 * batch * groups.floats_per_record(IMAGES)
    assert sum(arrays.values()) <= estimated <= 2 * sum(arrays.values())


def test_takes_a_gpu_when_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(groups, "device_memory", lambda: 8 << 30)
    assert device.chosen_device() == device.chosen_device("cuda") == "cuda"
    assert device.chosen_device("cpu") == "cpu"
    assert len(shadows.group_slices(IMAGES, RECIPE, 500)) == 1
    wide = Architecture.fully_connected((784, 4096, 4096, 10))
    sizes = [s.stop - s.start for s in shadows.group_slices(wide, RECIPE, 64)]
    assert max(sizes) * groups.network_bytes(wide, RECIPE) <= 2 << 30
    assert max(sizes) > len(shadows.group_slices(wide, RECIPE, 1, "cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.chosen_device() == "cpu"
    with pytest.raises(ValueError, match="finds no GPU"):
        device.chosen_device("cuda")
    with pytest.raises(ValueError, match="device must be one of"):
        shadows.group_slices(IMAGES, RECIPE, 2, "tpu")


def test_every_array_lies_on_the_device():
    # Arrays on "meta" have no numbers: an operation that mixes devices would raise.
    recipe = Recipe(2, 0.01, 8, optimizer="sgd")
    trained = ensemble.train(IMAGES, X, Y, MASK, recipe, 0, device="meta")
    assert trained.parameters.device.type == "meta" and trained.size == 10
    plain = Architecture.fully_connected((128, 8, 3))
    assert ensemble.train(plain, X, Y, MASK, recipe, 0, device="meta").size == 10


def test_products_on_a_gpu_keep_all_of_float32():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with device.float32_products("cuda"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_torch_is_not_imported_before_training():
    script = (
        "import sys, numpy, attacks.shadows as s\n"
        "a = s.Architecture.fully_connected((4, 3, 2))\n"
        "s.group_slices(a, s.Recipe(), 4, 'cpu')\n"
        "s.forward([(numpy.ones((2, 4), 'f4'), numpy.ones(2, 'f4'))], numpy.ones((3, 4)))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=shadows.__path__[0] + "/../..")
