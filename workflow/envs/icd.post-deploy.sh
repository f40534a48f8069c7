#!/bin/sh
# Snakemake runs this in the new environment, in the folder it was called from: the project's root.
set -eu
python -m pip install -c constraints.txt -e .
