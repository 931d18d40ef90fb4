"""What is still to fetch, and what was seen already."""
