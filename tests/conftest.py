"""What every test shares: examples are drawn without a clock, and the same ones each time.

``PROXYPROOF_EXPLORE=1`` draws others: to look for what nobody has seen yet.
"""

import os

from hypothesis import settings

settings.register_profile("proxyproof", deadline=None, derandomize="PROXYPROOF_EXPLORE" not in os.environ)
settings.load_profile("proxyproof")
