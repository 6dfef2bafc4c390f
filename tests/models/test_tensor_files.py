"""Files of tensors."""

import pytest
import torch

from prognobench.models import write_tensors
from prognobench.models._files import read_tensors

pytestmark = pytest.mark.torch


def test_a_file_of_tensors_is_as_readable_as_others_are(tmp_path):
    shared = torch.arange(6.0).view(2, 3)
    write_tensors(tmp_path / "some.safetensors", {"one": shared.T, "other": shared})
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "some.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode
    read = read_tensors(tmp_path / "some.safetensors")
    assert read["one"].equal(shared.T) and read["other"].equal(shared)
