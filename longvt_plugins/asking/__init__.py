"""One question about one video, or many: the agent loop for people.

::

    from longvt_plugins import ask

    answer = ask("film.mp4", "Which colour does the square flash?", model="tiny")
    answer.text, answer.windows, answer.seconds          # ('red', [TimeSpan(44, 50)], 1.9)

asker.py       asks, and keeps model and videos open between questions
models.py      which model a name means: shipped, a folder, or behind a server
questions.py   what is asked: a file, a folder, or a JSONL of questions
batch.py       many questions into a folder, resumable
parts.py       a turn split into thought, call and answer while it arrives
looks.py       what a model looked at, and what an answer took
terminal.py    what happens, printed while it happens
thumbnails.py  the frames of a reply as one small picture

The package is not called ``ask``, since that is the function's name. It judges no answer: evaluation does.
"""

from longvt_plugins.asking.asker import Answer, Asker, ask

__all__ = ["Answer", "Asker", "ask"]
