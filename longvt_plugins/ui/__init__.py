"""A local web page: open a video, ask, watch the turns arrive, click a window to see the frames that the model saw.

app.py            the page and what its buttons do, with Gradio
conversation.py   one answer as it grows: turns, looks and their frames, as HTML that nothing can break out of
videos.py         which files of this machine the page may open

Started by ``longvt ui``. Gradio is the extra ``ui``; this package is imported without it.
"""
