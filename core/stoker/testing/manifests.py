"""Changes to a checkpoint's manifest that its digest does not give away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stoker.checkpoint.manifest import MANIFEST_DIGEST_NAME, MANIFEST_NAME, manifest_digest_text


def rewrite_manifest(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` alter the manifest's values in place, and write it with a digest that matches."""
    values = json.loads((checkpoint / MANIFEST_NAME).read_text())
    change(values)
    content = json.dumps(values).encode()
    (checkpoint / MANIFEST_NAME).write_bytes(content)
    (checkpoint / MANIFEST_DIGEST_NAME).write_text(manifest_digest_text(content))
