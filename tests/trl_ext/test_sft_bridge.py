"""Files of this machine behind the prefix `longvt://`, as datasets opens them. Training on them: test_sft.py."""

from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("trl")

from datasets import load_dataset

from trl_ext.callbacks import KeepRecord
from trl_ext.sft_bridge import KeptFiles, follow, install


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number in range(2):
        pq.write_table(pa.table({"a": [number]}), tmp_path / f"sft-{number}.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(KeptFiles, "named", {})
    return tmp_path


@pytest.mark.parametrize("start", ["", "{folder}/"])
def test_files_behind_the_prefix_are_those_of_this_machine_and_are_remembered(folder, start):
    files = f"longvt://{start.format(folder=folder)}sft-*.parquet"
    found = load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder / "cache"))
    assert found["a"][:] == [0, 1]
    assert list(KeptFiles.named) == [str(folder / "sft-0.parquet"), str(folder / "sft-1.parquet")]


def test_an_installed_package_brings_the_prefix_and_a_missing_file_is_told_by_its_name(folder):
    assert fsspec.get_filesystem_class("longvt") is KeptFiles
    assert fsspec.filesystem("longvt").unstrip_protocol("longvt://a.parquet") == f"longvt://{folder}/a.parquet"
    with pytest.raises(FileNotFoundError, match=r"longvt://gone\.parquet"):
        load_dataset("parquet", data_files="longvt://gone.parquet", split="train")
    assert KeptFiles.named == {}


def test_a_trainer_that_keeps_a_record_is_left_alone_and_the_bridge_is_installed_once(folder):
    from trl import SFTTrainer

    install()
    train = SFTTrainer.train
    install()
    assert SFTTrainer.train is train
    kept = SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[KeepRecord({})]))
    assert follow(kept, "checkpoint-3") == "checkpoint-3"
