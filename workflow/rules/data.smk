"""The data: generated for synthetic tracks, checked for all tracks."""

SPLITS = list(TRACK.splits)
ANNOTATIONS = [str(TRACK.annotations(split)) for split in SPLITS]
# Splits whose annotation file the pipeline makes, by the name of the file.
MADE = {TRACK.annotations(split).stem: split for split in TRACK.made_splits}

if TRACK.synthetic:

    rule data:
        """Generate the images and annotations of a split."""
        output:
            f"{TRACK.data_root}/{{split}}-{{size}}.json",
            directory(f"{TRACK.data_root}/{{split}}-{{size}}"),
        log:
            f"{RESULTS}/runs/logs/data-{{split}}-{{size}}.log",
        wildcard_constraints:
            size="[0-9]+",
        conda:
            "../envs/icd.yaml"
        threads: 4  # or fewer on a small machine; fixed, because a cluster job must match its submission
        params:
            track=TRACK_NAME,
            root=TRACK.data_root,
        message:
            f"Generate the split {{wildcards.split}} of {TRACK.name}"
        shell:
            "python -m icd data {params.track:q} --data {params.root:q} --split {wildcards.split:q}"
            " --workers {threads} 2>&1"
            " | tee {log:q}"


rule annotations:
    """Make an annotation file: a part of the user's, or PASCAL VOC's XML converted."""
    input:
        lambda wildcards: TRACK.splits[MADE[wildcards.made]].sources(TRACK.data_root),
    output:
        f"{MADE_FOLDER}/{{made}}.json",
    log:
        f"{RESULTS}/runs/logs/annotations-{{made}}.log",
    wildcard_constraints:
        made="|".join(map(re.escape, MADE)) or "(?!)",
    conda:
        "../envs/icd.yaml"
    resources:
        mem_mb=TRACK.machine.memory,
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        split=lambda wildcards: MADE[wildcards.made],
    message:
        f"Make the annotations of the split {{params.split}} of {TRACK.name}"
    shell:
        "python -m icd make_annotations {params.track:q} --data {params.root:q}"
        " --split {params.split:q} 2>&1"
        " | tee {log:q}"


rule check:
    """Check annotations and images, count objects, compute priors and draw samples."""
    input:
        ANNOTATIONS,
        CHECK_DUE,
    output:  # update() keeps them if the check ends with an error
        survey=update(SURVEY),
        samples=update(SAMPLES),
    log:
        f"{RESULTS}/runs/logs/check.log",
    conda:
        "../envs/icd.yaml"
    threads: 4  # that read images
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        retrain="--retrain" if RETRAIN else "",
    message:
        f"Check the data of {TRACK.name}"
    shell:
        "python -m icd check {params.track:q} --data {params.root:q} --output {output.survey:q}"
        " --decode-all {params.retrain} 2>&1 | tee {log:q}"
