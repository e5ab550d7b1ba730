"""What a run has made, and how good it is: as figures, a table, and a web page with plots."""
