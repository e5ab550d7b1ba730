"""The site builds without a warning, holds every page, and loads nothing from other machines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("mkdocs", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", site],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return site


def test_every_document_is_a_page_that_the_navigation_leads_to(site):
    pages = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in (ROOT / "docs").rglob("*.md")}
    home = (site / "index.html").read_text()
    for page in pages - {"README"}:
        assert (site / page / "index.html").is_file()
        assert f'href="{page}/"' in home, page


def test_links_out_of_the_documents_are_shown_as_paths(site):
    text = (site / "index.html").read_text()
    assert "longvt_plugins/prompts" in text
    assert 'href="../longvt_plugins' not in text


def test_nothing_is_loaded_from_other_machines(site):
    for page in (site / "index.html", site / "guide" / "index.html"):
        loaded = re.findall(r'<(?:script|img|iframe|link)[^>]*?(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert [url for url in loaded if "fonts" in url or url.endswith((".js", ".css", ".png"))] == []
