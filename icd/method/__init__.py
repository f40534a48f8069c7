"""Instance-conditional knowledge distillation, one concept a file, in the order of the paper.

``tokens`` (the feature pyramid as a sequence), ``priors`` and ``queries`` (what is asked),
``decoder`` (the look-up in the teacher), ``auxiliary`` (the task that trains the look-up),
``distillation`` (the imitation it weighs) and ``icd``, which puts them together.
"""
