"""Writes ms_ssim_reference.json: MS-SSIM of JPEG-compressed photographs by the independent pytorch-msssim 1.0.0.

Torch is not a dependency of the course, so this runs in an environment of its own, once, from the course's folder:

    pip install torch==2.13.0 pytorch-msssim==1.0.0 pillow==13.0.0 numpy
    python tests/library/make_ms_ssim_reference.py
"""

import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim

TESTS = Path(__file__).parent
# (photograph, height and width of the crop from its top left corner, JPEG quality); odd sides and the smallest too
CASES = [
    ("aitzgorri", 512, 768, 10),
    ("aitzgorri", 512, 768, 75),
    ("wine", 768, 512, 5),
    ("wine", 701, 333, 40),
    ("yellow_flower", 512, 768, 30),
    ("yellow_flower", 161, 162, 20),
    ("yellow_flower", 257, 161, 90),
]


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float64)).permute(2, 0, 1)[None]


results = []
for name, height, width, quality in CASES:
    x = np.asarray(Image.open(TESTS.parent / f"data/photographs/validation/{name}.webp"))[:height, :width]
    file = io.BytesIO()
    Image.fromarray(x).save(file, "JPEG", quality=quality)
    y = np.asarray(Image.open(file))
    value = ms_ssim(tensor(x), tensor(y), data_range=255).item()
    results.append({"photograph": name, "height": height, "width": width, "quality": quality, "ms_ssim": value})
(TESTS / "ms_ssim_reference.json").write_text(json.dumps(results, indent=1) + "\n")
