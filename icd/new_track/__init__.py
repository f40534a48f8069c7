"""A track for a folder of the user's data, with settings that follow from the data."""
