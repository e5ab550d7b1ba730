"""People look at what a run has made: a web page, files for annotation tools, and their decisions on the way back."""
