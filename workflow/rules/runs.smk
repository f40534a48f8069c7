"""Describe, train and evaluate runs. The name of a run's folder contains a hash of its content."""


localrules:
    describe,
    fetch,


# Lets glibc keep freed memory for the next step instead of returning it page by page. On large
# images this saves up to a fifth of a step's time. On a GPU it gains nothing, because PyTorch
# manages the memory.
KEEP_MEMORY = "MALLOC_TRIM_THRESHOLD_=-1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_MMAP_MAX_=0"


ruleorder: train_decoder > train_distilled > train_source > train


rule describe:
    """Write the description of a run."""
    output:
        f"{RESULTS}/runs/{{run}}/run.json",
    log:
        f"{RESULTS}/runs/{{run}}/describe.log",
    conda:
        "../envs/icd.yaml"
    params:
        description=lambda wildcards: json.dumps(RUNS[wildcards.run].description, indent=1),
    message:
        "Describe {wildcards.run}"
    shell:
        "printf '%s\\n' {params.description:q} > {output:q} 2> {log:q}"


rule fetch:
    """Download the weights of a teacher from mmdet's model zoo."""
    output:
        f"{WEIGHTS}/{{weights}}",
    log:
        f"{RESULTS}/runs/logs/fetch-{{weights}}.log",
    conda:
        "../envs/icd.yaml"
    params:
        name=lambda wildcards: ZOO[wildcards.weights].zoo,
        sha256=lambda wildcards: ZOO[wildcards.weights].sha256,
    message:
        "Fetch {wildcards.weights}"
    shell:
        "python -m icd fetch_model {params.name:q} --sha256 {params.sha256}"
        " --output {output:q} 2>&1 | tee {log:q}"


# Gives each attempt a log of its own. exec replaces the shell, which a signal would otherwise end
# before the training has saved its state.
ATTEMPT = f"exec bash {shlex.quote(str(Path(workflow.basedir, 'workflow/scripts/attempt.sh')))}"


rule train:
    """Train a detector, with or without a teacher. Resumes from the last checkpoint."""
    input:
        source_files,
        run=f"{RESULTS}/runs/{{run}}/run.json",
        annotations=train_annotations,
        survey=train_survey,
    output:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
        manifest=f"{RESULTS}/manifests/{{run}}.json",
    log:
        f"{RESULTS}/runs/{{run}}/train.log",
    conda:
        "../envs/icd.yaml"
    threads: TRACK.machine.threads
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=training_minutes,
    params:
        attempt=ATTEMPT,
        folder=lambda wildcards: RUNS[wildcards.run].folder,
        root=TRACK.data_root,
        environment="" if GPUS else KEEP_MEMORY,
        gpus=GPUS,
        workers=TRACK.machine.workers,
        every=TRACK.machine.checkpoint_every,
        snapshots=lambda wildcards: needs.snapshots(RUNS[wildcards.run], ABLATIONS.values(), TRACK),
        deterministic="--deterministic" if TRACK.machine.deterministic else "",
        reuse=TAKE_OVER,
        tracking=followed,
    message:
        "Train {wildcards.run}"
    shell:
        "{params.attempt} {log:q} env {params.environment} python -m icd train {params.folder:q}"
        " --data {params.root:q} --survey {input.survey:q} --manifest {output.manifest:q} --gpus {params.gpus}"
        " --workers {params.workers} --checkpoint-every {params.every}"
        " --snapshots {params.snapshots} {params.deterministic} {params.reuse}"
        " {params.tracking}"


use rule train as train_source with:
    wildcard_constraints:
        run=any_run(SOURCES),
    priority: 1  # other runs wait for it


use rule train as train_distilled with:
    output:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
        method=f"{RESULTS}/runs/{{run}}/method.pth",
        manifest=f"{RESULTS}/manifests/{{run}}.json",
    wildcard_constraints:
        run=any_run(DISTILLED),


use rule train as train_decoder with:
    output:
        checkpoint=f"{RESULTS}/runs/{{run}}/decoder.pth",
        recognition=f"{RESULTS}/runs/{{run}}/decoder.json",
        manifest=f"{RESULTS}/manifests/{{run}}.json",
    wildcard_constraints:
        run=any_run(DECODERS),
    priority: 1  # students wait for it


rule evaluate:
    """Compute the COCO metrics of a run's plain detector on the test split."""
    input:
        teachers_metrics,
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
        annotations=test_annotations,
        survey=test_survey,
    output:
        metrics=f"{RESULTS}/runs/{{run}}/metrics.json",
        detections=f"{RESULTS}/runs/{{run}}/{TEST}/bbox.json",  # segm.json lies beside it, if any
    log:
        f"{RESULTS}/runs/{{run}}/evaluate.log",
    priority: 1  # students wait for their teacher's evaluation
    conda:
        "../envs/icd.yaml"
    threads: TRACK.machine.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=TRACK.machine.memory,
    params:
        attempt=ATTEMPT,
        folder=lambda wildcards: RUNS[wildcards.run].folder,
        gpus=min(GPUS, 1),
        workers=TRACK.machine.workers,
        evaluator=TRACK.machine.evaluator,
        split=measured_split,
        images=lambda wildcards: TRACK.images(measured_split(wildcards)),
        tracking=followed,
    message:
        "Evaluate {wildcards.run}"
    shell:
        "{params.attempt} {log:q} python -m icd evaluate {params.folder:q} --output {output.metrics:q}"
        " --gpus {params.gpus} --workers {params.workers} --evaluator {params.evaluator}"
        " --split {params.split:q}"
        " --annotations {input.annotations:q} --images {params.images:q} {params.tracking}"


use rule evaluate as evaluate_split with:
    input:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
        annotations=test_annotations,
        survey=test_survey,
    output:
        metrics=f"{RESULTS}/runs/{{run}}/metrics-{{split}}.json",
        detections=f"{RESULTS}/runs/{{run}}/{{split}}/bbox.json",
    log:
        f"{RESULTS}/runs/{{run}}/evaluate-{{split}}.log",
    wildcard_constraints:
        split="|".join(map(re.escape, {*TRACK.splits} - {TEST})),
    priority: 0
    message:
        "Evaluate {wildcards.run} on the split {wildcards.split}"
