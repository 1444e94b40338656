"""Progress reports of long work."""

from collections.abc import Callable
from contextlib import AbstractContextManager

OnProgress = Callable[[float, float, str], None]
"""on_progress(done, total, what); a total of 0 means that the length is not known."""
ShowStage = Callable[[str], AbstractContextManager[OnProgress]]
"""Shows a title while its block runs, and the progress that the block tells."""
