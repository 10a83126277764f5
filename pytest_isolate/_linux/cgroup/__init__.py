"""Control groups: where each controller lives here, the groups of one run, and what they hold and
count.
"""
