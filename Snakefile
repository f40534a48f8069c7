"""Train, evaluate and compare: `snakemake` makes the main table of the chosen track."""


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/pictures.smk"


rule all:
    default_target: True
    input:
        rules.main.input,
    message:
        "Complete the main table"
