"""Settings of the service: environment `PICKAPIC_<NAME>` over `pickapic.toml` over defaults.

Reading settings changes nothing on disk. The one thing that is ever written, a generated secret, has its own
function: `secret_key(settings)`.
"""

from pickapic.settings.generators import MINIATURE_GENERATORS, GeneratorChoice, parse_generators
from pickapic.settings.load import load_settings
from pickapic.settings.providers import ProviderChoice
from pickapic.settings.secret import secret_key
from pickapic.settings.service import CONFIG_FILE, HIDDEN, PREFIX, SECRET_LENGTH, Settings, config_file

__all__ = [
    "CONFIG_FILE",
    "HIDDEN",
    "MINIATURE_GENERATORS",
    "PREFIX",
    "SECRET_LENGTH",
    "GeneratorChoice",
    "ProviderChoice",
    "Settings",
    "config_file",
    "load_settings",
    "parse_generators",
    "secret_key",
]
