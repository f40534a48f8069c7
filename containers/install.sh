#!/bin/sh
# Installs ICD-bench, which lies beside this script, and the pinned versions into a bare Debian. Both
# recipes run it. No compiler is needed, and CUDA's runtime comes with PyTorch's wheels.
set -eu
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
apt-get update
# git: manifests name the commit of the code that is mounted.
apt-get install --yes --no-install-recommends ca-certificates git python3 python3-venv
rm -rf /var/lib/apt/lists/*
python3 -m venv .venv
pip=.venv/bin/pip
$pip install -c constraints.txt pip
$pip install -c constraints.txt --build-constraint constraints.txt -e '.[onnx,tensorboard,wandb,mlflow]'
# mmdet installs both builds of OpenCV, which share their files; this one needs no display library.
$pip install -c constraints.txt --force-reinstall --no-deps opencv-python-headless
