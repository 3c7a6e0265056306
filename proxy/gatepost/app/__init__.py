"""The composition root: settings become rules, contexts, doors and observers; signals become a reload or a drain.

`parts` is what is made once, at the start; `regime` what holds for new conversations, made again when the settings are
read again; `keeping` looks after it while it holds; `running` is the life of the whole.
"""

from gatepost.app.parts import Bound, CannotStart
from gatepost.app.running import run, serve

__all__ = ["Bound", "CannotStart", "run", "serve"]
