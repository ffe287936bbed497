"""`stoker torture`: kills, damages and starves real runs on this machine, and compares them bitwise.

Runs are those of the product: run directories, leases, supervisors, ranks, checkpoints. Only how a
process begins is another: one that has imported torch forks launchers, and these fork ranks, so that a
cycle of kill and resume takes about a second.
"""
