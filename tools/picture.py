"""The figure of lesson 01's learning rates, out of the stored notebook, into docs/learning_rates.png for the README."""

import base64
import json
import sys
from pathlib import Path

NOTEBOOK = Path("notebooks/01_training_loop.ipynb")
PICTURE = Path("docs/learning_rates.png")


def picture(notebook: Path) -> bytes:
    """The PNG of the cell whose text alternative begins with the rate that is too small."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        outputs = cell.get("outputs", [])
        if any("".join(output.get("text", "")).startswith("too small") for output in outputs):
            images = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
            return base64.b64decode(images[0])
    raise SystemExit(f"{notebook}: no cell prints a text that begins with 'too small'; has the lesson changed?")


if __name__ == "__main__":
    new = picture(NOTEBOOK)
    if not PICTURE.exists() or PICTURE.read_bytes() != new:
        PICTURE.write_bytes(new)
        print(f"{PICTURE}: renewed", file=sys.stderr)
