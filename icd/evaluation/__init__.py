"""COCO metrics of a trained detector, and their bootstrap over images."""
