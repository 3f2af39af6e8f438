"""Floor 7: the front door. Verbs over the pipeline; it trains nothing itself.

Every heavy import (torch, transformers, the pipeline) happens inside the verb that needs it, so that
`zero2r1 --help` answers at once.
"""

from zero2r1.cli.app import main

__all__ = ["main"]
