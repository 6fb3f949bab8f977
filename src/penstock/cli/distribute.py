"""`penstock distribute`: the logs distributor."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from penstock.cli.event_loop import run
from penstock.cli.program import DISTRIBUTOR_URL, name_and_version, program
from penstock.errors import PenstockError
from penstock.services.distributor.app import Listening, serve
from penstock.services.distributor.config import AnalyzerConfig, Config, Simulation, load_config
from penstock.services.distributor.jetstream.address import parse_address

__all__ = ["command"]

LINE = 80 - len("  analyzers  ")


EXAMPLES = """\b
Examples:
  penstock distribute --port 9000 --data-dir /var/lib/penstock
  penstock distribute --analyzer a=http://10.0.0.7:9000/packets@60 \\
                      --analyzer b=http://10.0.0.8:9000/packets@40
"""


@click.command("distribute", epilog=EXAMPLES)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file with any setting; flags and the environment win over it.",
)
@click.option("--host", metavar="HOST", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port to listen on, 0 for a free one.  [default: 8080]",
)
@click.option(
    "--data-dir",
    metavar="FOLDER",
    help="Where accepted packets are kept.  [default: penstock-data]",
)
@click.option(
    "--durability",
    type=click.Choice(["fsync", "os", "memory"]),
    help="When a packet counts as accepted: synced to disk, handed to the operating system, "
    "or held in memory.  [default: fsync]",
)
@click.option(
    "--spool",
    metavar="URL",
    help="nats://HOST:PORT[/PREFIX] keeps packets in NATS JetStream, which any number of distributors "
    "share.  [default: the data folder]",
)
@click.option(
    "--analyzer",
    "analyzers",
    multiple=True,
    metavar="ID=URL@WEIGHT",
    help="An analyzer and its weight; give it once for each. Without any, four simulated ones are started.",
)
@click.option(
    "--processing-time",
    type=click.FloatRange(0, 60),
    metavar="SECONDS",
    help="How long a delivery takes the simulated analyzers.  [default: 0.1]",
)
@click.option(
    "--failure-rate",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="How many packets the simulated analyzers fail.  [default: 0.05]",
)
def command(config_file: Path | None, analyzers: tuple[str, ...], processing_time: float | None,
            failure_rate: float | None, **flags: Any) -> None:  # fmt: skip
    """Serve the logs distributor.

    It takes packets of log messages on POST /api/v1/logs, answers when they are on disk, and deals
    them to the analyzers by their weights. A page at / shows it at work. Ctrl-C or SIGTERM lets
    deliveries under way finish; what waits is delivered after the next start.

    Settings come from --config, then PENSTOCK_DISTRIBUTOR_* variables, then flags.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if analyzers:
            flags["analyzers"] = [as_settings(analyzer) for analyzer in analyzers]
        changes = {"processing_time": processing_time, "failure_rate": failure_rate}
        given = {name: value for name, value in changes.items() if value is not None}

        def settings() -> Config:
            return with_simulation(given, config_file, flags)

        config = settings()
        run(serve(config, partial(announce, config), settings))
    except PenstockError as error:
        raise click.ClickException(str(error)) from None


def with_simulation(given: dict[str, float], config_file: Path | None, flags: dict[str, Any]) -> Config:
    """The settings, with these of the simulated analyzers in place of those in the file."""
    config = load_config(config_file, flags=flags)
    if not given:
        return config
    simulation = {name: getattr(config.simulation, name) for name in Simulation.__struct_fields__}
    return load_config(config_file, flags=flags | {"simulation": simulation | given})


def as_settings(text: str) -> dict[str, Any]:
    """ID=URL@WEIGHT as the settings of an analyzer."""
    id_, equals, rest = text.partition("=")
    url, at, weight = rest.rpartition("@")
    if not (equals and at and url):
        raise click.BadParameter(f"must be ID=URL@WEIGHT, got {text!r}", param_hint="--analyzer")
    settings = {"id": id_, "url": url, "weight": weight}
    try:
        msgspec.convert(settings, AnalyzerConfig, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise click.BadParameter(f"{error}, in {text!r}", param_hint="--analyzer") from None
    return settings


def announce(settings: Config, listening: Listening) -> None:
    """The lines that a person wants to see first.

    They go to standard error when packets go to standard output.

    Args:
        settings: as they were read; without analyzers, simulated ones stand in for them.
        listening: what has started.
    """
    url, distributor, inputs = listening
    config = distributor.config
    to_stderr = any(analyzer.carried_by == "stdout" for analyzer in config.analyzers)
    say = partial(click.echo, err=to_stderr)
    say(name_and_version())
    say(f"  page       {url}/")
    say(f"  packets    {url}/api/v1/logs")
    for name, address in inputs.items():
        say(f"  {name.replace('_', ' '):<10} {address}")
    if config.tail:
        say(f"  tail       {listed([tail.path for tail in config.tail])}")
    shares = [
        f"{analyzer.name or analyzer.id} {share:.0%}"
        for group in distributor.fleet.groups.values()
        for analyzer, share in (
            (group.members[id_].config, share) for id_, share in group.shares.targets.items()
        )
    ]
    say(f"  analyzers  {listed(shares)}")
    if not settings.analyzers:
        seconds, percent = settings.simulation.processing_time, settings.simulation.failure_rate * 100
        say(f"  simulated  deliveries take {seconds:g} s, {percent:g}% of packets fail and are tried again")
    say(f"  durability {durability_of(config)}")
    if config.api_keys:
        say(f"  keys       {listed([key.name for key in config.api_keys])}")
    if distributor.pending:
        say(f"  waiting    {distributor.pending:,} packets from last time")
    if not config.api_keys and config.tls is None:
        where = "" if url == DISTRIBUTOR_URL else f" --to {url}"
        say(f"  try        {program()} replay --sample{where}")
    say("Ctrl-C stops it.")


def durability_of(config: Config) -> str:
    """What a packet withstands once it is accepted, and where it is kept."""
    if config.spool:
        address = parse_address(config.spool)
        return f"NATS JetStream at {address.public}, {address.prefix}"
    return (
        config.durability
        if config.durability == "memory"
        else f"{config.durability}, kept in {config.data_dir}/"
    )


def listed(items: list[str]) -> str:
    """Items with commas, as many as fit the line; the others are counted."""
    for count in range(len(items), 0, -1):
        others = f" and {len(items) - count} more" if count < len(items) else ""
        text = ", ".join(items[:count]) + others
        if len(text) <= LINE:
            break
    return text
