"""Sources and weights from YAML."""

import json
from collections import Counter

import pytest
import yaml

from longvt_plugins.errors import ConfigError
from trl_ext.dataset.conversations import Conversation
from trl_ext.dataset.mixture import read_mixture

from .conftest import thought, trace


def write(place, /, **mixture):
    path = place / "mixture.yaml"
    path.write_text(yaml.safe_dump(mixture))
    return path


def write_source(folder, name, count, messages=None):
    rows = [{"id": f"{name}-{number}", "messages": messages or thought(str(number))} for number in range(count)]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_weight_says_how_often_an_epoch_passes_through_a_source(tmp_path, media):
    write_source(tmp_path, "few", 3)
    write_source(tmp_path, "many", 20)
    sources = [{"path": "few.jsonl", "weight": 2}, {"path": "many.jsonl", "weight": 0.25}]
    path = write(tmp_path, videos=str(media), sources=sources)
    drawn = [item.id for item in read_mixture(path).conversations()]
    assert Counter(name.split("-")[0] for name in drawn) == {"few": 6, "many": 5}
    assert Counter(Counter(drawn).values()) == {2: 3, 1: 5}
    assert drawn == [item.id for item in read_mixture(path).conversations()]
    write(tmp_path, videos=str(media), sources=sources, seed=1)
    assert drawn != [item.id for item in read_mixture(path).conversations()]


def test_a_source_has_a_folder_a_name_and_a_way_to_be_shown_of_its_own(tmp_path, media):
    write_source(tmp_path, "few", 1, trace())
    source = {"path": "few.jsonl", "videos": str(media / "tvg"), "name": "lamps", "replay": False}
    (item,) = read_mixture(write(tmp_path, videos="nowhere", sources=[source])).conversations()
    assert isinstance(item, Conversation)
    assert (item.source, item.question) == ("lamps", None)


@pytest.mark.parametrize(
    ("mixture", "told"),
    [
        ({"sources": []}, "needs at least one source"),
        ({"sources": [{"path": "a", "wieght": 1}]}, r"no key sources\.0\.wieght\. Did you mean 'weight'"),
        ({"sources": [{"path": "a", "weight": 0}]}, "a: weight must be above 0 and at most 100, not 0"),
        ({"sources": [{"path": "a"}, {"path": "a"}]}, "a is given twice: say `weight: 2`"),
        ({"sources": [{"path": "a"}], "source": 1}, "no key source\\. Did you mean 'sources'"),
        ({"sources": [{"path": "a"}], "folder": "/"}, "no key folder"),
    ],
)
def test_a_faulty_mixture_is_refused_with_the_place(tmp_path, mixture, told):
    with pytest.raises(ConfigError, match=told):
        read_mixture(write(tmp_path, **mixture))


def test_a_mixture_that_is_not_there_or_no_yaml_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no mixture .*gone\.yaml"):
        read_mixture(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_mixture(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(ConfigError, match="must hold a mapping"):
        read_mixture(tmp_path / "list.yaml")
