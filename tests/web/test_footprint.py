"""What a server process loads: no deep learning, unless a scorer or generator is configured that needs it."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pickapic.plugins import GENERATORS, load
from pickapic.settings import load_settings
from pickapic.web.app import create_app
from pickapic.web.server import run
import pickapic.worker
settings = load_settings()
create_app(settings)
for choice in settings.generators:
    load(GENERATORS, choice.plugin)(**choice.parameters)
print(sorted({"torch", "transformers", "diffusers", "ray"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_server_and_worker_load_no_deep_learning_library():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
