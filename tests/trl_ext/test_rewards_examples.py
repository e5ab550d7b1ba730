"""The short examples at the top of the modules are true."""

import doctest
import importlib

import pytest

MODULES = ["background", "processes", "reward_choice", "rewards", "rewards.answer", "rewards.form", "rewards.presets"]


@pytest.mark.parametrize("name", [*MODULES, "callbacks.random_states"])
def test_the_example_at_the_top_of_a_module_is_true(name):
    failed, attempted = doctest.testmod(importlib.import_module(f"trl_ext.{name}"))
    assert attempted > 0
    assert failed == 0
