"""What came out: raw numbers, statistics, tables, figures and the page of results."""
