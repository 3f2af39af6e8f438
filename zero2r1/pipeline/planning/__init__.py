"""What a recipe will need before it is run: parameters, memory, time, disk, money, and the setting that saves most.

Nothing is downloaded and nothing is written into a run folder. Importing this room loads no torch.

What it does not do: predict how long answers will be (that is a stated input), or how well anything will learn.
"""
