"""The entry point never raises, adds names, and takes none over."""

import importlib.metadata
import logging
import subprocess
import sys

import pytest

from eval_ext.plugin import MODELS, add_tasks, manifests
from eval_ext.tasks.catalogue import catalogue

OURS = {entry.name for entry in catalogue()}


@pytest.fixture(scope="module")
def indexes():
    """lmms-eval's index of tasks, without ours and with."""
    from lmms_eval.tasks import TaskManager

    add_tasks()
    manager = TaskManager("WARNING")
    without = TaskManager.initialize_tasks.__wrapped__(manager)
    return without, manager.task_index


def test_the_entry_point_is_installed():
    (found,) = importlib.metadata.entry_points(group="lmms_eval.models", name="longvt")
    assert found.load() is manifests


def test_the_models_are_found_under_their_names():
    from lmms_eval.models import MODEL_REGISTRY_V2

    for name, path in MODELS.items():
        resolved = MODEL_REGISTRY_V2.resolve(name)
        assert (resolved.class_path, resolved.model_type) == (path, "chat")
        assert MODEL_REGISTRY_V2.get_model_class(name).__name__ == path.rsplit(".", 1)[1]


def test_our_models_take_no_built_in_name():
    from lmms_eval.models import MODEL_REGISTRY_V2, ModelRegistryV2, _build_builtin_manifests

    built_in = ModelRegistryV2()
    for manifest in _build_builtin_manifests():
        built_in.register_manifest(manifest)
    assert set(MODELS).isdisjoint(built_in.list_model_names())
    assert set(MODEL_REGISTRY_V2.list_model_names()) >= set(built_in.list_model_names()) | set(MODELS)


def test_our_tasks_take_no_built_in_name_and_change_none(indexes):
    without, with_ours = indexes
    assert OURS.isdisjoint(without)
    assert len(without) > 1000
    assert {name: with_ours[name] for name in without} == without
    assert set(with_ours) - set(without) == OURS


def test_a_second_call_adds_nothing():
    from lmms_eval.tasks import TaskManager

    before = TaskManager.initialize_tasks
    manifests()
    assert TaskManager.initialize_tasks is before


def test_folders_given_by_the_user_come_first(tmp_path):
    from lmms_eval.tasks import TaskManager

    (tmp_path / "mine.yaml").write_text("task: longvt_synthetic_tool\ndataset_path: mine\n")
    for include_path in (str(tmp_path), [str(tmp_path)]):
        manager = TaskManager("WARNING", include_path=include_path, include_defaults=False)
        assert manager.task_index["longvt_synthetic_tool"]["yaml_path"] == str(tmp_path / "mine.yaml")
        assert "longvt_synthetic_non_think" in manager.task_index


@pytest.mark.parametrize("broken", ["lmms_eval.tasks", "lmms_eval.models.registry_v2"])
def test_another_lmms_eval_is_reported_and_never_raises(broken, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, broken, None)
    with caplog.at_level(logging.ERROR):
        assert manifests() == []
    assert "could not enter lmms-eval" in caplog.text


@pytest.mark.parametrize(("value", "found"), [("0", False), ("1", True)])
def test_a_variable_leaves_our_tasks_out(value, found, monkeypatch):
    from lmms_eval.tasks import TaskManager

    original = getattr(TaskManager.initialize_tasks, "__wrapped__", TaskManager.initialize_tasks)
    monkeypatch.setattr(TaskManager, "initialize_tasks", original)
    monkeypatch.setenv("LONGVT_LMMS_EVAL_TASKS", value)
    assert {manifest.model_id for manifest in manifests()} == set(MODELS)
    assert OURS.isdisjoint(TaskManager("WARNING", include_defaults=False).task_index) is not found


def test_the_entry_point_imports_nothing_heavy():
    code = (
        "import sys, eval_ext.plugin; "
        "print({'lmms_eval', 'torch', 'openai', 'longvt_plugins.plugins'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
