"""What this machine can run: findings, each with what to do about it.

Torch-free, and robust against what it looks for: whatever may be broken is imported or run in a
process of its own (`stoker.doctor.child`, `stoker.doctor.probes`).
"""
