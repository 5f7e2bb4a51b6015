import subprocess
import sys

import pytest

from evaluation.__main__ import main
from evaluation.metrics.registry import known_metrics
from utils.errors import InputError


def test_the_options_of_a_command_come_first_in_its_help(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert 0 < shown.index("--real") < shown.index("--metrics")


def test_metrics_that_do_not_exist_are_refused_before_any_work():
    assert known_metrics("l1, fid") == "l1, fid"
    with pytest.raises(InputError, match="No metric is called 'beauty'"):
        known_metrics("l1,beauty")


def test_help_and_comparisons_load_no_network():
    slow = "{'torch', 'matplotlib', 'jinja2'}"
    code = (
        f"import sys, evaluation.__main__; assert not {{*{slow}, 'pandas'}} & sys.modules.keys(); "
        f"import evaluation.results.compare; assert not {slow} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
