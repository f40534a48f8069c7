"""Train, evaluate and compare. `snakemake` makes the main table of the chosen track.

`snakemake NAME` makes the table of an ablation. `snakemake everything` makes all tables and figures.
`snakemake page` writes the interactive page of what is there.
"""


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/page.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/deployment.smk"
include: "workflow/rules/rehearsal.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        rules.main.input,
    message:
        "Complete the main table"


rule everything:
    input:
        [getattr(rules, name).input for name, table in ABLATIONS.items() if table.measured],
        rules.figures.input,
        rules.page.input,
    message:
        "Complete all tables and figures, and the page"


require_rules_of_profile()
if workflow.is_main_process:
    require_image()
    require_trackers()
    require_data()
