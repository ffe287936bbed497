"""The cockpit: a Textual application that composes, starts and watches runs.

It reads the files of run directories and calls the torch-free half of `stoker`. It trains nothing
itself: runs are started by `stoker run --detach`, and go on whatever becomes of the cockpit.
"""
