"""What the teacher of the synthetic world says when it thinks.

>>> GLIMPSE.format(start="36", end="54"), SIGHT.format(colour="red")
('It changes from 36 to 54.', 'I see red.')

``GLIMPSE`` names the overview frames around the hint: the last one before it and the first one after it.
"""

GLIMPSE = "It changes from {start} to {end}."
SIGHT = "I see {colour}."
NOTHING = "nothing"
"""What takes the place of a colour when no frame shows one."""
