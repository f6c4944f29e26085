"""What every test shares."""

import os

from hypothesis import settings

# Two busy cores say nothing about a property, so no deadline; on CI a red run must be red again tomorrow.
settings.register_profile("lopsided", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("lopsided")
