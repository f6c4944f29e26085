"""What every test shares."""

import os
import signal

from hypothesis import settings

# What a shell starts in the background ignores Ctrl-C, and so do its children; the tests of Ctrl-C mean the usual.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two busy cores say nothing about a property, so no deadline; on CI a red run must be red again tomorrow.
settings.register_profile("lopsided", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("lopsided")
