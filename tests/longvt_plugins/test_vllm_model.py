"""vLLM's offline engine, where it is not installed; ``tests/vllm`` runs it where it is."""

import sys

import pytest

from longvt_plugins.errors import MissingExtraError
from longvt_plugins.synthetic import checkpoint
from longvt_plugins.vllm_model import VllmModel


def test_without_vllm_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match=r"^vllm is needed .*: pip install 'longvt-plugins\[eval,vllm\]'$"):
        VllmModel(checkpoint("agent"))
