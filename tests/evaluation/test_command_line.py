import subprocess
import sys

from evaluation.__main__ import main


def test_the_options_of_a_command_come_first_in_its_help(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert 0 < shown.index("--real") < shown.index("--metrics")


def test_metrics_that_do_not_exist_are_refused_before_any_work(capsys):
    assert main(["--metrics", "l1,beauty"]) == 2  # and not for want of folders
    assert "No metric is called 'beauty'" in capsys.readouterr().err


def test_help_and_comparisons_load_no_network():
    slow = "{'torch', 'matplotlib', 'jinja2'}"
    code = (
        f"import sys, evaluation.__main__; assert not {{*{slow}, 'pandas'}} & sys.modules.keys(); "
        f"import evaluation.results.compare; assert not {slow} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
