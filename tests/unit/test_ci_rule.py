"""The rule of tests/conftest.py, seen on small suites of their own that pytest runs under it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPPED_TEST = """
import pytest

@pytest.mark.skip(reason="no proxy here")
def test_skipped(): ...
"""
SKIPPED_IN_SETUP = """
import pytest

@pytest.fixture
def proxy(): pytest.skip("no proxy here")

def test_skipped(proxy): ...
"""
SKIPPED_MODULE = """
import pytest

pytest.skip("no proxy here", allow_module_level=True)
"""
EXPECTED_TO_FAIL = """
import pytest

@pytest.mark.xfail(reason="not built")
def test_later(): assert False
"""


def run(folder: Path, suite: str, ci: str) -> subprocess.CompletedProcess[str]:
    """Run a suite under the rule, with the environment variable CI as given."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_suite.py").write_text(suite, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini"],
        cwd=folder,
        env=os.environ | {"CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("suite", [SKIPPED_TEST, SKIPPED_IN_SETUP, SKIPPED_MODULE], ids=["mark", "fixture", "module"])
def test_a_skip_fails_in_ci(tmp_path: Path, suite: str) -> None:
    """In CI a skipped test, fixture or module fails, and the report names it and its reason."""
    result = run(tmp_path, suite, ci="true")
    assert result.returncode != 0
    assert "test_suite.py" in result.stdout
    assert "was skipped, which CI does not allow" in result.stdout
    assert "no proxy here" in result.stdout


@pytest.mark.parametrize("suite", [SKIPPED_TEST, SKIPPED_IN_SETUP], ids=["mark", "fixture"])
def test_a_skip_is_a_skip_elsewhere(tmp_path: Path, suite: str) -> None:
    """On a developer's machine a skip stays one."""
    result = run(tmp_path, suite, ci="")
    assert result.returncode == 0
    assert "1 skipped" in result.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    """A test marked xfail passes in CI as it does elsewhere."""
    result = run(tmp_path, EXPECTED_TO_FAIL, ci="true")
    assert result.returncode == 0
    assert "1 xfailed" in result.stdout
