"""Invalid track files."""

from __future__ import annotations

from tests.experiments.broken import Case, in_track, in_track_text, remove

TWO_NUMBERS = {"seed": 1, "image_size": 96, "classes": 4, "natural": {}}
TRACK_CASES = [
    Case(
        "an unknown tracker",
        in_track("tracking", ["tensorboard", "comet"]),
        ("track.yaml: tracking.1: is 'comet'", "tensorboard, wandb or mlflow"),
    ),
    Case(
        "a tracker that is no list",
        in_track("tracking", "wandb"),
        ("track.yaml: tracking: is 'wandb'", "a list of different values"),
    ),
    Case(
        "the short side first",
        in_track("images.scale", [64, 128]),
        ("track.yaml: images.scale: is [64, 128]", "[longest side, shortest side]"),
    ),
    Case(
        "a seed that NumPy and PyTorch cannot take",
        in_track("seeds", [0, 2**32]),
        ("track.yaml: seeds.1: is 4294967296", "a whole number from 0 below 4294967296"),
    ),
    Case(
        "a role's seed that they cannot take",
        in_track("roles.teacher.seed", 2**32),
        ("track.yaml: roles.teacher.seed: is 4294967296", "below 4294967296"),
    ),
    Case(
        "a short side in training above the longest side",
        in_track("images", {"scale": [128, 64], "train_short_sides": [64, 160], "flips": []}),
        ("images.train_short_sides: is [64, 160]", "none above the longest side of scale, 128"),
    ),
    Case(
        "all sides in training below that in testing",
        in_track("images", {"scale": [128, 64], "train_short_sides": [32, 48], "flips": []}),
        ("images.train_short_sides: is [32, 48]", "sides around 64, the shortest side of scale"),
    ),
    Case(
        "a pre-training on the test split",
        in_track("roles.student.pretrained", {"split": "test", "schedule": "1x"}),
        ("track.yaml: roles.student.pretrained.split: is the test split", "nothing is measured"),
    ),
    Case(
        "a method that is named none",
        in_track("methods.none", {"class": "json.X"}),
        ("track.yaml: methods.none: is what rows without a method name", "another name"),
    ),
    Case(
        "a teacher that is a list",
        in_track("roles.teacher", []),
        ("track.yaml: roles.teacher: is []", "a teacher to train"),
    ),
    Case(
        "a name with a newline",
        in_track("name", "mini\n"),
        ("track.yaml: name: is 'mini\\n'", "small letters"),
    ),
    Case(
        "a schedule with a newline",
        in_track("roles.student.schedule", "1x\n"),
        ("track.yaml: roles.student.schedule: is '1x\\n'", "positive multiple"),
    ),
    Case(
        "a schedule that never ends",
        in_track("roles.student.schedule", 400 * "9" + "x"),
        ("track.yaml: recipe.unit: makes 999", "too long", "1,000,000,000 iterations"),
    ),
    Case(
        "a seed that NumPy cannot take",
        in_track("seeds", [2**40]),
        ("track.yaml: seeds.0: is 1099511627776", "a whole number from 0 below 4294967296"),
    ),
    Case(
        "null for a key of a detector's recipe",
        in_track("detectors.retinanet.recipe", {"precision": None}),
        ("track.yaml: detectors.retinanet.recipe.precision: is None", "float32 or bfloat16"),
    ),
    Case(
        "a split whose name is a path",
        in_track("data.splits.a/b", {"annotations": "a", "images": "b"}),
        ("track.yaml: data.splits.a/b: is 'a/b'", "a name of letters, digits, - and _"),
    ),
    Case(
        "a norm decay that is a factor of nothing",
        in_track("recipe.optimizer", {"type": "SGD", "lr": 0.1, "norm_decay_mult": 0.0}),
        ("recipe.optimizer.weight_decay: is None", "a number, because norm_decay_mult is a factor"),
    ),
    Case(
        "a normalisation of two channels",
        in_track(
            "backbones.resnet18-w8.data_preprocessor",
            {"mean": [0.0, 0.0], "std": [1.0, 1.0, 1.0], "bgr_to_rgb": True},
        ),
        ("backbones.resnet18-w8.data_preprocessor.mean: is [0.0, 0.0]", "a list of 3"),
    ),
    Case(
        "half a normalisation",
        in_track("backbones.resnet18-w8.data_preprocessor", {"bgr_to_rgb": True}),
        ("backbones.resnet18-w8.data_preprocessor.mean: is missing", "mean of each channel"),
    ),
    Case("unknown key", in_track("colour", 1), ("track.yaml: colour: unknown key", "'backbones'")),
    Case(
        "unknown nested key",
        in_track("recipe.colour", 1),
        ("track.yaml: recipe.colour: unknown key", "'batch_size'"),
    ),
    Case(
        "unknown key in data",
        in_track("data.colour", 1),
        ("track.yaml: data.colour: unknown key", "['root', 'splits']"),
    ),
    Case(
        "unknown key in a split",
        in_track("data.splits.test.annotation", "x"),
        ("data.splits.test.annotation: unknown key", "'images', 'skip_broken', 'subset', 'voc']"),
    ),
    Case(
        "unknown key in a role's recipe",
        in_track("roles.student.recipe", {"batch": 3}),
        ("track.yaml: roles.student.recipe.batch: unknown key", "'batch_size'"),
    ),
    Case(
        "unknown key in a teacher from elsewhere",
        in_track("roles.teacher", {"config": "a", "checkpont": "b"}),
        ("track.yaml: roles.teacher.checkpont: unknown key", "'checkpoint'"),
    ),
    Case(
        "unknown key in a teacher of the zoo",
        in_track("roles.teacher", {"zoo": "a", "backbone": "b"}),
        ("track.yaml: roles.teacher.backbone: unknown key", "['sha256', 'zoo']"),
    ),
    Case(
        "a teacher that the zoo does not have",
        in_track("roles.teacher", {"zoo": "retinanet_r101_fpn_2x"}),
        (
            "track.yaml: roles.teacher.zoo: ",
            "retinanet_r101_fpn_2x is unknown to the installed mmdet",
            "'retinanet_r101_fpn_2x_coco'",
        ),
    ),
    Case(
        "a hash that is too short",
        in_track("roles.teacher", {"zoo": "a", "sha256": "7ee888e0"}),
        ("track.yaml: roles.teacher.sha256: is '7ee888e0'", "64 digits"),
    ),
    Case(
        "unknown option of the method",
        in_track("methods.icd.options.head", 8),
        ("track.yaml: methods.icd.options.head: unknown key", "'heads'"),
    ),
    Case(
        "unknown place to imitate at",
        in_track("methods.icd.options.where", "nowhere"),
        ("track.yaml: methods.icd.options.where: is 'nowhere'", "instance, everywhere, foreground"),
    ),
    Case(
        "fakes where nothing is asked",
        in_track("methods.icd.options", {"where": "foreground", "fakes": True}),
        ("track.yaml: methods.icd.options.where: is 'foreground'", "because fakes is true"),
    ),
    Case(
        "a decoder that the method does not have",
        in_track("methods.cwd.decoder", {"warm": 100}),
        ("track.yaml: methods.cwd.decoder: is stated, but this method has no", "['icd']"),
    ),
    Case(
        "a decoder that is trained for less than nothing",
        in_track("methods.icd.decoder", {"warm": -1}),
        ("track.yaml: methods.icd.decoder.warm: is -1", "a whole number from 0"),
    ),
    Case(
        "unknown key of a decoder",
        in_track("methods.icd.decoder", {"iterations": 1}),
        ("track.yaml: methods.icd.decoder.iterations: unknown key", "['optimizer', 'warm']"),
    ),
    Case(
        "a schedule of nothing",
        in_track("roles.student.schedule", "0.0x"),
        ("track.yaml: roles.student.schedule: is '0.0x'", "positive multiple"),
    ),
    Case(
        "a schedule without an iteration",
        in_track("roles.student.schedule", "0.00001x"),
        (
            "track.yaml: recipe.unit: is",
            "0.00001x is less than one iteration",
            "one iteration or more",
        ),
    ),
    Case(
        "unknown method",
        in_track("methods.magic", {}),
        ("track.yaml: methods.magic: is not a known method", "'icd'", "class: module.Class"),
    ),
    Case(
        "unknown method of a detector",
        in_track("detectors.retinanet.methods", {"magic": {"options": {}}}),
        ("track.yaml: detectors.retinanet.methods.magic: is not a known method", "'icd'"),
    ),
    Case(
        "a detector with a backbone that the track has not",
        in_track("detectors.retinanet.backbone", "resnet0"),
        ("track.yaml: detectors.retinanet.backbone: there is no 'resnet0'", "'resnet18-w8'"),
    ),
    Case(
        "unknown option of a method of a detector",
        in_track("detectors.retinanet.methods", {"mgd": {"options": {"mask": 1}}}),
        (
            "detectors.retinanet.methods.mgd.options.mask: unknown key",
            "['levels', 'masked', 'weight']",
        ),
    ),
    Case(
        "levels by their names",
        in_track("methods.cwd.options.levels", ["P3", "P4"]),
        ("track.yaml: methods.cwd.options.levels.0: is 'P3'", "a whole number from 1"),
    ),
    Case(
        "a level twice",
        in_track("detectors.retinanet.methods", {"cwd": {"options": {"levels": [8, 8]}}}),
        ("detectors.retinanet.methods.cwd.options.levels: is [8, 8]", "a list of different values"),
    ),
    Case(
        "an optimiser that nobody has",
        in_track("methods.mgd.optimizer", "teacher"),
        ("track.yaml: methods.mgd.optimizer: is 'teacher'", "student for that of the student"),
    ),
    Case(
        "an argument that the optimiser of a method lacks",
        in_track("methods.mgd.optimizer", {"type": "AdamW", "lr": 0.1, "colour": 1}),
        ("track.yaml: methods.mgd.optimizer.colour: is 1", "an argument of torch.optim.AdamW"),
    ),
    Case(
        "an optimiser of a method that torch lacks",
        in_track("methods.mgd.optimizer", {"type": "Adan", "lr": 0.1}),
        ("track.yaml: methods.mgd.optimizer.type: is 'Adan'", "'AdamW'"),
    ),
    Case(
        "an unknown key in the recipe of a method",
        in_track("methods.icd.recipe", {"optimizer": {"lr": 1.0}, "clip": 3}),
        ("track.yaml: methods.icd.recipe.clip: unknown key", "'optimizer'"),
    ),
    Case(
        "a limit of gradients that stops all of them",
        in_track("methods.icd.recipe", {"optimizer": {"clip_value": 0}}),
        ("methods.icd.recipe.optimizer.clip_value: is 0", "a positive number"),
    ),
    Case(
        "no optimiser for a method that needs one",
        in_track("methods.mgd", {"options": {}}),
        ("track.yaml: methods.mgd.optimizer: is missing", "type, lr"),
    ),
    Case(
        "a method of the package with a class",
        in_track("methods.pkd", {"class": "my.PKD"}),
        ("track.yaml: methods.pkd: is the name of a method of the package", "another name"),
    ),
    Case(
        "a method whose module is not there",
        in_track("methods.mine", {"class": "no_such_module.Mine"}),
        ("track.yaml: methods.mine.class: there is no module 'no_such_module'", "module.Class"),
    ),
    Case(
        "a method without a module",
        in_track("methods.mine", {"class": "Mine"}),
        ("track.yaml: methods.mine.class: is 'Mine'", "module.Class"),
    ),
    Case(
        "two numbers of classes",
        in_track("data", {"synthetic": TWO_NUMBERS, "splits": {"train": 4, "test": 4}}),
        ("track.yaml: data.synthetic.classes: is 4", "natural.classes, which natural scenes have"),
    ),
    Case(
        "text for a number",
        in_track("recipe.unit", "600"),
        ("track.yaml: recipe.unit: is '600'", "a whole number from 1"),
    ),
    Case(
        "batch that does not divide",
        in_track("machine.gpus", 3),
        ("track.yaml: recipe.batch_size: 8 images cannot", "a multiple of machine.gpus"),
    ),
    Case(
        "accumulation that does not divide",
        in_track("recipe.accumulate", 3),
        ("track.yaml: recipe.accumulate: 8 images per device cannot", "a divisor of recipe.batch"),
    ),
    Case(
        "no accumulation at all",
        in_track("recipe.accumulate", 0),
        ("track.yaml: recipe.accumulate: is 0", "a whole number from 1"),
    ),
    Case(
        "fraction for a whole number",
        in_track("recipe.batch_size", 7.5),
        ("track.yaml: recipe.batch_size: is 7.5", "a whole number from 1"),
    ),
    Case(
        "a precision that is not offered",
        in_track("recipe.precision", "float16"),
        ("track.yaml: recipe.precision: is 'float16'", "float32 or bfloat16"),
    ),
    Case(
        "1e-3, which is text to YAML",
        in_track("recipe.ramp", "1e-3"),
        ("track.yaml: recipe.ramp: is '1e-3'", "YAML reads 1e-3 as text", "1.0e-3"),
    ),
    Case(
        "1e-4 for an argument of the optimiser",
        in_track("recipe.optimizer.weight_decay", "1e-4"),
        ("track.yaml: recipe.optimizer.weight_decay: is '1e-4'", "YAML reads 1e-4 as text"),
    ),
    Case(
        "a key given twice",
        in_track_text("decay: cosine", "decay: cosine\n  decay: [0.5]"),
        ("track.yaml: is not YAML (the key 'decay' is repeated", "line", "a track file"),
    ),
    Case(
        "a rate that never drops",
        in_track("recipe.decay", []),
        ("track.yaml: recipe.decay: is []", "rising fractions"),
    ),
    Case(
        "drops of the rate in another order",
        in_track("recipe.decay", [0.9, 0.7]),
        ("track.yaml: recipe.decay: is [0.9, 0.7]", "rising fractions"),
    ),
    Case(
        "a method's class in a module that is not there",
        in_track("methods.own", {"class": "icd.methods.nope.X"}),
        ("methods.own.class: there is no module 'icd.methods.nope'", "module.Class"),
    ),
    Case(
        "the name of a shipped track",
        in_track("name", "mini"),
        ("track.yaml: name: is 'mini', the name of a track of the project", "another name"),
    ),
    Case(
        "a split with the name of a folder of runs",
        in_track("data.splits.work", {"annotations": "a.json", "images": "a"}),
        ("track.yaml: data.splits.work: is 'work'", "another name, because runs have a folder"),
    ),
    Case(
        "no, which is false to YAML",
        in_track_text("name: mine", "no: mine"),
        ("track.yaml: has the key False", "YAML reads yes, no, on and off"),
    ),
    Case(
        "an unknown optimizer",
        in_track("recipe.optimizer.type", "Adamw"),
        ("track.yaml: recipe.optimizer.type: is 'Adamw'", "'AdamW'", "torch.optim"),
    ),
    Case(
        "an argument that the optimizer lacks",
        in_track("recipe.optimizer.nesterov", True),
        ("track.yaml: recipe.optimizer.nesterov: is True", "torch.optim.", "weight_decay"),
    ),
    Case(
        "infinity",
        in_track("recipe.optimizer.lr", float("inf")),
        ("track.yaml: recipe.optimizer.lr: is inf", "a number"),
    ),
    Case(
        "a date",
        in_track_text("depth: 18", "depth: 2021-12-06"),
        ("backbone.depth: is datetime.date(2021, 12, 6)", "a number"),
    ),
    Case(
        "a list for a mapping",
        in_track("data", []),
        ("track.yaml: data: is []", "synthetic", "root and splits"),
    ),
    Case(
        "missing key",
        in_track("roles.student.backbone", None),
        ("track.yaml: roles.student.backbone: is missing", "the track's backbones"),
    ),
    Case(
        "no test split",
        in_track("data.splits.test", None),
        ("track.yaml: data.splits.test: is missing",),
    ),
    Case(
        "a backbone whose name is a path",
        in_track("backbones.a/b", {"backbone": {}}),
        ("track.yaml: backbones: is 'a/b'", "letters, digits, - and _"),
    ),
    Case(
        "unknown backbone in a role",
        in_track("roles.student.backbone", "resnet1"),
        ("track.yaml: roles.student.backbone: there is no 'resnet1'", "one of ["),
    ),
    Case(
        "unknown detector in a role",
        in_track("roles.teacher.detector", "fcoss"),
        ("track.yaml: roles.teacher.detector: there is no 'fcoss'", "'retinanet'"),
    ),
    Case(
        "not YAML",
        in_track_text("recipe:", "recipe: ["),
        ("track.yaml: is not YAML", "line", "expected a track file"),
    ),
    Case(
        "an empty file",
        lambda project: setattr(project, "track", ""),
        ("track.yaml: is None", "expected a track"),
    ),
    Case("missing track", remove("track.yaml"), ("track.yaml: no such track", "'mini'")),
    Case(
        "missing teacher config",
        in_track("roles.teacher", {"config": "their.py", "checkpoint": "track.yaml"}),
        ("track.yaml: roles.teacher.config: their.py does not exist", "an mmdet config"),
    ),
    Case(
        "missing teacher checkpoint",
        in_track("roles.teacher", {"config": "track.yaml", "checkpoint": "their.pth"}),
        ("track.yaml: roles.teacher.checkpoint: their.pth does not exist", "a checkpoint"),
    ),
]
