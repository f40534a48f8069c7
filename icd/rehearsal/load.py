"""Load an exported detector in plain mmdet and detect in one image: ``CONFIG CHECKPOINT IMAGE``."""

from __future__ import annotations

import sys

from icd import mmcv_ext


def main(config: str, checkpoint: str, image: str) -> None:
    """As the README shows it, on the CPU."""
    mmcv_ext.install()
    from mmdet.apis import inference_detector, init_detector

    inference_detector(init_detector(config, checkpoint, device="cpu"), image)


if __name__ == "__main__":
    main(*sys.argv[1:])
