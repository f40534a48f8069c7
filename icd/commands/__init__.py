"""The commands by theme. They import what they need themselves: ``show`` does not load torch."""
