"""Prepare, check and describe training sets.

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
from utils.worker_pool import usable_cores

app = typer.Typer(add_completion=False, no_args_is_help=True)

RootArgument = Annotated[Path, typer.Argument(help="Folder with train/ and test/, or all clips.")]
OutputOption = Annotated[
    Path,
    typer.Option(
        help="Root of the data set: a new one, or one to continue.", callback=writable_folder
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=1,
        default_factory=usable_cores,
        show_default=False,
        help="Processes; by default one for each core.",
    ),
]
ShardOption = Annotated[
    str, typer.Option(help="i/n: the i-th of n parts, for one machine each; then run merge.")
]
SizeOption = Annotated[int, typer.Option(min=16, help="Width and height of the frames.")]
FormatOption = Annotated[
    Literal["mp4", "png"], typer.Option(help="mp4, or a folder of PNG frames for each clip.")
]


@app.command()
def voxceleb(
    *,
    metadata: Annotated[Path, typer.Option(help="Table of the clips, vox-metadata.csv.")],
    videos: Annotated[Path, typer.Option(help="Folder of the raw videos, named by their ids.")],
    output: OutputOption,
    workers: WorkersOption,
    shard: ShardOption = "1/1",
    boxes: Annotated[
        Literal["published", "square"],
        typer.Option(help="The table's boxes flattened to squares, or widened to squares first."),
    ] = "published",
    size: SizeOption = 256,
    format: FormatOption = "mp4",
    download: Annotated[
        bool, typer.Option("--download", help="Download missing videos into --videos with yt-dlp.")
    ] = False,
    rate_limit: Annotated[
        float | None, typer.Option(min=0.01, help="Most MB/s of --download.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Retries of --download for a video.")] = 3,
) -> int:
    """Make VoxCeleb1 from its raw videos and the table of its clips."""
    from datasets.preprocessing.cutting import ClipFormat
    from datasets.preprocessing.download import Downloader
    from datasets.preprocessing.run import Shard, finish
    from datasets.preprocessing.voxceleb import prepare

    downloader = None
    if download:
        limit = None if rate_limit is None else rate_limit * 1e6
        downloader = Downloader(videos, rate_limit=limit, retries=retries)
    report = prepare(
        metadata,
        videos,
        output,
        ClipFormat(boxes, size, format),
        workers=workers,
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
    workers: WorkersOption,
) -> int:
    """Put the pictures of CelebV into the layout that lists of pairs name."""
    from datasets.preprocessing.celebv import prepare
    from datasets.preprocessing.run import finish

    return finish(prepare(input, output, size, workers=workers), output)


@app.command()
def videos(
    *,
    input: Annotated[Path, typer.Option(help="Folder of videos, however nested.")],
    output: OutputOption,
    identity: Annotated[
        str,
        typer.Option(
            help="Person of a video: folder (one person in each folder of --input), file (another "
            "person in each video), or a CSV file of file,person."
        ),
    ] = "folder",
    workers: WorkersOption,
    shard: ShardOption = "1/1",
    size: SizeOption = 256,
    format: FormatOption = "mp4",
    detector: Annotated[
        Literal["auto", "cascade", "face-alignment"],
        typer.Option(
            help="Detector of faces; auto: face-alignment where its weights are available."
        ),
    ] = "auto",
    test_share: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="Share of people in the test split.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of these people.")] = 0,
    min_seconds: Annotated[float, typer.Option(min=0.2, help="Shortest clip.")] = 2,
    max_seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="Longest clip; longer segments are divided.")
    ] = 20,
    min_size: Annotated[
        int, typer.Option(min=16, help="Smallest side of the crop, in pixels of the video.")
    ] = 128,
) -> int:
    """Cut clips of scenes with one person, around the face, out of any talking videos."""
    from datasets.preprocessing.cutting import ClipFormat
    from datasets.preprocessing.run import Shard, finish
    from datasets.preprocessing.tracks import Limits
    from datasets.preprocessing.videos import prepare

    report = prepare(
        input,
        output,
        ClipFormat("square", size, format),
        limits=Limits(min_seconds, max_seconds, min_size),
        identity=identity,
        detector=detector,
        test_share=test_share,
        seed=seed,
        workers=workers,
        shard=Shard.parse(shard),
    )
    return finish(report, output)


@app.command()
def merge(root: Annotated[Path, typer.Argument(help="The output of all shards.")]) -> int:
    """Join the reports of all shards into one."""
    from datasets.preprocessing.run import finish
    from datasets.preprocessing.run import merge as merge_reports

    return finish(merge_reports(root), root)


@app.command()
def check(
    root: RootArgument,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what is possible; move unreadable clips away.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(min=16, help="Size of frames; default: as prepared, or of most clips."),
    ] = None,
    min_frames: Annotated[int, typer.Option(min=2, help="Shorter clips are a problem.")] = 25,
    workers: WorkersOption,
    output: Annotated[
        Path | None, typer.Option(help="JSON file of the problems.", callback=writable_file)
    ] = None,
) -> int:
    """Open everything in a root and list the problems: exit code 1 where one remains."""
    from datasets.inspection.check import PROBLEMS_LEFT
    from datasets.inspection.check import check as run_check
    from utils.files import require_apart

    if output is not None:
        require_apart(output, root)
    report = run_check(root, fix=fix, size=size, min_frames=min_frames, workers=workers)
    typer.echo(report.table())
    if output is not None:
        report.write_json(output)
    return PROBLEMS_LEFT if report.remaining else 0


@app.command()
def stats(
    root: RootArgument,
    *,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder of stats.json, clips.csv and contact_sheet.png.", callback=writable_folder
        ),
    ] = Path("results/stats"),
    metadata: Annotated[
        Path | None, typer.Option(help="Table of clips, to compare the root with.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="List of pairs, to compare the root with.")
    ] = None,
    each: Annotated[
        Literal["person", "clip"], typer.Option(help="One picture of each on the contact sheet.")
    ] = "person",
    count: Annotated[int, typer.Option(min=1, help="Most pictures of a split.")] = 100,
    workers: WorkersOption,
) -> int:
    """Describe a root: people, clips, brightness, motion; contact sheet; coverage of a list."""
    from datasets.inspection.stats import write_stats
    from datasets.preprocessing.run import SOME_SKIPPED

    found = write_stats(
        root, output, metadata=metadata, pairs=pairs, each=each, count=count, workers=workers
    )
    typer.echo(found.table())
    typer.echo(f"\nWritten: {output}")
    return SOME_SKIPPED if found.unreadable else 0


@app.command()
def landmarks(
    root: Annotated[
        Path, typer.Argument(help="Folder with train/ and test/, or all clips or pictures.")
    ],
    *,
    output: Annotated[
        Path, typer.Option(help="Folder of the landmarks, new or to continue; data.landmarks.")
    ],
    workers: WorkersOption,
    shard: ShardOption = "1/1",
) -> int:
    """Detect the 68 landmarks of the face in every frame, with face-alignment."""
    from datasets.preprocessing.landmarks import prepare
    from datasets.preprocessing.run import Shard, finish

    report = prepare(root, output, workers=workers, shard=Shard.parse(shard))
    return finish(report, output)


@app.command()
def stream(
    root: RootArgument,
    *,
    output: Annotated[str, typer.Option(help="A new folder, or a URL: s3://bucket/prefix.")],
    workers: WorkersOption,
) -> int:
    """Write clips into the shards of a stream, which data.source=stream trains from."""
    from datasets.preprocessing.run import SOME_SKIPPED
    from datasets.streaming.writer import write_stream

    report = write_stream(root, output, workers)
    for reason, clips in report.skipped.items():
        for name, detail in clips.items():
            typer.echo(f"{reason}: {name}: {detail}", err=True)
    typer.echo(report.table())
    return SOME_SKIPPED if report.skipped else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m datasets`` and return its exit code."""
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
