"""The pictures, one a module; all in the style of :mod:`icd.report.figure`."""
