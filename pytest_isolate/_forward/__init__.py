"""Servers of the machine that a test of its own network reaches: who they are, and the process that
carries to them what a test says.
"""
