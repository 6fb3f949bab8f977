"""What reads rates loads no HTTP client: the commands that share it start without one."""

import subprocess
import sys


def test_scrape_starts_without_an_http_client():
    program = "import sys, penstock.cli.scrape; print(*{'aiohttp', 'yarl', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
