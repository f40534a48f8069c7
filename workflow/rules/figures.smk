"""Figures of the behaviour of an ablation's runs; `snakemake figures` draws them all."""

# Ablations with such figures, by the folder of the figures.
ILLUSTRATED = {
    str(catalogue.folder(TRACK, ablation).relative_to(RESULTS)): ablation
    for ablation in ABLATIONS.values()
    if ablation.figures
}


wildcard_constraints:
    figures="|".join(map(re.escape, ILLUSTRATED)) or "(?!)",
    name="|".join(dict.fromkeys([*catalogue.MEASUREMENTS, *catalogue.FIGURES])),
    iteration="[0-9]+",


rule evaluate_snapshot:
    """Compute the COCO metrics of a snapshot, the detector at some point of its training."""
    input:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
        annotations=test_annotations,
        survey=test_survey,
    output:
        f"{RESULTS}/runs/{{run}}/steps/{{iteration}}.json",
    log:
        f"{RESULTS}/runs/{{run}}/steps/{{iteration}}.log",
    conda:
        "../envs/icd.yaml"
    threads: TRACK.machine.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=TRACK.machine.memory,
    params:
        attempt=ATTEMPT,
        folder=lambda wildcards: RUNS[wildcards.run].folder,
        weights=lambda wildcards: snapshot_file(RUNS[wildcards.run], wildcards.iteration),
        split=TRACK.tuning_split,
        images=TRACK.images(TRACK.tuning_split),
        gpus=min(GPUS, 1),
        workers=TRACK.machine.workers,
        tracking=followed,
    message:
        "Evaluate {wildcards.run} after {wildcards.iteration} iterations"
    shell:
        "{params.attempt} {log:q} python -m icd evaluate {params.folder:q} --weights {params.weights:q}"
        " --split {params.split:q} --output {output:q} --gpus {params.gpus}"
        " --workers {params.workers}"
        " --annotations {input.annotations:q} --images {params.images:q} {params.tracking}"


rule measure:
    """Collect the raw numbers of a figure."""
    input:
        lambda wildcards: needs.measured(wildcards.name, ILLUSTRATED[wildcards.figures], TRACK),
        annotations=lambda wildcards: TRACK.annotations(ILLUSTRATED[wildcards.figures].split),
    output:
        f"{RESULTS}/{{figures}}/{{name}}.csv",
    log:
        f"{RESULTS}/runs/logs/{{figures}}-{{name}}-measure.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        ablation=lambda wildcards: ILLUSTRATED[wildcards.figures].name,
    message:
        "Measure the {wildcards.name} for {wildcards.figures}"
    shell:
        "python -m icd measure {wildcards.name} {params.ablation} {params.track:q}"
        " --data {params.root:q} --output {output:q} 2>&1 | tee {log:q}"


rule figure:
    """Draw a figure."""
    input:
        lambda wildcards: needs.drawn(wildcards.name, ILLUSTRATED[wildcards.figures]),
        sources=lambda wildcards: needs.sources(
            wildcards.name, ILLUSTRATED[wildcards.figures], TRACK
        ),
        annotations=lambda wildcards: TRACK.annotations(ILLUSTRATED[wildcards.figures].split),
    output:
        files=[
            report(
                f"{RESULTS}/{{figures}}/{{name}}.svg",
                caption="../report/caption.rst",
                category="Figures",
                labels={"what": "{name}"},
            ),
            f"{RESULTS}/{{figures}}/{{name}}.png",
        ],
    log:
        f"{RESULTS}/runs/logs/{{figures}}-{{name}}.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        ablation=lambda wildcards: ILLUSTRATED[wildcards.figures].name,
        caption=lambda wildcards: catalogue.caption(wildcards.name, ILLUSTRATED[wildcards.figures]),
        tracking=TRACKING,
    message:
        "Draw {wildcards.figures}/{wildcards.name}"
    shell:
        "python -m icd figure {wildcards.name} {params.ablation} {params.track:q}"
        " --data {params.root:q} --sources {input.sources:q} --outputs {output.files:q}"
        " {params.tracking} 2>&1"
        " | tee {log:q}"


rule figures:
    input:
        [
            f"{RESULTS}/{folder}/{name}.{suffix}"
            for folder, ablation in ILLUSTRATED.items()
            for name in catalogue.possible(
                ablation
            )  # without figures of rows that the track cannot have
            for suffix in ("svg", "png")
        ],
    message:
        "Complete the figures"
