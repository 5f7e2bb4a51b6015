"""Run one of the scripts with its options; without ``--mode``, train.

python run.py --config demo.yaml         # the options of train.py
python run.py --mode reconstruction ...  # the options of reconstruction.py
python run.py --mode animate ...         # the options of animate.py
python run.py --mode export ...          # the options of export.py
torchrun --nproc_per_node 8 run.py --config vox.yaml
"""

import sys
from collections.abc import Sequence
from importlib import import_module

MODES = ("train", "reconstruction", "animate", "export")
HELP = f"--mode {'|'.join(MODES)} takes the options of that script; without --mode:"


def split_mode(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Split off the value of ``--mode`` from the arguments."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--mode="):
            return argument.removeprefix("--mode="), arguments[:index] + arguments[index + 1 :]
        if argument == "--mode" and arguments[index + 1 :]:
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
    return None, arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script that ``--mode`` names; return its exit code."""
    mode, others = split_mode(list(sys.argv[1:] if argv is None else argv))
    if mode is None and "--help" in others:
        print(HELP)
    mode = mode or "train"
    if mode not in MODES:
        print(f"There is no --mode {mode}: choose {', '.join(MODES)}.", file=sys.stderr)
        return 2
    code: int = import_module(mode).main(others)
    return code


if __name__ == "__main__":
    sys.exit(main())
