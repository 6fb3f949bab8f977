"""`penstock ping serve`: targets pinged on schedule, their history, a status page, alerts."""

import logging
from pathlib import Path
from typing import Any

import click

from penstock.cli.event_loop import run
from penstock.cli.program import name_and_version
from penstock.cli.results import cannot_go_on
from penstock.errors import InvalidValue, PenstockError
from penstock.services.pinger.target_file import read_target_file
from penstock.services.pinger.watch.alerts import origin
from penstock.services.pinger.watch.app import serve
from penstock.services.pinger.watch.config import Config, load_config

__all__ = ["command"]

EXAMPLES = """\b
Examples:
  penstock ping serve --targets targets.toml
  penstock ping serve --targets targets.toml --webhook http://127.0.0.1:9/hook
  curl 'http://127.0.0.1:8081/api/v1/targets/shop/history?since=7d&step=1h'

\b
targets.toml:
  [[target]]
  url = "https://example.com/health"
  name = "shop"
  interval = "15s"
  assert = ["status==200", "ttfb<500ms", "cert>14d"]
"""


@click.command("serve", epilog=EXAMPLES, short_help="Ping targets on schedule; status page, history, alerts.")
@click.option(
    "--targets", type=click.Path(exists=True, dir_okay=False), metavar="F", help="TOML file of the targets."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="F",
    help="TOML file with any setting; flags and the environment win over it.",
)
@click.option("--host", metavar="HOST", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port to listen on, 0 for a free one.  [default: 8081]",
)
@click.option(
    "--history",
    type=click.Path(dir_okay=False),
    metavar="F",
    help="SQLite file of every ping.  [default: penstock-ping.sqlite]",
)
@click.option("--keep-days", type=float, metavar="DAYS", help="How long pings are kept.  [default: 30]")
@click.option(
    "--interval",
    type=float,
    metavar="SECONDS",
    help="Between two pings of a target that does not say.  [default: 30]",
)
@click.option("--timeout", type=float, metavar="SECONDS", help="For one attempt.  [default: 5]")
@click.option("--retries", type=int, metavar="N", help="Further attempts within one ping.  [default: 0]")
@click.option("--concurrency", type=int, metavar="N", help="Pings in progress at once.  [default: 64]")
@click.option(
    "--engine", type=click.Choice(["auto", "aiohttp", "protocol", "socket"]), help="What makes the requests."
)
@click.option(
    "--webhook", "webhooks", multiple=True, metavar="URL", help="Post every change there; may be repeated."
)
@click.option(
    "--probe",
    type=click.Choice(["off", "targets", "any"]),
    help="What /probe?target=URL may ping for Prometheus: nothing, the targets, or any URL.  "
    "[default: targets]",
)
def command(config_file: Path | None, webhooks: tuple[str, ...], **flags: Any) -> None:
    """Ping the targets of a file on schedule, for as long as this runs.

    Every target has its own interval, and its first ping at another moment than the others. Every ping is
    kept in a SQLite file. A page at / shows the last day; /api/v1/targets/NAME/history tells uptime and
    percentiles of any period; /metrics and /probe are for Prometheus, by the names of blackbox_exporter.

    A target goes down after two failed pings in a row, and up again after two good ones; each change is
    posted to the webhooks, until they take it.

    Settings come from --config, then PENSTOCK_PING_* variables, then flags. Ctrl-C or SIGTERM stops it.

    Exit code: 0 when it was told to stop, 1 when it cannot go on, 2 when the command, a setting
    or the targets were wrong.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = load_config(config_file, flags=flags | {"webhooks": webhooks or None})
        if not config.targets:
            raise click.UsageError("Nothing to watch: give --targets F, a TOML file of targets.")
        targets = read_target_file(config.targets)
        run(serve(config, targets, lambda url: announce(config, len(targets), url)))
    except InvalidValue as error:
        raise cannot_go_on(str(error)) from None
    except (PenstockError, OSError) as error:
        raise click.ClickException(str(error)) from None


def announce(config: Config, targets: int, url: str) -> None:
    """The lines that a person wants to see first."""
    click.echo(name_and_version())
    click.echo(f"  page     {url}/")
    click.echo(f"  targets  {targets:,} of {config.targets}, every {config.interval:g} s unless they say")
    click.echo(f"  history  {config.history}, {config.keep_days:g} days")
    hooks = ", ".join(map(origin, config.webhooks))
    click.echo(f"  alerts   {hooks or 'none; --webhook URL posts every change'}")
    click.echo(f"  metrics  {url}/metrics")
    click.echo("Ctrl-C stops it.")
