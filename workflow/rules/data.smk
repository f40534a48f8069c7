"""The data: generated for synthetic tracks, checked for all tracks."""

SPLITS = list(TRACK.splits)
ANNOTATIONS = [str(TRACK.annotations(split)) for split in SPLITS]

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


rule check:
    """Check annotations and images, count objects, compute priors and draw samples."""
    input:
        ANNOTATIONS,
    output:
        survey=SURVEY,
        samples=SAMPLES,
    log:
        f"{RESULTS}/runs/logs/check.log",
    conda:
        "../envs/icd.yaml"
    threads: 4  # that read images
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        f"Check the data of {TRACK.name}"
    shell:
        "python -m icd check {params.track:q} --data {params.root:q} --output {output.survey:q}"
        " --decode-all 2>&1 | tee {log:q}"
