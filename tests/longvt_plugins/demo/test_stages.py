"""A work folder belongs to one run, and a stage that is done is not done again."""

import pytest

from longvt_plugins.demo.settings import FULL, QUICK
from longvt_plugins.demo.stages import Stages, recipe_path, start_checkpoint
from longvt_plugins.errors import ConfigError


def ignore(title, done, total):
    """Progress that nobody watches."""


def test_a_folder_made_with_other_settings_is_refused(tmp_path):
    Stages(tmp_path, QUICK, 0, ignore)
    with pytest.raises(ConfigError, match="was made with another seed; choose another --work-dir"):
        Stages(tmp_path, QUICK, 1, ignore)
    with pytest.raises(ConfigError, match="another train_videos, test_videos"):
        Stages(tmp_path, FULL, 0, ignore)


def test_a_finished_stage_is_not_repeated(tmp_path):
    stages = Stages(tmp_path, QUICK, 0, ignore)
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "done.json").write_text("{}")
    stages.make_videos()
    assert not (tmp_path / "world" / "train.parquet").exists()


def test_a_stage_that_failed_is_not_marked_as_done(tmp_path):
    stages = Stages(tmp_path, QUICK, 0, ignore)
    with pytest.raises(ConfigError, match="no rows file"):
        stages.make_traces()
    assert not stages.is_done("traces")


def test_evaluating_nothing_new_starts_no_program(tmp_path):
    stages = Stages(tmp_path, QUICK, 0, ignore)
    stages.evaluate([])
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize("name", ["sft", "rl", "rft"])
def test_the_recipes_are_found(name):
    assert recipe_path(name).is_file()


def test_the_base_checkpoint_ships_with_its_log():
    assert {"model.safetensors", "chat_template.jinja", "training_log.json"} <= {
        path.name for path in start_checkpoint().iterdir()
    }
