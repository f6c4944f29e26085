"""What every test shares."""

import os
import signal

# One thread each, the processes that tests start included: the arrays are small, two workers of pytest have two cores
# between them, and threads that wait for each other on a busy machine make a second of work into a minute. NumPy and
# PyTorch read these when they are loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

from hypothesis import settings  # noqa: E402

# What a shell starts in the background ignores Ctrl-C, and so do its children; the tests of Ctrl-C mean the usual.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two busy cores say nothing about a property, so no deadline; on CI a red run must be red again tomorrow.
settings.register_profile("lopsided", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("lopsided")
