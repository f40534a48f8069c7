"""Raw numbers, tables and figures of the ablations; `snakemake NAME` makes those of one."""


localrules:
    collect,
    render,
    tradeoff,
    write_pages,


rule collect:
    """Collect the raw numbers of an ablation."""
    input:
        lambda wildcards: [
            run.metrics(ABLATIONS[wildcards.ablation].split)
            for run in to_train(ABLATIONS[wildcards.ablation])
        ],
    output:  # update() keeps the old files, because reuse=true reads runs from them
        lines=update(f"{RESULTS}/{{ablation}}/results.csv"),
        bootstrap=update(f"{RESULTS}/{{ablation}}/bootstrap.csv"),
        parts=multiext(f"{RESULTS}/{{ablation}}/", "per_class.csv", "per_size.csv"),
        diagnosis=f"{RESULTS}/{{ablation}}/diagnosis.csv",
    log:
        f"{RESULTS}/runs/logs/{{ablation}}-collect.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        folder=subpath(output.lines, parent=True),
        reuse=TAKE_OVER,
    message:
        "Collect the numbers of {wildcards.ablation}"
    shell:
        "python -m icd collect {wildcards.ablation} {params.track:q} --data {params.root:q}"
        " --folder {params.folder:q} {params.reuse} 2>&1 | tee {log:q}"


rule render:
    """Render an ablation's tables and figures."""
    input:
        lines=f"{RESULTS}/{{ablation}}/results.csv",
        bootstrap=f"{RESULTS}/{{ablation}}/bootstrap.csv",
        ablation=f"{FOLDER}/{{ablation}}.yaml",
        parts=multiext(f"{RESULTS}/{{ablation}}/", "per_class.csv", "per_size.csv"),
        diagnosis=f"{RESULTS}/{{ablation}}/diagnosis.csv",
        costs=measured_costs,
        deployments=measured_deployments,
    output:
        report(
            f"{RESULTS}/{{ablation}}/per_class.svg",
            caption="../report/caption.rst",
            category="Tables",
            subcategory="{ablation}",
            labels={"what": "gains by size and class"},
        ),
        report(
            f"{RESULTS}/{{ablation}}/table.html",
            caption="../report/caption.rst",
            category="Tables",
            subcategory="{ablation}",
            labels={"what": "table"},
        ),
        report(
            f"{RESULTS}/{{ablation}}/figure.svg",
            caption="../report/caption.rst",
            category="Tables",
            subcategory="{ablation}",
            labels={"what": "figure"},
        ),
        multiext(f"{RESULTS}/{{ablation}}/table", ".md", ".csv", ".tex"),
        multiext(f"{RESULTS}/{{ablation}}/", "figure.png", "per_class.png"),
    log:
        f"{RESULTS}/runs/logs/{{ablation}}-render.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        folder=subpath(input.lines, parent=True),
        caption=lambda wildcards: ABLATIONS[wildcards.ablation].question,
        tracking=TRACKING,
    message:
        "Render {wildcards.ablation}"
    shell:
        "python -m icd render {wildcards.ablation} {params.track:q} --data {params.root:q}"
        " --folder {params.folder:q} {params.tracking} 2>&1 | tee {log:q}"


rule tradeoff:
    """Draw accuracy against the cost of an ablation's methods."""
    input:
        lines=f"{RESULTS}/{{ablation}}/results.csv",
        bootstrap=f"{RESULTS}/{{ablation}}/bootstrap.csv",
        costs=measured_costs,
    output:
        report(
            f"{RESULTS}/{{ablation}}/tradeoff.svg",
            caption="../report/caption.rst",
            category="Tables",
            subcategory="{ablation}",
            labels={"what": "accuracy against cost"},
        ),
        f"{RESULTS}/{{ablation}}/tradeoff.png",
    log:
        f"{RESULTS}/runs/logs/{{ablation}}-tradeoff.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        folder=subpath(input.lines, parent=True),
        caption=lambda wildcards: ABLATIONS[wildcards.ablation].question,
        tracking=TRACKING,
    message:
        "Draw accuracy against cost of {wildcards.ablation}"
    shell:
        "python -m icd tradeoff {wildcards.ablation} {params.track:q} --data {params.root:q}"
        " --folder {params.folder:q} {params.tracking} 2>&1 | tee {log:q}"


rule write_pages:
    """Write the pages of the results again if one is missing."""
    output:
        f"{RESULTS}/{{page}}",
    log:
        f"{RESULTS}/runs/logs/{{page}}.log",
    wildcard_constraints:
        page="|".join(Path(page).name for page in PAGES),
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        f"Write the pages of {TRACK.name}"
    shell:
        "python -m icd page {params.track:q} --data {params.root:q} 2>&1 | tee {log:q}"


# If anything was done, the pages are rewritten, whatever the target was.
onsuccess:
    shell("python -m icd page {TRACK_NAME:q} --data {TRACK.data_root:q}")


# A failed run must not hide the others. Its table shows the finished runs and reports the failure.
onerror:
    names = asked()
    # A second Ctrl-C reaches these commands, too.
    shell(
        "trap '' INT; python -m icd tables {TRACK_NAME:q} {names} --data {TRACK.data_root:q} {TAKE_OVER} {TRACKING}"
    )
    if any(target.startswith("rehearse") for target in workflow.dag_settings.targets):
        shell(
            "trap '' INT; python -m icd rehearsal_table --track {TRACK_NAME:q} --data {TRACK.data_root:q}"
        )


for name, ablation in ABLATIONS.items():

    rule:
        name:
            name
        input:
            wanted(ablation),
            lost(PAGES[0]),
            multiext(
                f"{RESULTS}/{name}/",
                "results.csv",
                "bootstrap.csv",
                "per_class.csv",
                "per_size.csv",
            ),
            table_files(name),
        message:
            f"Complete {name}"
