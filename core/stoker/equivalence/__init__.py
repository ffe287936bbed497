"""`stoker equivalence`: is the same recipe the same training under every engine and setting?"""
