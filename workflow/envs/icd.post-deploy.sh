#!/bin/sh
# Snakemake runs this in the new environment, in the folder it was called from: the project's root.
set -eu
python -m pip install -c constraints.txt -e '.[onnx]'
# mmcv also asks for the build of OpenCV that needs a display library; both share their files.
python -m pip install -c constraints.txt --force-reinstall --no-deps opencv-python-headless
