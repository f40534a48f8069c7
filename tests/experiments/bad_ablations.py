"""Ablation files that are invalid or do not fit their track."""

from __future__ import annotations

from tests.experiments.broken import Case, in_ablation, in_track, remove, several

ABLATION_CASES = [
    Case(
        "options without a method",
        in_ablation("rows.0.change", {"options": {"weight": 2}}),
        ("table.yaml: rows.student.change.options: changes nothing", "a method in the row"),
    ),
    Case(
        "a decoder without a method",
        in_ablation("rows.0.change", {"decoder": {"warm": 2}}),
        ("table.yaml: rows.student.change.decoder: changes nothing", "a method in the row"),
    ),
    Case(
        "a decoder of a method that has none",
        in_ablation("rows.1.change", {"method": "cwd", "decoder": {"warm": 2}}),
        ("table.yaml: rows.icd: does not fit", "methods.cwd.decoder is stated, but this method"),
    ),
    Case(
        "a list of methods with an unknown one",
        in_ablation("rows.1.change.method", ["icd", "nope"]),
        ("table.yaml: rows.icd: does not fit", "methods has no 'nope'", "'fgd'"),
    ),
    Case(
        "a list with a method twice",
        in_ablation("rows.1.change.method", ["icd", "icd"]),
        ("table.yaml: rows.1.change.method: is ['icd', 'icd']", "a list of different values"),
    ),
    Case(
        "a list of methods with none",
        in_ablation("rows.1.change.method", ["icd", "none"]),
        ("table.yaml: rows.1.change.method: is ['icd', 'none']", "none alone, or a list"),
    ),
    Case(
        "an empty list of methods",
        in_ablation("rows.1.change.method", []),
        ("table.yaml: rows.1.change.method: is []", "a list of methods whose losses are added"),
    ),
    Case(
        "options of a method that is not in the list",
        in_ablation("rows.1.change", {"method": ["icd", "cwd"], "options": {"fgd": {"weight": 2}}}),
        ("table.yaml: rows.1.change.options.fgd: is {", "by its name: one of ['cwd', 'icd']"),
    ),
    Case(
        "options of a list that name no method",
        several(
            in_ablation("base", {"options": {"weight": 2}}),
            in_ablation("rows.1.change.method", ["icd", "cwd"]),
            in_ablation("rows.0.change", {"method": "icd"}),
        ),
        ("table.yaml: rows.icd.options.weight: is 2", "by its name: one of ['cwd', 'icd']"),
    ),
    Case(
        "options of one of several methods that are a number",
        in_ablation("rows.1.change", {"method": ["icd", "cwd"], "options": {"icd": 2}}),
        ("table.yaml: rows.1.change.options.icd: is 2", "options of icd, by their names"),
    ),
    Case(
        "an unknown option of one of several methods",
        in_ablation("rows.1.change", {"method": ["icd", "cwd"], "options": {"cwd": {"heads": 2}}}),
        ("does not fit track.yaml (methods.cwd.options.heads unknown key", "'temperature'"),
    ),
    Case(
        "a decoder of several methods that have none",
        in_ablation("rows.1.change", {"method": ["fgd", "cwd"], "decoder": {"warm": 2}}),
        ("table.yaml: rows.icd: does not fit", "methods.cwd.decoder is stated, but this method"),
    ),
    Case(
        "a decoder's optimizer without a length",
        in_ablation("rows.1.change.decoder", {"optimizer": {"lr": 0.1}}),
        ("rows.icd: does not fit", "methods.icd.decoder.warm is missing", "a number of iterations"),
    ),
    Case(
        "a decoder that learns from nothing",
        in_ablation(
            "rows.1.change",
            {"method": "icd", "decoder": {"warm": 2}, "options": {"auxiliary": []}},
        ),
        ("rows.icd: does not fit", "decoder.warm is 2, but options.auxiliary is []"),
    ),
    Case(
        "another teacher of whom nothing is learned",
        in_ablation("rows.0.change", {"teacher": {"schedule": "2x"}}),
        ("table.yaml: rows.student.change.teacher: changes nothing", "a method or inherit: true"),
    ),
    Case(
        "a teacher that has a teacher",
        in_ablation("rows.1.change.role", "teacher"),
        ("table.yaml: rows.icd: does not fit track.yaml", "role is the teacher", "without method"),
    ),
    Case(
        "a width that is a text",
        in_track("detectors.retinanet.model.neck.out_channels", "64"),
        ("detectors.retinanet.model.neck.out_channels is '64'", "a whole number of channels"),
    ),
    Case(
        "unknown key",
        in_ablation("colour", 1),
        ("table.yaml: colour: unknown key", "'baseline'"),
    ),
    Case(
        "unknown key in a row's change",
        in_ablation("rows.1.change", {"methods": "icd"}),
        ("table.yaml: rows.1.change.methods: unknown key", "'method'"),
    ),
    Case(
        "missing label",
        in_ablation("rows.0.label", None),
        ("table.yaml: rows.0.label: is missing", "a text"),
    ),
    Case(
        "heads that do not divide the channels",
        in_ablation("rows.1.change.options", {"heads": 7}),
        ("does not fit track.yaml (methods.icd.options.heads is 7, which", "a divisor of 32"),
    ),
    Case(
        "the attention of a row that has none",
        in_ablation("figures", {"attention": ["student"]}),
        ("table.yaml: figures.attention.0: 'student' has no attention", "the method icd"),
    ),
    Case(
        "a split that runs are trained on",
        in_ablation("split", "train"),
        ("table.yaml: split: is 'train', which runs are trained on", "['test']"),
    ),
    Case(
        "a name that is not a split's",
        in_ablation("split", "../test"),
        ("table.yaml: split: is '../test'", "another split of the track"),
    ),
    Case(
        "two rows with one id",
        in_ablation("rows.1.id", "student"),
        ("table.yaml: rows: two rows have the id 'student'", "different ids"),
    ),
    Case(
        "unknown baseline",
        in_ablation("baseline", "teacher"),
        ("table.yaml: baseline: 'teacher' is not a row", "['student', 'icd']"),
    ),
    Case(
        "a reference of a row that is not a row",
        in_ablation("rows.1.reference", "pkd"),
        ("table.yaml: rows.1.reference: 'pkd' is not a row", "['student', 'icd']"),
    ),
    Case(
        "an empty choice of a teacher",
        in_ablation("rows.1.change.teacher", {}),
        ("table.yaml: rows.1.change.teacher: is {}", "detector, backbone and schedule"),
    ),
    Case(
        "a teacher of an unknown detector",
        in_ablation("rows.1.change.teacher", {"detector": "magic"}),
        ("table.yaml: rows.icd: does not fit", "has no 'magic'", "'retinanet'"),
    ),
    Case(
        "unknown backbone in a row",
        in_ablation("rows.1.change.backbone", "vgg"),
        ("table.yaml: rows.icd: does not fit track.yaml", "backbones has no 'vgg'", "one of ["),
    ),
    Case(
        "unknown detector in all rows",
        in_ablation("base", {"detector": "yolo"}),
        ("table.yaml: rows.student: does not fit track.yaml", "detectors has no 'yolo'"),
    ),
    Case(
        "a student whose pyramid is not the teacher's",
        in_track("backbones.resnet18-w8.neck.out_channels", 64),
        (
            "table.yaml: rows.icd: does not fit track.yaml",
            "backbones.resnet18-w8.neck.out_channels is 64, but the teacher's resnet18-w16 has 32",
            "32, or one width for both in detectors.retinanet.model.neck.out_channels alone",
        ),
    ),
    Case(
        "unknown method in a row",
        in_ablation("rows.1.change.method", "magic"),
        (
            "table.yaml: rows.icd: does not fit track.yaml",
            "methods has no 'magic'",
            "'fitnet', 'icd'",
        ),
    ),
    Case(
        "an option of another method in a row",
        in_ablation("rows.1.change", {"method": "fitnet", "options": {"heads": 2}}),
        ("table.yaml: rows.icd: does not fit", "methods.fitnet.options.heads unknown", "'weight'"),
    ),
    Case(
        "unknown option of a method in a row",
        in_ablation("rows.1.change.options", {"head": 2}),
        ("table.yaml: rows.icd: does not fit", "methods.icd.options.head unknown", "'heads'"),
    ),
    Case(
        "a schedule of nothing",
        in_ablation("rows.1.change.schedule", "0x"),
        ("table.yaml: rows.1.change.schedule: is '0x'", "positive multiple"),
    ),
    Case(
        "a schedule without an iteration",
        in_ablation("rows.1.change.schedule", "0.00001x"),
        ("table.yaml: rows.icd: does not fit track.yaml", "0.00001x is less than one iteration"),
    ),
    Case(
        "a schedule that is no multiple",
        in_ablation("rows.1.change.schedule", 3),
        ("table.yaml: rows.1.change.schedule: is 3", "e.g. 1x or 3x"),
    ),
    Case(
        "an axis without a place for any row",
        in_ablation("axis", {"label": "Heads"}),
        ("table.yaml: axis: no row has a position on it", "x in at least one row"),
    ),
    Case(
        "a row at 0 on a logarithmic axis",
        several(in_ablation("axis", {"label": "λ", "scale": "log"}), in_ablation("rows.1.x", 0)),
        ("table.yaml: rows.1.x: is 0", "a number above 0, because axis.scale is log"),
    ),
    Case(
        "an unknown figure",
        in_ablation("figures", {"portrait": ["icd"]}),
        ("table.yaml: figures.portrait: unknown key", "'attention'"),
    ),
    Case(
        "a figure of a row that is not there",
        in_ablation("figures", {"curves": ["student", "teacher"]}),
        ("table.yaml: figures.curves.1: 'teacher' is not a row", "['student', 'icd']"),
    ),
    Case(
        "an answer by a row that is not there",
        in_ablation("answers", [{"question": "Why?", "row": "icd", "over": "teacher"}]),
        ("table.yaml: answers.0.over: 'teacher' is not a row", "['student', 'icd']"),
    ),
    Case(
        "a figure of no row",
        in_ablation("figures", {"errors": []}),
        ("table.yaml: figures.errors: is []", "a list of 1 or more"),
    ),
    Case(
        "the attention of two rows",
        in_ablation("figures", {"attention": ["student", "icd"]}),
        ("table.yaml: figures.attention: is ['student', 'icd']", "a list of 1 ("),
    ),
    Case(
        "missing ablation",
        remove("ablations/table.yaml"),
        ("table: no such ablation", "one of []"),
    ),
]
