"""The Dockerfile, the compose file and the systemd unit say nothing that is not so.

No container engine runs here: the steps of the image are taken one by one with the tools at hand.
"""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml

from engines import require
from penstock.cli import main
from penstock.services.distributor.config import load_config

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "packaging" / "penstock-distributor.service"


def stages():
    """The instructions of each stage of the Dockerfile, without comments, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    starts = [number for number, line in enumerate(lines) if line.startswith("FROM")]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def sources():
    """Each path that the Dockerfile copies out of the checkout, and where to."""
    for line in stages()[0]:
        if line.startswith("COPY"):
            *paths, target = line.split()[1:]
            yield from ((path, target) for path in paths)


def variables(stage):
    """What ENV sets."""
    return dict(
        word.split("=", 1) for line in stage if line.startswith("ENV ") for word in shlex.split(line)[1:]
    )


def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def parsed(*arguments):
    """Whether the command line takes these arguments; nothing is started."""
    name, *rest = arguments
    command = main.get_command(click.Context(main), name)
    return name, command.make_context(name, rest).params


# The image


def test_what_the_image_copies_is_enough_to_build_a_wheel(tmp_path):
    for source, target in sources():
        place = tmp_path / target / (Path(source).name if target.endswith("/") else "")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("*.so", "_*_c.c"))
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", "dist", "."],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "CC": "/bin/false"}, capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name.startswith("penstock-")


def test_build_context_holds_what_the_image_copies_and_nothing_that_was_built():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for source, _ in sources()}
    assert {source.rstrip("/") for source in copied} == let_in
    assert lines.index("src/**/*.so") > lines.index("!src")  # the last line that matches decides


def test_extras_that_the_image_is_built_with_are_those_of_the_package():
    text = (ROOT / "Dockerfile").read_text()
    there_are = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"EXTRAS=(\S+)", text)
    assert len(named) == 2
    assert set(",".join(named).split(",")) <= there_are.keys()


def test_image_starts_the_distributor_where_the_world_can_reach_it():
    *_, last = stages()
    (entry,) = [json.loads(line.split(" ", 1)[1]) for line in last if line.startswith("ENTRYPOINT")]
    (command,) = [json.loads(line.split(" ", 1)[1]) for line in last if line.startswith("CMD")]
    assert entry == ["penstock"]
    assert parsed(*command)[0] == "distribute"
    config = load_config(environment=variables(last))
    assert config.host == "0.0.0.0"
    assert f"VOLUME {config.data_dir}" in last
    assert f"EXPOSE {config.port}" in last


# The compose file


def test_composed_distributor_has_analyzers_that_are_there():
    services = compose()["services"]
    config = load_config(environment=services["distributor"]["environment"])
    assert [analyzer.weight for analyzer in config.analyzers] == [40, 30, 20, 10]
    for analyzer in config.analyzers:
        url = urlsplit(analyzer.url)
        service = services[url.hostname]
        name, settings = parsed(*service["command"])
        assert (name, settings["host"], settings["port"]) == ("analyzer", "0.0.0.0", url.port)
        assert service["expose"] == [str(url.port)]
        assert url.hostname in services["distributor"]["depends_on"]


def test_composed_distributor_is_reached_on_the_port_of_the_quick_start_and_keeps_its_spool():
    distributor = compose()["services"]["distributor"]
    *_, last = stages()
    image = load_config(environment=variables(last))
    assert distributor["ports"] == [f"127.0.0.1:8080:{image.port}"]
    (volume,) = distributor["volumes"]
    assert volume == f"spool:{image.data_dir}"
    assert "spool" in compose()["volumes"]


def test_composed_distributor_has_time_to_drain():
    distributor = compose()["services"]["distributor"]
    config = load_config(environment=distributor["environment"])
    assert float(distributor["stop_grace_period"].removesuffix("s")) > config.drain_timeout


# The unit


def unit():
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=None)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


def test_unit_starts_the_distributor_with_a_data_folder_that_systemd_makes(tmp_path):
    service = unit()["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == "/opt/penstock/bin/penstock"
    file = tmp_path / "distributor.toml"
    file.touch()
    arguments[arguments.index("--config") + 1] = str(file)
    assert parsed(*arguments)[0] == "distribute"
    environment = dict(word.split("=", 1) for word in service["Environment"].split())
    ours = {name: value for name, value in environment.items() if name.startswith("PENSTOCK_")}
    config = load_config(environment=ours)
    assert config.data_dir == f"/var/lib/{service['StateDirectory']}"
    assert float(service["TimeoutStopSec"]) > config.drain_timeout


@pytest.mark.engine
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    program = tmp_path / "penstock"
    program.touch(mode=0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/penstock/bin/penstock", str(program)))
    checked = subprocess.run(
        [require("systemd-analyze"), "verify", "--man=no", copy], capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stderr) == (0, "")
