"""Detectors as ONNX models: `snakemake results/<track>/runs/<run>/onnx.json` exports and evaluates.

Without a GPU: what is exported is measured on the CPU.
"""


rule export_onnx:
    """Write a run's detector as an ONNX model in float32, with suppression, for images of any size."""
    input:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
    output:
        f"{RESULTS}/runs/{{run}}/student.onnx",
    log:
        f"{RESULTS}/runs/{{run}}/export_onnx.log",
    conda:
        "../envs/icd.yaml"
    resources:
        mem_mb=TRACK.machine.memory,
    params:
        folder=lambda wildcards: RUNS[wildcards.run].folder,
    message:
        "Export {wildcards.run}"
    shell:
        "python -m icd export {params.folder:q} --onnx {output:q} 2>&1 | tee {log:q}"


rule evaluate_onnx:
    """Compute the COCO metrics of an exported model, beside those of its checkpoint."""
    input:
        model=f"{RESULTS}/runs/{{run}}/student.onnx",
        metrics=f"{RESULTS}/runs/{{run}}/metrics.json",
    output:
        f"{RESULTS}/runs/{{run}}/onnx.json",
    log:
        f"{RESULTS}/runs/{{run}}/evaluate_onnx.log",
    conda:
        "../envs/icd.yaml"
    threads: TRACK.machine.threads
    resources:
        mem_mb=TRACK.machine.memory,
    params:
        folder=lambda wildcards: RUNS[wildcards.run].folder,
        evaluator=TRACK.machine.evaluator,
        split=TEST,
        annotations=TRACK.annotations(TEST),
        images=TRACK.images(TEST),
    message:
        "Evaluate the exported {wildcards.run}"
    shell:
        "python -m icd evaluate {params.folder:q} --onnx {input.model:q} --output {output:q}"
        " --evaluator {params.evaluator} --split {params.split:q}"
        " --annotations {params.annotations:q} --images {params.images:q} 2>&1 | tee {log:q}"


rule measure_deployment:
    """Measure how large and how fast a run's detector is, on one thread."""
    input:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
    output:
        f"{RESULTS}/{DEPLOYMENT}/{{run}}.json",
    log:
        f"{RESULTS}/runs/{{run}}/deployment.log",
    conda:
        "../envs/icd.yaml"
    resources:
        mem_mb=TRACK.machine.memory,
    params:
        folder=lambda wildcards: RUNS[wildcards.run].folder,
        split=TEST,
        annotations=TRACK.annotations(TEST),
        images=TRACK.images(TEST),
    message:
        "Measure the deployment of {wildcards.run}"
    shell:
        "python -m icd deployment {params.folder:q} --output {output:q} --split {params.split:q}"
        " --annotations {params.annotations:q} --images {params.images:q} 2>&1 | tee {log:q}"
