"""Open a page in which a portrait follows a face: python app.py, then http://127.0.0.1:7860/.

    pip install -r requirements-app.txt
    python app.py [--checkpoint C] [--port 7860]

Everything is computed here: the page loads nothing from other machines and sends nothing to them.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from utils.command_line import (
    AnimatorOption,
    DeviceOption,
    PrecisionOption,
    options_from_dataclasses,
    run,
)
from utils.errors import InputError

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of the server and of its network."""

    checkpoint: AnimatorOption = None
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860
    token: Annotated[
        str | None,
        typer.Option(
            help="Word of letters, digits, - and _ that clients must know; made where it is left "
            "out and other machines can reach the server."
        ),
    ] = None
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    certificate: Annotated[
        Path | None,
        typer.Option(help="For https, without which browsers give no camera to other machines."),
    ] = None
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None
    label: Annotated[bool, typer.Option(help="Write on live pictures that they are generated.")] = (
        True
    )


@app.command()
@options_from_dataclasses
def start(*, options: ServerOptions) -> int:
    """Serve the page until Ctrl-C."""
    try:
        from web.server import serve
        from web.studio import Studio
    except ImportError as error:
        raise InputError(
            f"The app needs the package {error.name}: pip install -r requirements-app.txt."
        ) from error
    from animation.animator import Animator
    from animation.bundled import bundled_weights
    from animation.cropper import choose_policy

    checkpoint = options.checkpoint or bundled_weights()
    policy = choose_policy(None, False, checkpoint)
    animator = Animator.from_checkpoint(
        checkpoint, device=options.device, precision=options.precision
    )
    serve(
        Studio(animator, policy, title=checkpoint.name, label=options.label),
        host=options.host,
        port=options.port,
        token=options.token,
        certificate=options.certificate,
        key=options.key,
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run(app, argv)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # at once: no thread is waited for, and nothing is left to be written
