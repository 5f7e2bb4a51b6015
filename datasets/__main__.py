"""Makes training sets of raw videos, and looks after them.

python -m datasets voxceleb --metadata vox-metadata.csv --videos DIR --output ROOT
python -m datasets videos --input DIR --output ROOT
python -m datasets merge ROOT
python -m datasets check ROOT [--fix]
python -m datasets stats ROOT [--metadata CSV | --pairs CSV]
python -m datasets celebv --input DIR --output ROOT
python -m datasets landmarks ROOT --output DIR
python -m datasets stream ROOT --output URL-OR-DIR
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from utils.command_line import run, writable_file, writable_folder

app = typer.Typer(add_completion=False, no_args_is_help=True)

OutputOption = Annotated[
    Path,
    typer.Option(help="Root of the data set: new, or to go on with.", callback=writable_folder),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes; one for each core if left out.")
]
ShardOption = Annotated[
    str, typer.Option(help="i/n: the i-th share of n, for a machine of its own; then merge.")
]
SizeOption = Annotated[int, typer.Option(min=16, help="Width and height of the frames.")]
FormatOption = Annotated[
    Literal["mp4", "png"], typer.Option(help="mp4, or a folder of PNG frames for each clip.")
]


@app.command()
def voxceleb(
    *,
    metadata: Annotated[Path, typer.Option(help="Table of the clips, vox-metadata.csv.")],
    videos: Annotated[Path, typer.Option(help="Folder of the raw videos, by their ids.")],
    output: OutputOption,
    workers: WorkersOption = None,
    shard: ShardOption = "1/1",
    geometry: Annotated[
        Literal["published", "square"],
        typer.Option(help="The table's boxes flattened to squares, or widened to squares first."),
    ] = "published",
    size: SizeOption = 256,
    format: FormatOption = "mp4",
    download: Annotated[
        bool, typer.Option("--download", help="Fetch missing videos, with yt-dlp, into --videos.")
    ] = False,
    rate_limit: Annotated[
        float | None, typer.Option(min=0.01, help="Of --download, in MB/s.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Of --download, for each video.")] = 3,
) -> int:
    """VoxCeleb1 out of its raw videos and the table of its clips."""
    from datasets.preprocessing.cutting import Form
    from datasets.preprocessing.download import Downloader
    from datasets.preprocessing.report import Shard
    from datasets.preprocessing.run import finish
    from datasets.preprocessing.voxceleb import prepare
    from utils.worker_pool import usable_cores

    downloader = None
    if download:
        limit = None if rate_limit is None else rate_limit * 1e6
        downloader = Downloader(videos, rate_limit=limit, retries=retries)
    report = prepare(
        *(metadata, videos, output, Form(geometry, size, format)),
        workers=workers or usable_cores(),
        shard=Shard.parse(shard),
        downloader=downloader,
    )
    return finish(report, output)


@app.command()
def celebv(
    *,
    input: Annotated[Path, typer.Option(help="Folder with the five people, however nested.")],
    output: OutputOption,
    size: SizeOption = 256,
    workers: WorkersOption = None,
) -> int:
    """The pictures of CelebV in the layout that lists of pairs name."""
    from datasets.preprocessing.celebv import prepare
    from datasets.preprocessing.run import finish
    from utils.worker_pool import usable_cores

    return finish(prepare(input, output, size, workers=workers or usable_cores()), output)


@app.command()
def videos(
    *,
    input: Annotated[Path, typer.Option(help="Folder of videos, however nested.")],
    output: OutputOption,
    identity: Annotated[
        str,
        typer.Option(
            help="Whom a video shows: folder (one person in each folder of --input), file (each "
            "video another), or a CSV file of file,person."
        ),
    ] = "folder",
    workers: WorkersOption = None,
    shard: ShardOption = "1/1",
    size: SizeOption = 256,
    format: FormatOption = "mp4",
    detector: Annotated[
        Literal["auto", "cascade", "face-alignment"],
        typer.Option(help="What finds faces; auto: face-alignment where its weights are."),
    ] = "auto",
    test_share: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="Of the people, for the test split.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Chooses these people.")] = 0,
    min_seconds: Annotated[float, typer.Option(min=0.2, help="Of a clip.")] = 2,
    max_seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="Of a clip: longer takes become several.")
    ] = 20,
    min_size: Annotated[
        int, typer.Option(min=16, help="Side of the crop, in pixels of the video.")
    ] = 128,
) -> int:
    """Any folder of talking videos: scenes in which one person is alone, cut around the face."""
    from datasets.preprocessing.cutting import Form
    from datasets.preprocessing.report import Shard
    from datasets.preprocessing.run import finish
    from datasets.preprocessing.tracks import Limits
    from datasets.preprocessing.videos import prepare
    from utils.worker_pool import usable_cores

    report = prepare(
        *(input, output, Form("square", size, format)),
        limits=Limits(min_seconds, max_seconds, min_size),
        identity=identity,
        detector=detector,
        test_share=test_share,
        seed=seed,
        workers=workers or usable_cores(),
        shard=Shard.parse(shard),
    )
    return finish(report, output)


@app.command()
def merge(root: Annotated[Path, typer.Argument(help="The output of all shards.")]) -> int:
    """Join the reports of all shards into one."""
    from datasets.preprocessing.run import merge_shards

    return merge_shards(root)


@app.command()
def check(
    root: Annotated[Path, typer.Argument(help="Holds train/ and test/, or all clips.")],
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what can be; what cannot be read moves aside.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(min=16, help="Of the frames; that of the preparing run, or of most clips."),
    ] = None,
    min_frames: Annotated[int, typer.Option(min=2, help="Shorter clips are a problem.")] = 25,
    workers: WorkersOption = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A JSON file for what was found.", callback=writable_file),
    ] = None,
) -> int:
    """Open everything in a root and say what is wrong: exit code 1 where something remains."""
    from datasets.inspection.check import PROBLEMS_LEFT
    from datasets.inspection.check import check as run_check
    from utils.files import require_apart, write_atomically
    from utils.worker_pool import usable_cores

    if output is not None:
        require_apart(output, root)
    report = run_check(
        root, fix=fix, size=size, min_frames=min_frames, workers=workers or usable_cores()
    )
    typer.echo(report.table())
    if output is not None:
        write_atomically(output, report.model_dump_json(indent=1) + "\n")
    return PROBLEMS_LEFT if report.remaining else 0


@app.command()
def stats(
    root: Annotated[Path, typer.Argument(help="Holds train/ and test/, or all clips.")],
    *,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder of stats.json, clips.csv and contact_sheet.png.", callback=writable_folder
        ),
    ] = Path("results/stats"),
    metadata: Annotated[
        Path | None, typer.Option(help="A table of clips: how much of it is there.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A list of pairs: how much of it is there.")
    ] = None,
    each: Annotated[
        Literal["person", "clip"], typer.Option(help="What has a picture on the contact sheet.")
    ] = "person",
    count: Annotated[int, typer.Option(min=1, help="Pictures of each split, at most.")] = 100,
    workers: WorkersOption = None,
) -> int:
    """People, clips, seconds, sizes, brightness, motion; a contact sheet; coverage of a list."""
    from datasets.inspection.stats import write_stats
    from datasets.preprocessing.run import SOME_SKIPPED
    from utils.worker_pool import usable_cores

    found = write_stats(
        *(root, output),
        metadata=metadata,
        pairs=pairs,
        each=each,
        count=count,
        workers=workers or usable_cores(),
    )
    typer.echo(found.table())
    typer.echo(f"\nWritten: {output}")
    return SOME_SKIPPED if found.unreadable else 0


@app.command()
def landmarks(
    root: Annotated[Path, typer.Argument(help="Holds train/ and test/, or all clips or pictures.")],
    *,
    output: Annotated[
        Path, typer.Option(help="Folder of the landmarks: new, or to go on with; data.landmarks.")
    ],
    workers: WorkersOption = None,
    shard: ShardOption = "1/1",
) -> int:
    """Find the 68 landmarks of the face in every frame, with face-alignment."""
    from datasets.preprocessing.landmarks import prepare
    from datasets.preprocessing.report import Shard
    from datasets.preprocessing.run import finish
    from utils.worker_pool import usable_cores

    report = prepare(root, output, workers=workers or usable_cores(), shard=Shard.parse(shard))
    return finish(report, output)


@app.command()
def stream(
    root: Annotated[Path, typer.Argument(help="Holds train/ and test/, or all clips.")],
    *,
    output: Annotated[str, typer.Option(help="A new folder, or a URL: s3://bucket/prefix.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read; one for each core if left out.")
    ] = None,
) -> int:
    """Write clips into the shards of a stream, which data.source=stream trains from."""
    from datasets.preprocessing.run import SOME_SKIPPED
    from datasets.streaming.writer import write_stream
    from utils.worker_pool import usable_cores

    report = write_stream(root, output, workers or usable_cores())
    for reason, clips in report.skipped.items():
        for name, detail in clips.items():
            typer.echo(f"{reason}: {name}: {detail}", err=True)
    typer.echo(report.table())
    return SOME_SKIPPED if report.skipped else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
