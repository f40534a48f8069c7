"""Instance-Conditional Knowledge Distillation (Kang et al., NeurIPS 2021), one concept a file.

Read in this order: ``queries`` (annotated and fake instances as vectors; ``sampling`` draws the
fakes), ``decoder`` (queries look up the teacher's tokens), ``auxiliary`` (the task that trains the
decoder), ``plain`` (attention and distillation loss, as the paper states them) and ``method``,
which combines them. ``fast`` computes the same as ``plain`` in less time and memory.
"""
